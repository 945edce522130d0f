"""The picture while it is drawn: the figure, and the positions in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from runflow_async.cli.timeline.lifelines import BatchLifelines, Lifeline

__all__ = ["Picture", "Row"]


class Row(NamedTuple):
    """One item's row: points from the top of the axes to its upper edge."""

    batch: BatchLifelines
    item: Lifeline
    top: float


class Picture(NamedTuple):
    """The figure, and the positions in it.

    Attributes:
        figure: 72 dots per inch, so that its pixels are points.
        axes: seconds to the right, points from the top down.
        rows: one per item, from top to bottom.
        pitch: points from one row to the next.
    """

    figure: Figure
    axes: Axes
    rows: list[Row]
    pitch: float

    @property
    def second(self) -> float:
        """Width of a second, in points."""
        return self.axes.bbox.width / self.axes.get_xlim()[1]

    @property
    def mark(self) -> float:
        """Size of a mark in points; larger than a thin bar."""
        return min(max(0.8 * self.pitch, 5.0), 9.0)
