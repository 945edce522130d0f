"""The texts beside and above the bars, if there is room: names of items, of stragglers and of batches.

Decides what is named and how names are cut. Widths are estimated in terminal cells, because fonts differ.
"""

# matplotlib annotates few keywords
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rich.cells import cell_len, set_cell_size

from runflow_async.cli.timeline.layout import LINE, MARGIN, thin_out
from runflow_async.cli.timeline.looks import CANCELLED, FAILED, STRAGGLER, end_of, seconds_text, summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from runflow_async.cli.timeline.layout import Layout
    from runflow_async.cli.timeline.lifelines import BatchLifelines, Lifelines
    from runflow_async.cli.timeline.looks import Look
    from runflow_async.cli.timeline.picture import Picture, Row

__all__ = ["Label", "draw_headings", "draw_labels", "labels_of", "name_stragglers", "straggler_label", "width_of"]

MOST_NAMED = 30
"""How many stragglers are named."""
NAME_CELLS = 22
"""Longest name, in cells; longer names are cut."""
CELL_POINTS = 5.8
"""Largest width of a cell in bold."""
HEADING_CELL_POINTS = 5.7
"""Width of a character of a batch's id."""


class Label(NamedTuple):
    """A text left of the bars, with the distance in points from their top to its middle."""

    place: float
    text: str
    look: Look | None


def width_of(texts: Iterable[str]) -> float:
    """Return the width of the longest label, in points."""
    return CELL_POINTS * max((cell_len(text) for text in texts), default=0)


def labels_of(lifelines: Lifelines, layout: Layout, rows: Sequence[Row]) -> list[Label]:
    """Return the names of the items if there is room, or else of the batches if there is room but no headings."""
    if layout.has_labels:
        return [_label_of(row, layout) for row in rows]
    return [] if layout.has_headings else list(_labels_of_batches(lifelines, layout))


def _label_of(row: Row, layout: Layout) -> Label:
    batch = "" if layout.has_headings else f"{_short_id(row.batch)} "
    name, middle, look = batch + _shorten(row.item.name), row.top + layout.pitch / 2, end_of(row.item)
    return Label(middle, f"{look.sign} {name}", look) if look in (FAILED, CANCELLED) else Label(middle, name, None)


def _labels_of_batches(lifelines: Lifelines, layout: Layout) -> Iterator[Label]:
    for batch, block in zip(lifelines.batches, layout.blocks, strict=True):
        if block.bottom - block.top < LINE:
            continue
        failed = sum(end_of(item) is FAILED for item in batch.items)
        sign, look = (f"{FAILED.sign} {failed:,}  ", FAILED) if failed else ("", None)
        yield Label((block.top + block.bottom) / 2, sign + _short_id(batch), look)


def draw_labels(picture: Picture, labels: Sequence[Label]) -> None:
    """Draw the labels left of the axes."""
    picture.axes.set_yticks([label.place for label in labels], [label.text for label in labels], size=8)
    for text, label in zip(picture.axes.get_yticklabels(), labels, strict=True):
        if label.look is not None:
            text.set(color=label.look.colour, weight="bold")


def straggler_label(row: Row) -> str:
    """Name a straggler, with its run in seconds and as a multiple of the median."""
    slowness, run = row.batch.slowness(row.item) or 0.0, row.item.run or 0.0
    return f"{STRAGGLER.sign} {_shorten(row.item.name)}: {seconds_text(run)}, {slowness:.1f}x"


def name_stragglers(picture: Picture, rows: Sequence[Row]) -> None:
    """Write the labels of stragglers behind their bars, slowest first; those without room are left out."""
    for index in thin_out([row.top for row in rows], LINE)[:MOST_NAMED]:
        picture.axes.annotate(
            straggler_label(rows[index]),
            (rows[index].item.end, rows[index].top + picture.pitch / 2),
            (picture.mark, 0),
            textcoords="offset points",
            va="center",
            weight="bold",
            size=8,
            bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.5},
            zorder=6,
            annotation_clip=False,
        )


def draw_headings(picture: Picture, lifelines: Lifelines, layout: Layout) -> None:
    """Write a line above each batch, from the left margin: its id, and how it ended."""
    for batch, block in zip(lifelines.batches, layout.blocks, strict=True):
        name, bottom = str(batch.batch_id), block.top - 5
        _write(picture, name, (MARGIN, bottom), family="monospace", weight="bold")
        _write(picture, summary(batch), (MARGIN + HEADING_CELL_POINTS * len(name), bottom))


def _write(picture: Picture, text: str, place: tuple[float, float], **font: Any) -> None:
    """Write at points from the figure's left edge, and from the top of the axes down."""
    picture.axes.annotate(text, place, xycoords=("figure points", "data"), annotation_clip=False, **font)


def _short_id(batch: BatchLifelines) -> str:
    return str(batch.batch_id)[:8]


def _shorten(name: str) -> str:
    return name if cell_len(name) <= NAME_CELLS else set_cell_size(name, NAME_CELLS - 1).rstrip() + "…"
