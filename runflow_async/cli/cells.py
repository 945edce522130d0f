"""Texts fitted into the cells of a terminal, where some characters take two of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["displayable", "fit", "wrap"]


def displayable(text: str, *, plain: bool) -> str:
    """Return the text, with everything but ASCII escaped if `plain`."""
    return text.encode("ascii", "backslashreplace").decode() if plain else text


def fit(text: str, width: int, *, plain: bool) -> str:
    """Fill the text up to this many cells, or cut it with an ellipsis."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    end = "..." if plain else "…"
    return set_cell_size(set_cell_size(text, width - len(end)).rstrip() + end, width)


def wrap(text: Text, width: int, *, at: str = " ") -> list[Text]:
    """Break the text into lines of at most this many cells; only a part that is longer by itself exceeds them.

    Args:
        text: on one line.
        width: cells per line.
        at: between the parts that are not broken.
    """
    if text.cell_len <= width:
        return [text]
    first, *others = text.split(at)
    lines = [first]
    for part in others:
        if lines[-1].cell_len + len(at) + part.cell_len <= width:
            lines[-1].append(at).append_text(part)
        else:
            lines.append(part)
    return lines
