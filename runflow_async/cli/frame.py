"""One frame of the live view: the state of the batches as lines of coloured text that fit a width and a height.

Decides what to leave out if there is no room. Pure: it gets the current time as an argument.
"""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import set_cell_size
from rich.text import Text

from runflow_async._text import duration_text, printable
from runflow_async.cli.bars import STYLES, draw_bar, draw_legend, style_of_status
from runflow_async.cli.outages import describe_outage, find_outages
from runflow_async.cli.recent import draw_recent
from runflow_async.cli.words import batch_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from runflow_async import BatchesWait, BatchWait
    from runflow_async.cli.board import Board

__all__ = ["Scene", "draw_frame"]

LEAST_BAR = 12
"""Smallest bar in cells; if it would get smaller, a row drops a column instead."""
LEAST_WIDTHS = (8, 5, 6, 13, 19)
"""Cells of a row's columns without the bar. Bars keep their length while the numbers change."""
WIDE = 120
"""Width in cells from which ids are shown in full."""
MOST_RECENT = 8
"""How many transitions are shown at most."""
LEFT_BEHIND = 12
"""How many rows are left when a watch of many batches is over."""


class Scene(NamedTuple):
    """Everything that a frame shows.

    Attributes:
        waits: the batches.
        board: the progress of their items.
        names: display names of batches; the others are shown by id.
        notes: what the library logged, oldest first.
        now: the current time on the event loop's clock.
        plain: whether only ASCII can be shown.
        over: whether this is the last frame, without anything that is temporary.
    """

    waits: BatchesWait
    board: Board
    names: Mapping[UUID, str]
    notes: Sequence[str]
    now: float
    plain: bool
    over: bool = False


def draw_frame(scene: Scene, width: int, height: int) -> list[Text]:
    """Draw the scene.

    Args:
        scene: what to draw.
        width: cells per line.
        height: number of lines; ignored once the watch is over.
    """
    waits = list(scene.waits.waits.values())
    head, tail = _head(scene, width), _tail(scene)
    room = LEFT_BEHIND if scene.over else height - len(head) - len(tail)
    most_recent = 0 if scene.over else min(MOST_RECENT, room - len(waits) - 1)
    if len(waits) > max(room, 1):
        most_recent = 0 if scene.over else min(MOST_RECENT, room // 3)
        head += [_overall(scene, width), Text("the slowest:", style="bright_black")]
        slowest = sorted(waits, key=lambda wait: _slowness(scene, wait), reverse=True)
        waits = slowest[: max(room - 2 - (most_recent + 1 if most_recent > 0 else 0), 0)]
    recent = list(scene.board.recent)[-most_recent:] if most_recent > 0 else []
    lines = [*head, *_rows(scene, waits, width), *([Text()] if recent else [])]
    several = len(scene.waits.waits) > 1
    names = [batch_name(scene.names, transition.batch_id) if several else "" for transition in recent]
    lines += [*draw_recent(recent, names, plain=scene.plain), *tail]
    for line in lines:
        line.truncate(width, overflow="ellipsis" if not scene.plain else "crop")
    return lines if scene.over else lines[:height]


def _head(scene: Scene, width: int) -> list[Text]:
    overall, waits = scene.board.overall, scene.waits.waits
    polls = sum(wait.stats.polls for wait in waits.values())
    elapsed = duration_text(scene.now - scene.board.began)
    what = "1 batch" if len(waits) == 1 else f"{len(waits):,} batches"
    polled = "1 poll" if polls == 1 else f"{polls:,} polls"
    text = f"{what}: {overall.ended:,} of {overall.total:,} items ended, {polled} in {elapsed}"
    lines = [Text(text, style="bold")]
    if len(waits) > 1:
        lines.append(_states(scene))
    if width > len(text):
        lines.append(Text())
    return lines


def _states(scene: Scene) -> Text:
    """Count the batches in each state."""
    states = Counter(_state(wait) for wait in scene.waits.ended)
    unfinished = len(scene.waits.waits) - len(scene.waits.ended)
    parts = [Text(f"{unfinished:,} under way", style=STYLES["running"])] if unfinished else []
    parts += [Text(f"{count:,} {state}", style=_style_of(state)) for state, count in states.most_common()]
    return Text(", ").join(parts)


def _state(wait: BatchWait) -> str:
    """Return the end of a wait in a word: the batch's status, or the error."""
    error = wait.exception()
    return printable(wait.result().status_code or "unknown", 30) if error is None else type(error).__name__


def _style_of(state: str) -> str:
    return STYLES["failed"] if state.endswith("Error") else style_of_status(state)


def _overall(scene: Scene, width: int) -> Text:
    progress = scene.board.overall
    text = f"  {progress.ended:,}/{progress.total:,}  {_outlook(scene, scene.waits)}"
    name = "all  "
    return (
        Text(name, style="bold")
        + draw_bar(progress.counts, max(4, width - len(name) - len(text)), plain=scene.plain)
        + Text(text)
    )


def _slowness(scene: Scene, wait: BatchWait) -> tuple[bool, bool, float, int]:
    """Order the batches: failed waits first, then unfinished batches far from their end, then the rest."""
    progress = scene.board.progress(wait.batch_id)
    if not wait.done():
        return (False, True, _seconds_left(wait), progress.left)
    return (wait.exception() is not None, False, wait.stats.elapsed, progress.total)


def _seconds_left(waits: BatchWait | BatchesWait) -> float:
    """Return the seconds until the expected end; infinite while nothing is known about it."""
    estimate = waits.estimate()
    return math.inf if estimate is None else max((estimate.ends_at - datetime.now(UTC)).total_seconds(), 0.0)


def _outlook(scene: Scene, waits: BatchWait | BatchesWait) -> str:
    left = _seconds_left(waits)
    if scene.over or not left:
        return ""
    return f"ETA {duration_text(left)}" if left < math.inf else "ETA -"


def _polls(scene: Scene, wait: BatchWait) -> str:
    polls = wait.stats.polls
    text = f"{polls} poll{'' if polls == 1 else 's'}"
    if wait.done():
        return f"{text} in {duration_text(wait.stats.elapsed)}"
    if scene.over:
        return text
    left = wait.next_poll_at - scene.now
    if left == math.inf:
        limit = wait.deadline if wait.outage is None else min(wait.deadline, wait.outage.until)
        return f"{text}, given up in {duration_text(max(limit - scene.now, 0.0))}"
    return f"{text}, next {duration_text(left)}" if left > 0 else f"{text}, now"


def _rows(scene: Scene, waits: Sequence[BatchWait], width: int) -> list[Text]:
    if not waits:
        return []
    cells = [_cells(scene, wait, width) for wait in waits]
    widths = [max(row[column].cell_len for row in cells) for column in range(len(cells[0]))]
    widths = [max(width, least) if width else 0 for width, least in zip(widths, LEAST_WIDTHS, strict=True)]
    shown = [0, 1]
    for column in (3, 4, 2):  # the outlook, the polls, the rate: as far as there is room
        if sum(widths[one] + 2 for one in [*shown, column]) + LEAST_BAR <= width:
            shown.append(column)
    bar_width = max(4, width - sum(widths[column] + 2 for column in shown))
    rows: list[Text] = []
    for wait, row in zip(waits, cells, strict=True):
        line = Text(set_cell_size(row[0].plain, widths[0] + 2))
        line.append_text(draw_bar(scene.board.progress(wait.batch_id).counts, bar_width, plain=scene.plain))
        for column in sorted(shown[1:]):
            line.append("  ").append_text(row[column]).append(" " * (widths[column] - row[column].cell_len))
        rows.append(line)
    return rows


def _cells(scene: Scene, wait: BatchWait, width: int) -> list[Text]:
    """Return the name, items ended, rate, outlook and polls."""
    progress = scene.board.progress(wait.batch_id)
    done = wait.done()
    pace = progress.pace(scene.now)
    state = _state(wait) if done else _outlook(scene, wait)
    return [
        Text(batch_name(scene.names, wait.batch_id, whole=width >= WIDE)),
        Text(f"{progress.ended}/{progress.total}" if progress.total else "-"),
        Text("" if done or not pace else f"{pace:.1f}/s"),
        Text(state, style=_style_of(state) if done else ""),
        Text(_polls(scene, wait), style="bright_black"),
    ]


def _tail(scene: Scene) -> list[Text]:
    legend = draw_legend(scene.board.overall.counts, plain=scene.plain)
    if scene.over:
        return [Text(), legend]
    notes = [Text(note, style="yellow") for note in [*scene.notes, *_outage(scene)]]
    return [Text(), *notes, legend, Text("Ctrl-C ends the watch; the batches keep running.", style="bright_black")]


def _outage(scene: Scene) -> list[str]:
    """Describe the longest current outage in one line, the most important part first."""
    outages = find_outages(scene.waits)
    if not outages:
        return []
    batch_id, longest = next(iter(outages.items()))
    single = len(outages) == 1
    who = batch_name(scene.names, batch_id) if single else f"{len(outages):,} of {len(scene.waits.waits):,} batches"
    return [f"{who}: {describe_outage(longest, scene.now)}"]
