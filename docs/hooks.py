"""Adds the plots and the README's figures to the site, so that no second copy of them can go stale.

Pages link to a plot by its path in the checkout, so the links also work where a page is read without being built.
"""
# ruff: noqa: INP001  # loaded by its path

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, InclusionLevel

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

NUMBERS = '<!-- The table of README.md\'s "Numbers" -->'
PLOTS = Path("benchmarks/results")
FAULTS = "tests/faults/README.md"
"""Linked from SECURITY.md, by its place in the checkout too."""


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add every plot and the fault matrix to the files of the site."""
    root = Path(config.config_file_path).parent
    files.append(File.generated(config, FAULTS, abs_src_path=str(root / FAULTS)))
    for plot in sorted((root / PLOTS).glob("*.png")):
        file = File.generated(config, f"../{PLOTS}/{plot.name}", abs_src_path=str(plot))
        file.inclusion = InclusionLevel.INCLUDED  # a path that begins with a dot is left out otherwise
        file.dest_uri = f"plots/{plot.name}"
        files.append(file)


def on_page_markdown(markdown: str, *, config: MkDocsConfig, **_: object) -> str:
    """Put the README's figures where a page asks for them."""
    if NUMBERS not in markdown:
        return markdown
    readme = (Path(config.config_file_path).parent / "README.md").read_text()
    table = re.search(r"^## Numbers$.*?(^\|.*?\n)\n", readme, re.DOTALL | re.MULTILINE)
    if table is None:
        raise PluginError("README.md has no table under its heading 'Numbers': fix this hook or the README")
    return markdown.replace(NUMBERS, table[1])
