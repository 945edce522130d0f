from __future__ import annotations

from pathlib import Path

from tests.recipes.conftest import RECIPES


def test_each_recipe_has_its_test():
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [path.stem for path in RECIPES.rglob("*.py") if path.stem not in tests and path.name != "__init__.py"] == []
