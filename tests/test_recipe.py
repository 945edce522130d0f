"""The conda recipe says what pyproject.toml says."""

from __future__ import annotations

import tomllib
from pathlib import Path

import jinja2
import yaml

import runflow_async

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
TEMPLATE = jinja2.Template((ROOT / "recipe" / "meta.yaml").read_text(), undefined=jinja2.StrictUndefined)
RECIPE = yaml.safe_load(TEMPLATE.render(PYTHON="python"))
CONDA_NAMES = {"matplotlib": "matplotlib-base"}
"""Where conda-forge has a name of its own, for the package without a GUI."""


def in_conda(requirements: list[str]) -> set[str]:
    """The requirements as conda spells them: `NAME >=BOUND`."""
    parts = [requirement.partition(">=") for requirement in requirements]
    return {f"{CONDA_NAMES.get(name, name)} >={bound}" for name, _, bound in parts}


def test_the_recipe_builds_this_version_under_its_name():
    assert RECIPE["package"] == {"name": PROJECT["name"], "version": runflow_async.__version__}
    scripts = [f"{name} = {target}" for name, target in PROJECT["scripts"].items()]
    assert RECIPE["build"]["entry_points"] == scripts
    assert RECIPE["about"]["license"] == PROJECT["license"]
    assert RECIPE["about"]["summary"] == PROJECT["description"]


def test_the_recipe_needs_what_the_wheel_needs():
    needs = RECIPE["requirements"]
    python = PROJECT["requires-python"]
    assert set(needs["run"]) == {f"python {python}"} | in_conda(PROJECT["dependencies"])
    built_with = in_conda(PYPROJECT["build-system"]["requires"])
    assert set(needs["host"]) == {f"python {python.removeprefix('>=')}", "pip"} | built_with


def test_the_recipe_has_the_bounds_of_every_extra_but_the_tests():
    extras = [line for name, lines in PROJECT["optional-dependencies"].items() if name != "test" for line in lines]
    assert set(RECIPE["requirements"]["run_constrained"]) == in_conda(extras)
