"""The README's program runs as it is printed, prints what is shown, and its links and commands lead somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SCREEN = 60
"""Lines that a large window shows at once."""


@pytest.mark.looptime
async def test_the_first_program_needs_no_key_and_follows_both_items_to_their_end(capsys):
    program, printed = re.search(
        r"```python\n(.*?)```\n\nIt prints, for example:\n\n```text\n(.*?)```", README, re.DOTALL
    ).groups()
    names: dict[str, object] = {"__name__": "readme"}
    exec(compile(program, "README.md", "exec"), names)
    await names["main"]()
    for shown in (printed, capsys.readouterr().out):
        *changes, summary = shown.splitlines()
        assert summary == "succeeded 2 of 2"
        assert {line.split()[0] for line in changes} == {"cat", "dog"}
        for name in ("cat", "dog"):
            told = [line.split()[1::2] for line in changes if line.startswith(name)]
            before, after = map(list, zip(*told, strict=True))
            assert (before[0], before[1:], after[-1]) == ("None", after[:-1], "succeeded")


def test_the_first_success_is_on_the_first_screen():
    assert README[: README.index("succeeded 2 of 2")].count("\n") < SCREEN


def test_every_link_leads_to_a_file():
    links = re.findall(r"\]\(([^)#]+)", README)
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def test_there_are_five_numbers_and_each_has_its_command():
    commands = re.findall(r"\| `python -m ([\w.]+)` \|$", README, re.MULTILINE)
    assert len(commands) == 5
    assert [module for module in commands if importlib.util.find_spec(module) is None] == []
