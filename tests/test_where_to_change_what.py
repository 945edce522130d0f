"""The page that leads contributors to a module is true."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "runflow_async"
PAGE = (ROOT / "docs" / "explanation" / "where-to-change-what.md").read_text()
TASKS = [line.split("|")[1:4] for line in PAGE.partition("## By module")[0].splitlines() if line.count("|") == 4][2:]


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([\w/.]+)`", cell)


def test_every_module_and_test_of_a_task_exists():
    """A task that is a heading names neither."""
    tasks = [(what, names_in(modules), names_in(tests)) for what, modules, tests in TASKS if "**" not in what]
    assert tasks
    assert [what for what, modules, tests in tasks if not modules or not tests] == []
    modules = [module for _, modules, _ in tasks for module in modules]
    assert [module for module in modules if not (PACKAGE / module).is_file()] == []
    tests = [test for _, _, tests in tasks for test in tests]
    assert [test for test in tests if not (ROOT / "tests" / test).exists()] == []


def test_the_modules_are_listed_with_what_their_docstrings_say():
    """`python docs/draw_floors.py` writes them anew."""
    assert runpy.run_path(str(ROOT / "docs" / "draw_floors.py"))["draw_modules"]() in PAGE


def test_no_module_is_missing():
    listed = len(re.findall(r"^\| `\w+` \| ", PAGE.partition("## By module")[2], re.MULTILINE))
    sources = list(PACKAGE.rglob("*.py"))
    packages = [source for source in sources if source.name == "__init__.py"]
    nested = {source.parent for source in packages} - {PACKAGE}
    assert listed == len(sources) - len(packages) + len(nested)


def test_every_module_says_in_one_sentence_what_it_decides():
    """The first line of its docstring, which the page shows."""
    first = {
        str(source.relative_to(PACKAGE)): (ast.get_docstring(ast.parse(source.read_text())) or "").partition("\n")[0]
        for source in PACKAGE.rglob("*.py")
    }
    assert {module: line for module, line in first.items() if not line.endswith(".") or len(line.split()) < 4} == {}
