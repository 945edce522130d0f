"""constraints.txt pins what the Makefile installs, within the bounds of pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, GROUPS = PYPROJECT["project"], PYPROJECT["dependency-groups"]
PINS = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines()]
PYTHONS = [f"3.{minor}" for minor in re.findall(r":: 3\.(\d+)'", str(PROJECT["classifiers"]))]


def requirements(lines: list[str]) -> Iterator[Requirement]:
    """What the lines ask for, with the package's extras, but without the package."""
    for requirement in map(Requirement, lines):
        if requirement.name != PROJECT["name"]:
            yield requirement
        for extra in requirement.extras if requirement.name == PROJECT["name"] else ():
            yield from requirements(PROJECT["optional-dependencies"][extra])


def holds(requirement: Requirement, environment: dict[str, str]) -> bool:
    """Whether the requirement's marker, if it has one, is true there."""
    return requirement.marker is None or requirement.marker.evaluate(environment)


@pytest.mark.parametrize("python", PYTHONS)
def test_each_development_tool_is_pinned_once_within_its_bounds(python):
    """If this fails after a change of pyproject.toml, run `make lock`."""
    environment = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux"}
    pins = [pin for pin in PINS if holds(pin, environment)]
    pinned = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    assert len(pinned) == len(pins)
    asked = [*PROJECT["dependencies"], *PYPROJECT["build-system"]["requires"]]
    asked += [line for name, group in GROUPS.items() if not name.startswith("recipe-") for line in group]
    wanted = [requirement for requirement in requirements(asked) if holds(requirement, environment)]
    missing = [wish.name for wish in wanted if canonicalize_name(wish.name) not in pinned]
    assert missing == []
    outside = [str(wish) for wish in wanted if pinned[canonicalize_name(wish.name)] not in wish.specifier]
    assert outside == []


def test_make_locks_every_group_but_those_that_have_an_environment_of_their_own():
    (locked,) = re.findall(r"\$\(foreach group,([a-z ]+),", (ROOT / "Makefile").read_text())
    assert locked.split() == sorted(name for name in GROUPS if not name.startswith("recipe-"))
