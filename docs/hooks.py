"""Adds the plots and the fault matrix to the site.

Also sets what the search prefers, and which pages are wide: a code host would show that, if it stood in the pages.

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
    from mkdocs.structure.pages import Page

PLOTS = Path("benchmarks/results")
FAULTS = "tests/faults/README.md"
BOOSTS = {"start": 4, "how-to": 4, "changelog.md": 0.25}


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add every plot and the fault matrix to the files of the site."""
    root = Path(config.config_file_path).parent
    files.append(File.generated(config, FAULTS, abs_src_path=str(root / FAULTS)))
    for plot in sorted((root / PLOTS).glob("*.png")):
        file = File.generated(config, f"../{PLOTS}/{plot.name}", abs_src_path=str(plot))
        file.inclusion = InclusionLevel.INCLUDED  # a path that begins with a dot is left out otherwise
        file.dest_uri = f"plots/{plot.name}"
        files.append(file)


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Let the search prefer tasks, make room for two columns, and link the fault matrix by its place in the site."""
    folder = page.file.src_uri.partition("/")[0]
    page.meta["hide"] = ["toc"] if folder == "coming-from" else []
    page.meta["search"] = {"exclude": page.file.src_uri == FAULTS, "boost": BOOSTS.get(folder, 1)}
    return markdown.replace(f"(../../{FAULTS}", f"(../{FAULTS}")


def on_page_content(html: str, **_: object) -> str:
    """Outputs get no button that copies them."""
    return html.replace('class="language-text highlight"', 'class="language-text highlight no-copy"')
