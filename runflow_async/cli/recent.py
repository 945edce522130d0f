"""The last transitions as lines in columns, however long the items' names are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from runflow_async._text import printable
from runflow_async.cli.bars import style_of_status
from runflow_async.cli.words import item_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runflow_async import ItemTransition

__all__ = ["draw_recent"]

WIDEST_NAME_CELLS = 24
"""Widest column of item names."""


def draw_recent(transitions: Sequence[ItemTransition], batches: Sequence[str], *, plain: bool) -> list[Text]:
    """Format one line for each transition: the time, the batch, the item and the change.

    Args:
        transitions: in the order of the lines.
        batches: the display name of each transition's batch; empty if there is only one batch.
        plain: whether only ASCII can be shown.
    """
    items = [_item(transition, plain=plain) for transition in transitions]
    batch_width = max(map(cell_len, batches), default=0)
    item_width = min(max(map(cell_len, items), default=0), WIDEST_NAME_CELLS)
    lines: list[Text] = []
    for transition, batch, item in zip(transitions, batches, items, strict=True):
        line = Text(f"{transition.observed_at.astimezone():%H:%M:%S}  ", style="bright_black")
        if batch_width:
            line.append(f"{set_cell_size(batch, batch_width)}  ")
        line.append(f"{_fit(item, item_width, plain=plain)}  ")
        lines.append(line.append_text(_change(transition, plain=plain)))
    return lines


def _item(transition: ItemTransition, *, plain: bool) -> str:
    name = item_name(transition)
    return name.encode("ascii", "backslashreplace").decode() if plain else name


def _fit(text: str, width: int, *, plain: bool) -> str:
    """Fit the text into this many cells; cut it if it is longer."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    end = "..." if plain else "…"
    return set_cell_size(set_cell_size(text, width - len(end)).rstrip() + end, width)


def _change(transition: ItemTransition, *, plain: bool) -> Text:
    change = Text()
    if transition.previous is not None:
        arrow = "->" if plain else "→"
        change.append(f"{printable(transition.previous, 30)} {arrow} ", style="bright_black")
    return change.append(printable(transition.current, 30), style=style_of_status(transition.current))
