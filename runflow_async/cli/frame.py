"""One frame of the live view: what is known of the batches as lines of coloured text that fit a width and a height.

Decides what is left out where there is no room. Pure: it is given the instant, and draws on nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

from runflow_async.cli.bars import STYLES, draw_bar, draw_legend, style_of_status
from runflow_async.cli.lines import item_name
from runflow_async.protocol import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from runflow_async.cli.board import Board, Progress
    from runflow_async.fleet import BatchesWait
    from runflow_async.transitions import ItemTransition
    from runflow_async.waiting import BatchWait

__all__ = ["Scene", "draw_frame", "seconds_text"]

LEAST_BAR = 12
"""Cells below which a row gives up a column rather than more of its bar."""
LEAST_WIDTHS = (8, 5, 6, 13, 19)
"""Cells of the columns of a row but the bar, so that bars keep their length while numbers change theirs."""
LONGEST_NAME = 36
SHORT_ID = 8
WIDE = 120
"""Cells from which on ids are shown whole."""
MOST_RECENT = 8
"""Transitions shown at most."""
LEFT_BEHIND = 12
"""Rows that remain of many batches when the watch is over."""


class Scene(NamedTuple):
    """All that a frame shows.

    Attributes:
        waits: the batches.
        board: how far their items are.
        names: what batches are called; the others by their ids.
        notes: what the library logged, oldest first.
        now: this instant on the loop's clock.
        plain: whether only ASCII can be shown.
    """

    waits: BatchesWait
    board: Board
    names: Mapping[UUID, str]
    notes: Sequence[str]
    now: float
    plain: bool


def draw_frame(scene: Scene, width: int, height: int | None) -> list[Text]:
    """Draw the scene.

    Args:
        scene: what to draw.
        width: cells of a line.
        height: lines there are; None draws what is to remain when all is over, without what passes.
    """
    waits = list(scene.waits.waits.values())
    head, tail = (
        _head(scene, width),
        _tail(scene) if height is not None else [Text(), draw_legend(scene.board.overall.counts, plain=scene.plain)],
    )
    room = LEFT_BEHIND if height is None else height - len(head) - len(tail)
    most_recent = 0 if height is None else min(MOST_RECENT, room - len(waits) - 1)
    if len(waits) > max(room, 1):
        most_recent = 0 if height is None else min(MOST_RECENT, room // 3)
        head += [_overall(scene, width), Text("the slowest:", style="bright_black")]
        slowest = sorted(waits, key=lambda wait: _slowness(scene, wait), reverse=True)
        waits = slowest[: max(room - 2 - (most_recent + 1 if most_recent > 0 else 0), 0)]
    recent = list(scene.board.recent)[-most_recent:] if most_recent > 0 else []
    lines = [*head, *_rows(scene, waits, width), *([Text()] if recent else [])]
    lines += [*(_told(scene, transition) for transition in recent), *tail]
    for line in lines:
        line.truncate(width, overflow="ellipsis" if not scene.plain else "crop")
    return lines if height is None else lines[:height]


def seconds_text(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 10:  # noqa: PLR2004  # one digit
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004  # a minute
        return f"{whole} s"
    if whole < 3600:  # noqa: PLR2004  # an hour
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def _name(scene: Scene, batch_id: UUID, width: int) -> str:
    name = scene.names.get(batch_id)
    if name:
        return printable(name, LONGEST_NAME)
    return str(batch_id)[: LONGEST_NAME if width >= WIDE else SHORT_ID]


def _head(scene: Scene, width: int) -> list[Text]:
    overall, waits = scene.board.overall, scene.waits.waits
    polls = sum(wait.stats.polls for wait in waits.values())
    elapsed = seconds_text(scene.now - scene.board.began)
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
    """How many batches are in which state."""
    states = Counter(_state(wait) for wait in scene.waits.ended)
    unfinished = len(scene.waits.waits) - len(scene.waits.ended)
    told = [(f"{unfinished:,} under way", STYLES["running"])] if unfinished else []
    told += [(f"{count:,} {state}", _style_of(state)) for state, count in states.most_common()]
    return Text(", ").join(Text(text, style=style) for text, style in told)


def _state(wait: BatchWait) -> str:
    """The end of a wait in a word: the batch's status, or the error."""
    error = wait.exception()
    return printable(wait.result().status_code or "unknown", 30) if error is None else type(error).__name__


def _style_of(state: str) -> str:
    return STYLES["failed"] if state.endswith("Error") else style_of_status(state)


def _overall(scene: Scene, width: int) -> Text:
    progress = scene.board.overall
    text = f"  {progress.ended:,}/{progress.total:,}  {_outlook(scene, progress)}"
    name = "all  "
    return (
        Text(name, style="bold")
        + draw_bar(progress.counts, max(4, width - len(name) - len(text)), plain=scene.plain)
        + Text(text)
    )


def _slowness(scene: Scene, wait: BatchWait) -> tuple[bool, bool, float, int]:
    """What stands on top: what cannot be awaited, what is under way and far from its end, then the rest."""
    progress = scene.board.progress(wait.batch_id)
    if not wait.done():
        return (False, True, progress.eta(scene.now), progress.left)
    return (wait.exception() is not None, False, wait.stats.elapsed, progress.total)


def _outlook(scene: Scene, progress: Progress) -> str:
    eta = progress.eta(scene.now)
    return f"ETA {seconds_text(eta)}" if eta < math.inf else "ETA -"


def _polls(scene: Scene, wait: BatchWait) -> str:
    polls = wait.stats.polls
    text = f"{polls} poll{'' if polls == 1 else 's'}"
    if wait.done():
        return f"{text} in {seconds_text(wait.stats.elapsed)}"
    left = wait.next_at - scene.now
    return f"{text}, next {seconds_text(left)}" if 0 < left < math.inf else f"{text}, now"


def _rows(scene: Scene, waits: Sequence[BatchWait], width: int) -> list[Text]:
    if not waits:
        return []
    cells = [_cells(scene, wait, width) for wait in waits]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    widths = [max(width, least) if width else 0 for width, least in zip(widths, LEAST_WIDTHS, strict=True)]
    shown = [0, 1]
    for column in (3, 4, 2):  # the outlook, the polls, the pace: as far as there is room
        if sum(widths[one] + 2 for one in [*shown, column]) + LEAST_BAR <= width:
            shown.append(column)
    bar_width = max(4, width - sum(widths[column] + 2 for column in shown))
    rows: list[Text] = []
    for wait, row in zip(waits, cells, strict=True):
        line = Text(row[0].plain.ljust(widths[0] + 2))
        line.append_text(draw_bar(scene.board.progress(wait.batch_id).counts, bar_width, plain=scene.plain))
        for column in sorted(shown[1:]):
            line.append("  ").append_text(row[column]).append(" " * (widths[column] - len(row[column])))
        rows.append(line)
    return rows


def _cells(scene: Scene, wait: BatchWait, width: int) -> list[Text]:
    """Name, items ended, pace, outlook, polls."""
    progress = scene.board.progress(wait.batch_id)
    done = wait.done()
    pace = progress.pace(scene.now)
    state = _state(wait) if done else _outlook(scene, progress)
    return [
        Text(_name(scene, wait.batch_id, width)),
        Text(f"{progress.ended}/{progress.total}" if progress.total else "-"),
        Text("" if done or not pace else f"{pace:.1f}/s"),
        Text(state, style=_style_of(state) if done else ""),
        Text(_polls(scene, wait), style="bright_black"),
    ]


def _told(scene: Scene, transition: ItemTransition) -> Text:
    arrow = "->" if scene.plain else "→"
    name = _name(scene, transition.batch_id, 0) if len(scene.waits.waits) > 1 else ""
    line = Text(f"{transition.observed_at.astimezone():%H:%M:%S}  ", style="bright_black")
    line.append(f"{name}{'  ' if name else ''}{item_name(transition)}  ")
    if transition.previous is not None:
        line.append(f"{printable(transition.previous, 30)} {arrow} ", style="bright_black")
    line.append(printable(transition.current, 30), style=style_of_status(transition.current))
    return line


def _tail(scene: Scene) -> list[Text]:
    notes = [Text(note, style="yellow") for note in scene.notes]
    return [
        Text(),
        *notes,
        draw_legend(scene.board.overall.counts, plain=scene.plain),
        Text("Ctrl-C ends the watch; the batches go on.", style="bright_black"),
    ]
