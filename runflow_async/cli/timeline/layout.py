"""Where the bars go: rows, headings and labels in points, within a bounded height.

Pure: sizes of batches and wished places go in, places come out. Knows nothing of matplotlib and of what is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["LINE", "MARGIN", "POINTS", "WIDTH", "Block", "Layout", "lay_out", "thin_out"]

POINTS = 72
"""In an inch."""
WIDTH = 864.0
MARGIN = 30.0
TALLEST = 1200.0
"""Points that all rows, headings and gaps may take together."""
ROW = 13.0
"""Points of a row where there is room."""
HEADING = 20.0
GAP = 10.0
LINE = 9.0
"""Points that one line of small text needs."""


class Block(NamedTuple):
    """The rows of one batch: points from the top to its upper and lower edge, heading not included."""

    top: float
    bottom: float


class Layout(NamedTuple):
    """Places from the top down.

    Attributes:
        height: points of all.
        pitch: points from a row to the next.
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
    """Share the height among batches of so many items each.

    Rows get thinner until all fit. Headings are left out, and blocks touch, where they would take half of the height.
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
    """Which of the places, best first, keep the distance from all better ones; their positions in `places`."""
    kept: dict[int, float] = {}
    for position, place in enumerate(places):
        if all(abs(place - other) >= distance for other in kept.values()):
            kept[position] = place
    return list(kept)
