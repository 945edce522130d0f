"""The caption above the bars: the counts, what a bar means, and the key to colours and marks."""

# matplotlib annotates few keywords
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from runflow_async.cli.timeline.layout import MARGIN, POINTS_PER_INCH, WIDTH
from runflow_async.cli.timeline.looks import EXPLANATION, OPEN, STRAGGLER, headline, key_of, look_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

    from runflow_async.cli.timeline.lifelines import Lifelines
    from runflow_async.cli.timeline.looks import Entry

__all__ = ["caption_height", "draw_caption"]

TITLE, SUBTITLE, KEY, LINE = 26.0, 43.0, 55.0, 17.0
"""Distances in points: from the top to the texts and the key, and between two lines of the key."""


def caption_height(lifelines: Lifelines) -> float:
    """Height of the whole caption in points."""
    return KEY + LINE * len(_key_lines(lifelines))


def draw_caption(figure: Figure, lifelines: Lifelines) -> None:
    """Draw the caption at the top of a figure that has room for it."""
    height = figure.get_figheight() * POINTS_PER_INCH
    left = MARGIN / WIDTH
    figure.text(left, 1 - TITLE / height, headline(lifelines), size=13, weight="bold")
    figure.text(left, 1 - SUBTITLE / height, EXPLANATION, color="#555555")
    for line, entries in enumerate(_key_lines(lifelines)):
        _draw_key(figure, entries, (left, 1 - (KEY + line * LINE) / height))


def _key_lines(lifelines: Lifelines) -> list[list[Entry]]:
    """One line each for bars, ends and stragglers, if there are any."""
    entries = list(key_of(lifelines))
    bars = [entry for entry in entries if not entry.look.marker and entry.look is not STRAGGLER]
    ends = [entry for entry in entries if entry.look.marker]
    stragglers = [entry for entry in entries if entry.look is STRAGGLER]
    return [line for line in (bars, ends, stragglers) if line]


def _draw_key(figure: Figure, entries: list[Entry], place: tuple[float, float]) -> None:
    figure.legend(
        handles=[_handle(entry) for entry in entries],
        loc="upper left",
        bbox_to_anchor=place,
        ncols=len(entries),
        frameon=False,
        borderaxespad=0,
        borderpad=0,
        handlelength=1.6,
        columnspacing=1.6,
    )


def _handle(entry: Entry) -> Artist:
    look = entry.look
    if look is STRAGGLER:
        return Patch(facecolor=look_of("running").colour, edgecolor=look.colour, linewidth=1.2, label=entry.text)
    if not look.marker:
        return Patch(color=look.colour, label=entry.text)
    return Line2D(
        [],
        [],
        linestyle="",
        marker=look.marker,
        markersize=7,
        markeredgewidth=3 if look.marker == "|" else 1,
        markerfacecolor="white" if look is OPEN else look.colour,
        color=look.colour,
        label=entry.text,
    )
