"""Adds the plots and the fault matrix to the site.

Pages link to them by their path in the checkout, so the links also work where a page is read without being built.
"""
# ruff: noqa: INP001  # loaded by its path

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, InclusionLevel

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

PLOTS = Path("benchmarks/results")
FAULTS = "tests/faults/README.md"


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add every plot and the fault matrix to the files of the site."""
    root = Path(config.config_file_path).parent
    files.append(File.generated(config, FAULTS, abs_src_path=str(root / FAULTS)))
    for plot in sorted((root / PLOTS).glob("*.png")):
        file = File.generated(config, f"../{PLOTS}/{plot.name}", abs_src_path=str(plot))
        file.inclusion = InclusionLevel.INCLUDED  # a path that begins with a dot is left out otherwise
        file.dest_uri = f"plots/{plot.name}"
        files.append(file)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Lead the links to the fault matrix from a page in a folder to its place in the site."""
    return markdown.replace(f"(../../{FAULTS}", f"(../{FAULTS}")
