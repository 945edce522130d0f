"""Bars that show how many items are in which state, by colour and by glyphs that work without colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from runflow_async.models import KINDS, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STYLES", "bar_cells", "draw_bar", "draw_legend", "style_of_status"]

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


def style_of_status(status: str) -> str:
    """The style of a status of an item or a batch."""
    return STYLES[kind_of(status)]


def draw_bar(counts: Mapping[str, int], width: int, *, plain: bool) -> Text:
    """Draw a bar of this many cells; it is empty if there are no items. With `plain` it uses ASCII only."""
    glyphs = ASCII_GLYPHS if plain else GLYPHS
    bar = Text()
    for kind, cells in bar_cells(counts, width).items():
        bar.append(glyphs[kind] * cells, style=STYLES[kind])
    return bar.append(" " * (width - len(bar)))


def draw_legend(counts: Mapping[str, int], *, plain: bool) -> Text:
    """The legend of the glyphs; includes `other` only if there is such an item."""
    glyphs = ASCII_GLYPHS if plain else GLYPHS
    kinds = [kind for kind in KINDS if kind != "other" or counts.get(kind)]
    return Text("  ").join(Text(f"{glyphs[kind]} {kind}", style=STYLES[kind]) for kind in kinds)


def bar_cells(counts: Mapping[str, int], width: int) -> dict[str, int]:
    """Divide the cells of a bar among the kinds. Every kind present gets at least one cell if there is room."""
    present = [kind for kind in KINDS if counts.get(kind, 0) > 0]
    total = sum(counts[kind] for kind in present)
    if not total or width < len(present):
        return {}
    cells = {kind: max(1, width * counts[kind] // total) for kind in present}
    while (excess := sum(cells.values()) - width) != 0:
        over = {kind: cells[kind] - width * counts[kind] / total for kind in present}
        # Take from the kind furthest above its share and give to the one furthest below.
        candidates = [kind for kind in present if excess < 0 or cells[kind] > 1]
        kind = max(candidates, key=over.__getitem__) if excess > 0 else min(candidates, key=over.__getitem__)
        cells[kind] -= 1 if excess > 0 else -1
    return cells
