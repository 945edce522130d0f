"""The rows of the live view: for each batch a bar between columns that are aligned at any width.

Decides what to leave out if there is no room. Pure: it gets the current time with the scene.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

from runflow_async._text import duration_text, printable
from runflow_async.cli.bars import STYLES, draw_bar, style_of_status
from runflow_async.cli.cells import displayable, fit
from runflow_async.cli.words import batch_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from runflow_async import BatchesWait, BatchWait
    from runflow_async.cli.board import Board, ItemProgress

__all__ = ["Scene", "draw_rows", "end_of", "seconds_left", "style_of_end"]

SMALLEST_BAR = 4
LEAST_BAR = 8
"""If a bar would get smaller than this, the rows drop a column instead, but not the failed items."""
MOST_BAR = 60
"""Largest bar in cells, however wide the terminal is."""
LEAST_NAME = 8
WIDE = 120
"""Width in cells from which names and ids are shown in full."""
FULL_NAME = 36


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


class Row(NamedTuple):
    """The columns of a row."""

    name: Text
    ended: Text
    failed: Text
    pace: Text
    outlook: Text
    polls: Text


LEAST_WIDTHS = Row(*map(Text, (" " * LEAST_NAME, " " * 5, "", " " * 6, " " * 13, " " * 19)))
"""A column that is not empty has at least these cells, so that bars keep their length while numbers change."""
BY_IMPORTANCE = ("failed", "outlook", "polls", "pace")
"""The columns that are shown as far as there is room."""


def draw_rows(scene: Scene, waits: Sequence[BatchWait], width: int, *, overall: bool) -> list[Text]:
    """Draw a row for each batch, and if `overall`, a first one for all batches of the scene."""
    progresses = [scene.board.progress(wait.batch_id) for wait in waits]
    rows = [_row_of(scene, wait, width) for wait in waits]
    if overall:
        progresses.insert(0, scene.board.overall)
        rows.insert(0, _row_of_all(scene))
    if not rows:
        return []
    widths = {name: _width_of(name, rows, width) for name in Row._fields}
    shown = ["name", "ended"]
    for name in BY_IMPORTANCE:
        least = SMALLEST_BAR if name == "failed" else LEAST_BAR
        if widths[name] and sum(widths[one] + 2 for one in [*shown, name]) + least <= width:
            shown.append(name)
    behind = [name for name in Row._fields if name in shown[1:]]
    bar_width = min(max(SMALLEST_BAR, width - sum(widths[name] + 2 for name in shown)), MOST_BAR)
    lines: list[Text] = []
    for progress, row in zip(progresses, rows, strict=True):
        line = Text(fit(row.name.plain, widths["name"], plain=scene.plain) + "  ", style=row.name.style)
        line = Text().append_text(line).append_text(draw_bar(progress.counts, bar_width, plain=scene.plain))
        for name in behind:
            cell: Text = getattr(row, name)
            line.append("  ").append_text(cell).append(" " * (widths[name] - cell.cell_len))
        lines.append(line)
    return lines


def _width_of(name: str, rows: Sequence[Row], width: int) -> int:
    widest = max(getattr(row, name).cell_len for row in rows)
    if name == "name":
        widest = min(widest, FULL_NAME if width >= WIDE else max(width // 4, LEAST_NAME))
    return max(widest, getattr(LEAST_WIDTHS, name).cell_len) if widest else 0


def _row_of(scene: Scene, wait: BatchWait, width: int) -> Row:
    name = displayable(batch_name(scene.names, wait.batch_id, whole=width >= WIDE), plain=scene.plain)
    progress, end = scene.board.progress(wait.batch_id), end_of(wait) if wait.done() else ""
    return Row(
        Text(name),
        *_counts(progress, "" if end else _pace(scene, progress)),
        Text(end, style=style_of_end(end)) if end else Text(_outlook(scene, wait)),
        Text(_polls(scene, wait), style="bright_black"),
    )


def _row_of_all(scene: Scene) -> Row:
    progress = scene.board.overall
    return Row(
        Text("all", style="bold"),
        *_counts(progress, "" if scene.over else _pace(scene, progress)),
        Text(_outlook(scene, scene.waits)),
        Text(),
    )


def _counts(progress: ItemProgress, pace: str) -> tuple[Text, Text, Text]:
    failed = progress.counts["failed"]
    return (
        Text(f"{progress.ended:,}/{progress.total:,}" if progress.total else "-"),
        Text(f"{failed:,} failed" if failed else "", style=STYLES["failed"]),
        Text(pace),
    )


def _pace(scene: Scene, progress: ItemProgress) -> str:
    pace = progress.pace(scene.now)
    return f"{pace:.1f}/s" if pace else ""


def end_of(wait: BatchWait) -> str:
    """Return the end of a wait in a word: the batch's status, or the error."""
    error = wait.exception()
    return printable(wait.result().status_code or "unknown", 30) if error is None else type(error).__name__


def style_of_end(end: str) -> str:
    """The style of the end of a wait."""
    return STYLES["failed"] if end.endswith("Error") else style_of_status(end)


def seconds_left(waits: BatchWait | BatchesWait) -> float:
    """Return the seconds until the expected end; infinite while nothing is known about it."""
    estimate = waits.estimate()
    return math.inf if estimate is None else max((estimate.ends_at - datetime.now(UTC)).total_seconds(), 0.0)


def _outlook(scene: Scene, waits: BatchWait | BatchesWait) -> str:
    left = 0.0 if scene.over else seconds_left(waits)
    if not left:
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
