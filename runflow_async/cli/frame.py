"""One frame of the live view: the state of the batches as lines of coloured text that fit a width and a height.

Decides what to leave out if there is no room. Pure: it gets the current time as an argument.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.text import Text

from runflow_async._text import duration_text
from runflow_async.cli.bars import STYLES, draw_legend
from runflow_async.cli.cells import wrap
from runflow_async.cli.outages import describe_outage, find_outages
from runflow_async.cli.recent import draw_recent
from runflow_async.cli.rows import Scene, draw_rows, end_of, seconds_left, style_of_end
from runflow_async.cli.words import batch_name

if TYPE_CHECKING:
    from runflow_async import BatchWait

__all__ = ["draw_frame"]

MOST_RECENT = 8
"""How many transitions are shown at most."""
MOST_NOTE_LINES = 2
"""How many lines one note takes at most."""
LEFT_BEHIND = 12
"""How many rows are left when a watch of many batches is over."""


def draw_frame(scene: Scene, width: int, height: int) -> list[Text]:
    """Draw the scene.

    Args:
        scene: what to draw.
        width: cells per line.
        height: number of lines; ignored once the watch is over.
    """
    waits = list(scene.waits.waits.values())
    head, tail = _head(scene, width), _tail(scene, width)
    room = LEFT_BEHIND if scene.over else height - len(head) - len(tail)
    most_recent = 0 if scene.over else min(MOST_RECENT, room - len(waits) - 1)
    if len(waits) > max(room, 1):
        most_recent = 0 if scene.over else min(MOST_RECENT, room // 3)
        slowest = sorted(waits, key=lambda wait: _slowness(scene, wait), reverse=True)
        waits = slowest[: max(room - 2 - (most_recent + 1 if most_recent > 0 else 0), 0)]
        overall, *rows = draw_rows(scene, waits, width, overall=True)
        rows = [overall, Text("the slowest:", style="bright_black"), *rows]
    else:
        rows = draw_rows(scene, waits, width, overall=False)
    recent = list(scene.board.recent)[-most_recent:] if most_recent > 0 else []
    lines = [*head, *rows, *([Text()] if recent else [])]
    several = len(scene.waits.waits) > 1
    names = [batch_name(scene.names, transition.batch_id) if several else "" for transition in recent]
    lines += [*draw_recent(recent, names, width, plain=scene.plain), *tail]
    for line in lines:
        line.truncate(width, overflow="ellipsis" if not scene.plain else "crop")
    return lines if scene.over else lines[:height]


def _head(scene: Scene, width: int) -> list[Text]:
    overall, waits = scene.board.overall, scene.waits.waits
    polls = sum(wait.stats.polls for wait in waits.values())
    elapsed = duration_text(scene.now - scene.board.began)
    what = "1 batch" if len(waits) == 1 else f"{len(waits):,} batches"
    polled = "1 poll" if polls == 1 else f"{polls:,} polls"
    failed = f"{overall.counts['failed']:,} failed, " if overall.counts["failed"] else ""
    text = f"{what}: {overall.ended:,} of {overall.total:,} items ended, {failed}{polled} in {elapsed}"
    lines = wrap(Text(text, style="bold"), width)
    return [*lines, *(wrap(_states(scene), width) if len(waits) > 1 else []), Text()]


def _states(scene: Scene) -> Text:
    """Count the batches in each state."""
    states = Counter(end_of(wait) for wait in scene.waits.ended)
    unfinished = len(scene.waits.waits) - len(scene.waits.ended)
    parts = [Text(f"{unfinished:,} under way", style=STYLES["running"])] if unfinished else []
    parts += [Text(f"{count:,} {state}", style=style_of_end(state)) for state, count in states.most_common()]
    return Text(", ").join(parts)


def _slowness(scene: Scene, wait: BatchWait) -> tuple[bool, bool, float, int]:
    """Order the batches: failed waits first, then unfinished batches far from their end, then the rest."""
    progress = scene.board.progress(wait.batch_id)
    if not wait.done():
        return (False, True, seconds_left(wait), progress.left)
    return (wait.exception() is not None, False, wait.stats.elapsed, progress.total)


def _tail(scene: Scene, width: int) -> list[Text]:
    legend = wrap(draw_legend(scene.board.overall.counts, plain=scene.plain), width, at="  ")
    if scene.over:
        return [Text(), *legend]
    notes = [line for note in [*scene.notes, *_outage(scene)] for line in _note(scene, note, width)]
    advice = Text("Ctrl-C ends the watch; the batches keep running.", style="bright_black")
    return [Text(), *notes, *legend, *wrap(advice, width)]


def _note(scene: Scene, note: str, width: int) -> list[Text]:
    lines = wrap(Text(note, style="yellow"), width)
    if len(lines) > MOST_NOTE_LINES:
        lines[MOST_NOTE_LINES - 1].append("..." if scene.plain else "…")
    return lines[:MOST_NOTE_LINES]


def _outage(scene: Scene) -> list[str]:
    """Describe the longest current outage in one line, the most important part first."""
    outages = find_outages(scene.waits)
    if not outages:
        return []
    batch_id, longest = next(iter(outages.items()))
    single = len(outages) == 1
    who = batch_name(scene.names, batch_id) if single else f"{len(outages):,} of {len(scene.waits.waits):,} batches"
    return [f"{who}: {describe_outage(longest, scene.now)}"]
