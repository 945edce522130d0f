"""The threat model names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "explanation" / "threat-model.md").read_text()


def test_every_test_that_is_named_exists():
    named = re.findall(r"`((?:tests/|\.github/|noxfile)[\w/.-]+)(?:::(\w+))?`", PAGE)
    assert named
    missing = [f"{path}::{name}" for path, name in named if name and f"def {name}(" not in (ROOT / path).read_text()]
    missing += [path for path, _ in named if not (ROOT / path).exists()]
    assert missing == []


def test_every_row_that_is_named_is_in_the_fault_matrix():
    matrix = (ROOT / "tests" / "faults" / "README.md").read_text()
    named = {row for cited in re.findall(r"rows? ([\d, tond]+)", PAGE) for row in re.findall(r"\d+", cited)}
    assert named
    assert [row for row in sorted(named, key=int) if f"\n| {row} |" not in matrix] == []


def test_every_threat_says_what_is_done_and_what_shows_it_or_what_remains():
    rows = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    threats = [row for row in rows if len(row) > 2 and row[0] != "threat"]
    assert threats
    assert [row[0] for row in threats if not row[1] or not any(row[2:])] == []
