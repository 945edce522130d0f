"""How each status looks, and all texts about items and batches.

Pure: knows colours, shapes and words, but not how they are drawn. The colours come from a palette for the colour-blind
and never stand alone: bars get darker as the work progresses, and ends have shapes.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from runflow_async._text import printable
from runflow_async.cli.timeline.lifelines import STRAGGLING
from runflow_async.models import Phase, phase_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from runflow_async.cli.timeline.lifelines import BatchLifelines, Lifeline, Lifelines, Stay

__all__ = [
    "CANCELLED",
    "EXPLANATION",
    "FAILED",
    "OPEN",
    "STRAGGLER",
    "SUCCEEDED",
    "Entry",
    "Look",
    "describe",
    "end_of",
    "headline",
    "key_of",
    "look_of",
    "seconds_text",
    "summary",
]


class Look(NamedTuple):
    """The appearance of something.

    Attributes:
        name: its name; different spellings share one, and so do all unknown statuses.
        colour: colour as `#rrggbb`.
        marker: shape of an end, by matplotlib's name; empty for anything that has a length.
        sign: the shape as a character, for use in text.
    """

    name: str
    colour: str
    marker: str = ""
    sign: str = ""


SUCCEEDED = Look("succeeded", "#00b37f", "|", "▮")
FAILED = Look("failed", "#d55e00", "X", "✖")
CANCELLED = Look("cancelled", "#222222", "s", "■")
OPEN = Look("not ended", "#222222", ">", "▷")
STRAGGLER = Look("straggler", "#000000", sign="◀")
OTHER = Look("other", "#b8a999")
BARS = {
    "queued": Look("queued", "#d5dce4"),
    "dispatching": Look("dispatching", "#7fbfec"),
    "running": Look("running", "#0072b2"),
}
DIGITS_BELOW = ((10, 2), (100, 1), (math.inf, 0))
"""Digits after the point of seconds below each limit."""
ENDS = {
    Phase.SUCCEEDED: SUCCEEDED,
    Phase.PARTLY_SUCCEEDED: Look("partly succeeded", "#cc79a7", "P", "✚"),
    Phase.FAILED: FAILED,
    Phase.CANCELLED: CANCELLED,
}

EXPLANATION = (
    "One bar per item, from when it was first seen to its end. "
    "Batches stand in the order of their first events, items in that of their batch."
)


def look_of(status: str) -> Look:
    """Return the look of a status; unknown ones share a neutral look."""
    return BARS.get(status) or ENDS.get(phase_of(status), OTHER)


def end_of(item: Lifeline) -> Look:
    """Return the look of an item's end, or of an item that has not ended."""
    return OPEN if item.outcome is None else look_of(item.outcome)


class Entry(NamedTuple):
    """One line of the key."""

    look: Look
    text: str


def key_of(lifelines: Lifelines) -> Iterator[Entry]:
    """Explain the bars and marks in the picture: bars first, then ends, stragglers last."""
    items = [item for batch in lifelines.batches for item in batch.items]
    statuses = {stay.status for item in items for stay in item.stays}
    for status, look in BARS.items():
        if status in statuses:
            yield Entry(look, look.name)
    if unknown := sorted(printable(status, 20) for status in statuses if look_of(status) is OTHER):
        yield Entry(OTHER, f"{OTHER.name}: {', '.join(unknown[:3])}{', …' if unknown[3:] else ''}")
    counts = Counter(end_of(item) for item in items)
    for look in (*ENDS.values(), OPEN):
        if counts[look]:
            yield Entry(look, f"{look.name} ({counts[look]:,})")
    if late := sum(batch.is_straggler(item) for batch in lifelines.batches for item in batch.items):
        yield Entry(STRAGGLER, f"straggler ({late:,}): ran over {STRAGGLING}x as long as the median of its batch")


def headline(lifelines: Lifelines) -> str:
    """Say how many items of how many batches there are, and how they ended."""
    items = [item for batch in lifelines.batches for item in batch.items]
    batches = "1 batch" if len(lifelines.batches) == 1 else f"{len(lifelines.batches):,} batches"
    return f"{_count_items(items)} of {batches}: {', '.join(_count_ends(items))}"


def summary(batch: BatchLifelines) -> str:
    """Say how a batch ended, and how long its items usually waited and ran."""
    parts = [_count_items(batch.items), *_count_ends(batch.items)]
    if batch.median_wait is not None:
        parts.append(f"median wait {seconds_text(batch.median_wait)}")
    if batch.median_run is not None:
        parts.append(f"median run {seconds_text(batch.median_run)}")
    return " · ".join(parts)


def _count_items(items: Sequence[Lifeline]) -> str:
    return "1 item" if len(items) == 1 else f"{len(items):,} items"


def _count_ends(items: Iterable[Lifeline]) -> list[str]:
    counts = Counter(end_of(item) for item in items)
    return [f"{counts[look]:,} {look.name}" for look in (*ENDS.values(), OPEN) if counts[look]]


def describe(item: Lifeline, batch: BatchLifelines) -> str:
    """Describe an item, one fact per line: what it is, how long it was in each status, and its end."""
    last = item.stays[-1]
    lines = [
        item.name,
        f"item {item.sequence_index}, id {item.item_id}",
        f"batch {batch.batch_id}",
        *(_stay_text(stay) for stay in item.stays[:-1]),
        f"{_stay_text(last)}, not ended" if item.outcome is None else f"{item.outcome} at {seconds_text(last.begin)}",
    ]
    if batch.is_straggler(item):
        lines.append(f"straggler: ran {batch.slowness(item):.1f}x as long as the median of its batch")
    return "\n".join(lines)


def _stay_text(stay: Stay) -> str:
    return f"{printable(stay.status, 40)} for {seconds_text(stay.end - stay.begin)}"


def seconds_text(seconds: float) -> str:
    """Format a duration, to three digits or whole seconds."""
    digits = next(digits for limit, digits in DIGITS_BELOW if seconds < limit)
    return f"{seconds:,.{digits}f} s"
