"""The positions of the bars: rows, headings and labels in points, within a bounded height.

Pure: takes sizes of batches and preferred places, returns places. Knows nothing of matplotlib or of what is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["LINE", "MARGIN", "POINTS_PER_INCH", "WIDTH", "Block", "Layout", "lay_out", "thin_out"]

POINTS_PER_INCH = 72
WIDTH, MARGIN = 864.0, 30.0
"""Width of the picture, and of its empty edges, in points."""
TALLEST = 1200.0
"""Largest total height of rows, headings and gaps, in points."""
ROW, HEADING, GAP = 13.0, 20.0, 10.0
"""Heights of a row, of the line above a batch and of the space below it, in points, if there is room."""
LINE = 9.0
"""Height of one line of small text, in points."""


class Block(NamedTuple):
    """The rows of one batch: points from the top to its upper and lower edge, without the heading."""

    top: float
    bottom: float


class Layout(NamedTuple):
    """Places from top to bottom.

    Attributes:
        height: total height in points.
        pitch: points from one row to the next.
        has_headings: whether there is room for a line above each block.
        blocks: one per batch.
    """

    height: float
    pitch: float
    has_headings: bool
    blocks: list[Block]

    @property
    def has_labels(self) -> bool:
        """Whether each row has room for a line of text."""
        return self.pitch >= LINE


def lay_out(sizes: Sequence[int]) -> Layout:
    """Divide the height among batches with this many items each.

    Rows get thinner until all fit. If headings would take half of the height, they are left out and the blocks touch.
    """
    has_headings = len(sizes) * (HEADING + GAP) <= TALLEST / 2
    heading, gap = (HEADING, GAP) if has_headings else (0.0, 0.0)
    pitch = min(ROW, (TALLEST - len(sizes) * (heading + gap)) / sum(sizes))
    blocks: list[Block] = []
    top = 0.0
    for size in sizes:
        blocks.append(Block(top + heading, top + heading + size * pitch))
        top = blocks[-1].bottom + gap
    return Layout(top, pitch, has_headings, blocks)


def thin_out(places: Iterable[float], distance: float) -> list[int]:
    """Choose places, best first, that keep the distance from all better ones; return their indices in `places`."""
    kept: dict[int, float] = {}
    for position, place in enumerate(places):
        if all(abs(place - other) >= distance for other in kept.values()):
            kept[position] = place
    return list(kept)
