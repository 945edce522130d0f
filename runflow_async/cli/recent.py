"""The last transitions as lines in columns, however long the items' names are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from runflow_async._text import printable
from runflow_async.cli.bars import style_of_status
from runflow_async.cli.cells import displayable, fit
from runflow_async.cli.words import item_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runflow_async import ItemTransition

__all__ = ["draw_recent"]

WIDEST_NAME = 24
"""Widest column of item names, in cells."""
LEAST_NAME = 4
WHOLE_FROM = 60
"""Width in cells from which the time and the previous status are shown."""


def draw_recent(
    transitions: Sequence[ItemTransition], batches: Sequence[str], width: int, *, plain: bool
) -> list[Text]:
    """Format one line for each transition: the time, the batch, the item and the change.

    Args:
        transitions: in the order of the lines.
        batches: the display name of each transition's batch; empty if there is only one batch.
        width: cells per line; if there are few, the time and the previous status are left out.
        plain: whether only ASCII can be shown.
    """
    whole = width >= WHOLE_FROM
    times = [f"{transition.observed_at.astimezone():%H:%M:%S}  " if whole else "" for transition in transitions]
    items = [displayable(item_name(transition), plain=plain) for transition in transitions]
    names = [displayable(batch, plain=plain) for batch in batches]
    changes = [_change(transition, whole=whole, plain=plain) for transition in transitions]
    room = width - max(map(cell_len, times), default=0) - max((change.cell_len + 2 for change in changes), default=0)
    batch_width = min(max(map(cell_len, names), default=0), max(room // 2 - 2, LEAST_NAME))
    item_room = room - (batch_width + 2 if batch_width else 0)
    item_width = min(max(map(cell_len, items), default=0), WIDEST_NAME, max(item_room, LEAST_NAME))
    lines: list[Text] = []
    for time, name, item, change in zip(times, names, items, changes, strict=True):
        line = Text(time, style="bright_black")
        if batch_width:
            line.append(f"{fit(name, batch_width, plain=plain)}  ")
        line.append(f"{fit(item, item_width, plain=plain)}  ")
        lines.append(line.append_text(change))
    return lines


def _change(transition: ItemTransition, *, whole: bool, plain: bool) -> Text:
    change = Text()
    if whole and transition.previous is not None:
        arrow = "->" if plain else "→"
        change.append(f"{printable(transition.previous, 30)} {arrow} ", style="bright_black")
    return change.append(printable(transition.current, 30), style=style_of_status(transition.current))
