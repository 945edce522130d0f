"""README.md has the rows that the tests name, and no others."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
README = HERE / "README.md"
ROW = re.compile(r"^\| (\d+b?) \| \S.* \| \S.* \|$", re.MULTILINE)
IN_AN_ID = re.compile(r"[\[-](?:row )?(\d+b?(?:/\d+b?)*): ")
IN_A_TEXT = re.compile(r"[Rr]ows?[ _](\d+b?(?:(?: and |_and_)\d+b?)*)")


def numbers(found: list[str]) -> set[str]:
    return {number for text in found for number in re.findall(r"\d+b?", text)}


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_every_row_has_a_test_and_every_number_in_a_test_has_a_row():
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", str(HERE)]
    collected = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    sources = [path.read_text() for path in (ROOT / "tests").rglob("*.py")]
    named = numbers(IN_AN_ID.findall(collected)) | numbers(IN_A_TEXT.findall("\n".join(sources)))
    assert named == set(ROW.findall(README.read_text()))


def test_rows_are_well_formed_and_no_number_is_given_twice():
    lines = [line for line in README.read_text().splitlines() if re.match(r"\| (?!row )", line)]
    rows = [row[1] for line in lines if (row := ROW.fullmatch(line))]
    assert len(lines) == len(rows) == len(set(rows))
