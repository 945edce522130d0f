"""Writes lifelines to files: the picture as SVG, PNG or in an HTML page that describes the item under the pointer.

Decides what surrounds the drawing and how it gets into the file. Draws nothing itself.
"""

# matplotlib annotates few keywords
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import io
import warnings
from html import escape
from typing import TYPE_CHECKING

from matplotlib import style

from runflow_async.cli.replacing import replace_file
from runflow_async.cli.timeline.drawing import draw
from runflow_async.cli.timeline.looks import EXPLANATION, STRAGGLER, describe, headline, key_of
from runflow_async.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from runflow_async.cli.timeline.lifelines import Lifelines
    from runflow_async.cli.timeline.looks import Entry
    from runflow_async.cli.timeline.picture import Picture

__all__ = ["draw_timeline"]

STYLE = {
    "font.size": 9.0,
    "svg.fonttype": "none",
    "svg.hashsalt": "runflow_async",
    "text.parse_math": False,  # the texts are the user's, and may contain dollar signs
}
"""The picture's settings, on top of matplotlib's defaults."""
DOTS_PER_INCH = 150
"""Resolution of a PNG."""
MOST_DESCRIBED = 2000
"""With more items than this, a page describes none of them: each would add 400 bytes."""
NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 1rem auto; max-width: 75rem; padding: 0 1rem; background: #fff; color: #1a1a1a;
  font: 1rem/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 1.25rem; line-height: 1.3; }}
ul {{ display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; list-style: none; padding: 0; }}
li i {{ display: inline-block; width: 1.2em; height: .8em; box-sizing: border-box; margin-right: .4em; }}
li i.frame {{ border: 2px solid #000; background: #0072b2; }}
li b {{ margin-right: .3em; }}
div {{ overflow-x: auto; }}
svg {{ display: block; width: 100%; min-width: 60rem; height: auto; }}
#items rect:hover {{ stroke: #000; stroke-width: 1.5; }}
</style>
<h1>{title}</h1>
<p>{explanation}</p>
<ul>
{key}
</ul>
<div tabindex="0" role="region" aria-label="timeline">
{svg}
</div>
</html>
"""


def draw_timeline(lifelines: Lifelines, path: Path) -> None:
    """Draw lifelines to a `.svg`, `.png` or `.html` file. The same lifelines always give the same bytes.

    An existing file is replaced once the new one is complete.

    Raises:
        ConfigurationError: if the path ends otherwise, or the file cannot be written.
    """
    render = {".svg": _svg, ".png": _png, ".html": _html}.get(path.suffix.lower())
    if render is None:
        raise ConfigurationError(f"the picture's file must end in .svg, .png or .html, not {path.name!r}")
    with style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        content = render(lifelines)
    try:
        replace_file(path.resolve(), content)  # keeps a symbolic link
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error


def _png(lifelines: Lifelines) -> bytes:
    content = io.BytesIO()
    draw(lifelines, captioned=True).figure.savefig(
        content, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None}
    )
    return content.getvalue()


def _svg(lifelines: Lifelines) -> bytes:
    return _svg_of(draw(lifelines, captioned=True))


def _svg_of(picture: Picture) -> bytes:
    content = io.BytesIO()
    picture.figure.savefig(content, format="svg", metadata=NO_METADATA)
    return content.getvalue()


def _html(lifelines: Lifelines) -> bytes:
    picture = draw(lifelines, captioned=False)
    svg = _svg_of(picture).decode()
    svg = svg[svg.index("<svg") :].replace("</svg>", f"{_areas(picture)}</svg>")
    key = "\n".join(f"<li>{_swatch(entry)}{escape(entry.text)}</li>" for entry in key_of(lifelines))
    return PAGE.format(title=escape(headline(lifelines)), explanation=EXPLANATION, key=key, svg=svg).encode()


def _swatch(entry: Entry) -> str:
    look = entry.look
    if look is STRAGGLER:
        return '<i class="frame"></i>'
    if not look.marker:
        return f'<i style="background: {look.colour}"></i>'
    return f'<b style="color: {look.colour}">{look.sign}</b>'


def _areas(picture: Picture) -> str:
    """Areas for the pointer: an invisible rectangle over each item's bar, with the item's description."""
    if len(picture.rows) > MOST_DESCRIBED:
        return ""
    height = picture.figure.bbox.height
    areas: list[str] = []
    for row in picture.rows:
        left, top = picture.axes.transData.transform((row.item.begin, row.top))
        width = max((row.item.end - row.item.begin) * picture.second, picture.mark)
        areas.append(
            f'<rect x="{left:.2f}" y="{height - top:.2f}" width="{width:.2f}" height="{picture.pitch:.2f}">'
            f"<title>{escape(describe(row.item, row.batch))}</title></rect>"
        )
    return f'<g id="items" fill-opacity="0">{"".join(areas)}</g>'
