"""The page about troubleshooting has every message of the package by its text, and no other."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import runflow_async

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PACKAGE = Path(runflow_async.__file__).parent
PAGE = ROOT / "docs" / "troubleshooting.md"
ROW = re.compile(r"^\| (?:`` (?P<quoted>.+?) ``|`(?P<plain>[^`]+)`) \|", re.MULTILINE)
FILLED_IN = re.compile(r"%(?:\.\d+)?[sdrgfx]|%%|\{[a-z_]*\}")
WORDS = 3
"""Of so many words, a string is a sentence or a part of one."""
ELSEWHERE = {
    "emulator": "its errors are those of a test's author, and the API's",
    "cli/timeline/drawing.py": "words of a picture",
    "cli/timeline/looks.py": "words of a picture",
    "cli/describing.py": "a description, not a message",
    "cli/frame.py": "words of the live view",
    "cli/rows.py": "words of the live view",
    "cli/board.py": "words of the live view",
    "demo.py": "words of the demo",
    "otel/measures.py": "descriptions of instruments",
    "_shown.py": "HTML of a notebook's tables",
}
OPTIONS = {"help", "epilog", "short_help"}
PARTS = re.compile(
    r"SELECT|INSERT|CREATE|DELETE|<|\^|\(con|dict\[|Glyph|\x08|and sent Retry|…\nWithout it|(…?, )?… of … items ended$"
)
NAMES = """
a delay of the interval strategy, a function of a Batch, a function of an ItemTransition, callback of batch,
callback of batch …, callbacks of batch, each of since, how often to poll, item … of batch …, items of batch,
new batch of …, number of requests per second, number of seconds, results of batch,
seconds or an instance of a wait strategy, the aiohttp session, the interval strategy, the key file …,
the wait for batch …, the wait for batches, use the folder, wait_for_batch …, what checkpoint.load returns,
where to resume
"""
"""What a message speaks of; the sentence around it is on the page."""


class Messages(ast.NodeVisitor):
    """Collects the strings of a module that read like a sentence, but for docstrings and texts of options."""

    def __init__(self, least: int) -> None:
        self.least = least
        self.found: set[str] = set()

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg not in OPTIONS:
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        self._take(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._take(node)
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.visit(part.value)

    def _take(self, node: ast.expr) -> None:
        text = re.sub("…+", "…", FILLED_IN.sub("…", text_of(node))).strip()
        if len(re.findall(r"[a-z]{2,}", text)) >= self.least and " " in text:
            self.found.add(text)


def text_of(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(map(text_of, node.values))
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else "…"


@cache
def messages(least: int = WORDS) -> frozenset[str]:
    """Those of so many words."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE).as_posix()
        if not place.startswith(tuple(ELSEWHERE)):
            collected = Messages(least)
            collected.visit(ast.parse(path.read_text()))
            found |= {text for text in collected.found if not PARTS.match(text)} - set(re.split(r",?\s*\n|, ", NAMES))
    return frozenset(found)


def entries() -> Iterator[str]:
    for row in ROW.finditer(PAGE.read_text()):
        yield row["quoted"] or row["plain"]


def test_the_page_has_every_message():
    page = list(entries())
    assert sorted(text for text in messages() if not any(text in entry for entry in page)) == []


def test_every_entry_is_a_message():
    known = messages(1)
    assert [entry for entry in entries() if entry not in known and not any(text in entry for text in messages())] == []


def test_no_entry_is_there_twice():
    page = list(entries())
    assert sorted(entry for entry in set(page) if page.count(entry) > 1) == []
