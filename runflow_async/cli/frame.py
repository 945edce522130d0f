"""One frame of the live view: what is known of the batches as lines of coloured text that fit a width and a height.

Decides what is left out where there is no room. Pure: it is given the instant, and draws on nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

from runflow_async.cli.board import KINDS, kind_of
from runflow_async.cli.lines import item_name
from runflow_async.protocol import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from runflow_async.cli.board import Board, Progress
    from runflow_async.fleet import BatchesWait
    from runflow_async.transitions import ItemTransition
    from runflow_async.waiting import BatchWait

__all__ = ["Scene", "bar_cells", "draw_frame", "seconds_text", "style_of_status"]

STYLES = {
    "succeeded": "green",
    "failed": "bold red",
    "cancelled": "magenta",
    "running": "cyan",
    "queued": "bright_black",
    "other": "yellow",
}
GLYPHS = {"succeeded": "█", "failed": "✗", "cancelled": "╌", "running": "▒", "queued": "░", "other": "?"}
ASCII_GLYPHS = {"succeeded": "#", "failed": "x", "cancelled": "-", "running": "=", "queued": ".", "other": "?"}
LEAST_BAR = 12
"""Cells below which a row gives up a column rather than more of its bar."""
LONGEST_NAME = 36
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
    head, tail = _head(scene, width), _tail(scene) if height is not None else [_legend(scene)]
    room = LEFT_BEHIND if height is None else height - len(head) - len(tail)
    if len(waits) > max(room, 1):
        head += [_overall(scene, width)]
        waits = sorted(waits, key=lambda wait: _slowness(scene, wait), reverse=True)[: max(room - 1, 0)]
    rows = _rows(scene, waits, width)
    recent = [] if height is None else _recent(scene, min(MOST_RECENT, room - len(rows) - 1))
    lines = [*head, *rows, *([Text()] if recent else []), *recent, *tail]
    for line in lines:
        line.truncate(width, overflow="ellipsis" if not scene.plain else "crop")
    return lines if height is None else lines[:height]


def bar_cells(counts: Mapping[str, int], width: int) -> dict[str, int]:
    """Share the cells of a bar out among the kinds; every kind that there is gets one at least, where there is room."""
    present = [kind for kind in KINDS if counts.get(kind, 0) > 0]
    total = sum(counts[kind] for kind in present)
    if not total or width < len(present):
        return {}
    cells = {kind: max(1, width * counts[kind] // total) for kind in present}
    while (excess := sum(cells.values()) - width) != 0:
        over = {kind: cells[kind] - width * counts[kind] / total for kind in present}
        # What is most above its share gives first, and what is most below it gets first.
        candidates = [kind for kind in present if excess < 0 or cells[kind] > 1]
        kind = max(candidates, key=over.__getitem__) if excess > 0 else min(candidates, key=over.__getitem__)
        cells[kind] -= 1 if excess > 0 else -1
    return cells


def seconds_text(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 10:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004
        return f"{whole} s"
    if whole < 3600:  # noqa: PLR2004
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def _bar(scene: Scene, counts: Mapping[str, int], width: int) -> Text:
    glyphs = ASCII_GLYPHS if scene.plain else GLYPHS
    bar = Text()
    for kind, cells in bar_cells(counts, width).items():
        bar.append(glyphs[kind] * cells, style=STYLES[kind])
    bar.append(" " * (width - len(bar)))
    return bar


def _name(scene: Scene, batch_id: UUID, width: int) -> str:
    name = scene.names.get(batch_id)
    return printable(name, LONGEST_NAME) if name else str(batch_id)[: 8 if width < 120 else LONGEST_NAME]  # noqa: PLR2004


def _head(scene: Scene, width: int) -> list[Text]:
    overall, waits = scene.board.overall, scene.waits.waits
    polls = sum(wait.stats.polls for wait in waits.values())
    elapsed = seconds_text(scene.now - scene.board.began)
    what = "1 batch" if len(waits) == 1 else f"{len(waits):,} batches"
    text = f"{what}: {overall.ended:,} of {overall.total:,} items ended, {polls:,} polls in {elapsed}"
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


def style_of_status(status: str) -> str:
    """The style of a status, of an item or of a batch."""
    return STYLES[kind_of(status)]


def _style_of(state: str) -> str:
    return STYLES["failed"] if state.endswith("Error") else style_of_status(state)


def _overall(scene: Scene, width: int) -> Text:
    progress = scene.board.overall
    text = f"  {progress.ended:,}/{progress.total:,}  {_outlook(scene, progress)}"
    name = "all  "
    return Text(name, style="bold") + _bar(scene, progress.counts, max(4, width - len(name) - len(text))) + Text(text)


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
    shown = [0, 1]
    for column in (3, 4, 2):  # the outlook, the polls, the pace: as far as there is room
        if sum(widths[one] + 2 for one in [*shown, column]) + LEAST_BAR <= width:
            shown.append(column)
    bar_width = max(4, width - sum(widths[column] + 2 for column in shown))
    rows: list[Text] = []
    for wait, row in zip(waits, cells, strict=True):
        line = Text(row[0].plain.ljust(widths[0] + 2))
        line.append_text(_bar(scene, scene.board.progress(wait.batch_id).counts, bar_width))
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
        Text(f"{progress.ended}/{progress.total}"),
        Text("" if done or not pace else f"{pace:.1f}/s"),
        Text(state, style=_style_of(state) if done else ""),
        Text(_polls(scene, wait), style="bright_black"),
    ]


def _recent(scene: Scene, most: int) -> list[Text]:
    if most < 1:
        return []
    return [_told(scene, transition) for transition in list(scene.board.recent)[-most:]]


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
    notes = [Text(f"warning: {note}", style="yellow") for note in scene.notes]
    return [Text(), *notes, _legend(scene), Text("Ctrl-C ends the watch; the batches go on.", style="bright_black")]


def _legend(scene: Scene) -> Text:
    glyphs = ASCII_GLYPHS if scene.plain else GLYPHS
    kinds = [kind for kind in KINDS if kind != "other" or scene.board.overall.counts[kind]]
    return Text("  ").join(Text(f"{glyphs[kind]} {kind}", style=STYLES[kind]) for kind in kinds)
