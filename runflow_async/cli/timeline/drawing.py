"""Draws lifelines with matplotlib: one bar per item, coloured by status, with marks for ends and stragglers.

Decides what the bars look like. `layout` decides where they go, `looks` what a status looks like, and other modules
write the texts.
"""

# matplotlib annotates few keywords
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections import defaultdict
from datetime import UTC
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from runflow_async.cli.timeline.caption import caption_height, draw_caption
from runflow_async.cli.timeline.layout import MARGIN, POINTS_PER_INCH, WIDTH, lay_out
from runflow_async.cli.timeline.looks import OPEN, STRAGGLER, SUCCEEDED, end_of, look_of
from runflow_async.cli.timeline.names import (
    draw_headings,
    draw_labels,
    labels_of,
    name_stragglers,
    straggler_label,
    width_of,
)
from runflow_async.cli.timeline.picture import Picture, Row
from runflow_async.models import TERMINAL_STATUSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from runflow_async.cli.timeline.lifelines import Lifelines
    from runflow_async.cli.timeline.looks import Look

__all__ = ["draw"]

ABOVE, BELOW = 20.0, 40.0
"""Height of the axis's numbers and label, in points."""
GAPLESS = 3.0
"""Pitch in points below which bars touch."""
CAP = 3.0
"""Width in points of the end of a bar whose item succeeded."""


def draw(lifelines: Lifelines, *, captioned: bool) -> Picture:
    """Draw everything, with or without title and key."""
    layout = lay_out([len(batch.items) for batch in lifelines.batches])
    rows = [
        Row(batch, item, block.top + index * layout.pitch)
        for batch, block in zip(lifelines.batches, layout.blocks, strict=True)
        for index, item in enumerate(batch.items)
    ]
    labels, stragglers = labels_of(lifelines, layout, rows), _stragglers(rows)
    above = ABOVE + (caption_height(lifelines) if captioned else 0.0)
    left = MARGIN + width_of(label.text for label in labels)
    right = MARGIN + width_of(straggler_label(row) for row in stragglers)
    figure = Figure((WIDTH / POINTS_PER_INCH, (above + layout.height + BELOW) / POINTS_PER_INCH), dpi=POINTS_PER_INCH)
    axes = _add_axes(figure, lifelines, layout.height, left=left, right=right)
    picture = Picture(figure, axes, rows, layout.pitch)
    draw_labels(picture, labels)
    _draw_bars(picture)
    _draw_ends(picture)
    if stragglers:
        _frame(picture, stragglers)
        name_stragglers(picture, stragglers)
    if layout.has_headings:
        draw_headings(picture, lifelines, layout)
    if captioned:
        draw_caption(figure, lifelines)
    return picture


def _stragglers(rows: Sequence[Row]) -> list[Row]:
    """The rows of the stragglers, slowest first."""
    found = [row for row in rows if row.batch.is_straggler(row.item)]
    return sorted(found, key=lambda row: row.batch.slowness(row.item) or 0.0, reverse=True)


def _add_axes(figure: Figure, lifelines: Lifelines, height: float, *, left: float, right: float) -> Axes:
    whole = figure.bbox.height
    axes = figure.add_axes((left / WIDTH, BELOW / whole, (WIDTH - left - right) / WIDTH, height / whole))
    axes.set_xlim(0.0, lifelines.duration or 1.0)
    axes.set_ylim(height, 0.0)
    axes.set_xlabel(f"seconds since the first event, {lifelines.began_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")
    axes.grid(axis="x", color="#e3e7ec", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labeltop=True)
    axes.spines[:].set_visible(False)
    return axes


def _draw_bars(picture: Picture) -> None:
    spans: defaultdict[Look, list[tuple[float, float, float]]] = defaultdict(list)
    for row in picture.rows:
        for stay in row.item.stays:
            if stay.status not in TERMINAL_STATUSES:
                spans[look_of(stay.status)].append((stay.begin, stay.end, row.top))
    for look, places in spans.items():
        _add_bars(picture, places, gid=f"bars-{look.name}", facecolor=look.colour)


def _draw_ends(picture: Picture) -> None:
    """Draw caps where items succeeded, and larger marks above all bars where they did not."""
    ends: defaultdict[Look, list[tuple[float, float]]] = defaultdict(list)
    for row in picture.rows:
        ends[end_of(row.item)].append((row.item.end, row.top))
    cap = CAP / picture.second
    for look, places in ends.items():
        gid = f"ends-{look.name.replace(' ', '-')}"
        if look is SUCCEEDED:
            spans = [(end - cap / 2, end + cap / 2, top) for end, top in places]
            _add_bars(picture, spans, gid=gid, facecolor=look.colour, zorder=4)
        else:
            _add_marks(picture, places, look, gid)


def _add_bars(picture: Picture, spans: Sequence[tuple[float, float, float]], **properties: Any) -> None:
    """Draw one bar for each start, end and top."""
    begin, end, top = np.array(spans).T
    gap = 0.1 * picture.pitch if picture.pitch > GAPLESS else 0.0
    upper, lower = top + gap, top + picture.pitch - gap
    corners = np.stack([begin, upper, begin, lower, end, lower, end, upper], axis=-1).reshape(-1, 4, 2)
    properties = {"linewidth": 0, "zorder": 2, "clip_on": False} | properties
    picture.axes.add_collection(PolyCollection(list(corners), **properties), autolim=False)


def _add_marks(picture: Picture, places: Sequence[tuple[float, float]], look: Look, gid: str) -> None:
    instants, tops = np.array(places).T
    picture.axes.scatter(
        instants,
        tops + picture.pitch / 2,
        s=picture.mark**2,
        marker=look.marker,
        facecolor="white" if look is OPEN else look.colour,
        edgecolor=look.colour if look is OPEN else "white",
        linewidth=0.1 * picture.mark,
        clip_on=False,
        zorder=5,
        gid=gid,
    )


def _frame(picture: Picture, stragglers: Sequence[Row]) -> None:
    """Frame each straggler's run."""
    spans = [(row.item.work_began or 0.0, row.item.end, row.top) for row in stragglers]
    width = min(1.2, 0.3 + 0.1 * picture.pitch)
    _add_bars(picture, spans, gid="stragglers", facecolor="none", edgecolor=STRAGGLER.colour, linewidth=width, zorder=3)
