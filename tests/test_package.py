"""What holds for the package as a whole: its version, and what importing it costs."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import runflow_async

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OPTIONAL = {
    "asgi",
    "blocking",
    "callbacks",
    "checkpoints",
    "cli",
    "demo",
    "distributed",
    "emulator",
    "otel",
    "progress",
    "pytest_plugin",
    "sse",
}
"""Modules that are imported only by those who name them."""
HEAVY = {
    "aiohttp.web",
    "anyio",
    "argparse",
    "click",
    "dask",
    "distributed",
    "matplotlib",
    "opentelemetry",
    "pydantic",
    "pytest",
    "rich",
    "sqlite3",
}

CLIENTS = [
    *ROOT.glob("runflow_async/cli/**/*.py"),
    ROOT / "runflow_async/demo.py",
    ROOT / "runflow_async/pytest_plugin.py",
]
"""They use the package as any program may."""
SHARED = {"_startup", "_text", "_version"}
"""Private modules that even they use."""
LATE_IMPORTS = {
    "_bars.py": ["rich.console", "rich.progress"],  # an extra, and heavy
    "_model.py": ["pydantic_core"],  # for those who have it
    "cli/commands.py": ["runflow_async.cli.timeline"],  # an extra of its own
    "pytest_plugin.py": ["runflow_async.emulator"],  # a server; most runs load the plugin and need none
}
"""What is imported inside of a function."""


def imports_in(tree: ast.AST) -> list[tuple[str, str | None]]:
    """Modules with the names taken from them; no name if the whole module is."""
    found: list[tuple[str, str | None]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
    return found


def modules_after(program: str) -> set[str]:
    """The modules that are new in a fresh interpreter once `import runflow_async` comes after the program."""
    code = f"""
import json, sys
{program}
before = set(sys.modules)
import runflow_async
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    command = [sys.executable, "-c", code]
    return set(json.loads(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout))


def test_the_version_is_the_changelogs_first():
    first = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert runflow_async.__version__ == first[1]


@pytest.mark.slow
def test_importing_brings_in_nothing_beside_three_libraries_and_pythons_own():
    """This is what keeps the import short; `python -m benchmarks.imports` measures it."""
    roots = {name.partition(".")[0] for name in modules_after("import aiohttp, msgspec, tenacity")}
    assert roots - sys.stdlib_module_names == {"runflow_async"}


@pytest.mark.slow
def test_importing_brings_in_nothing_heavy():
    assert modules_after("") & HEAVY == set()


@pytest.mark.slow
def test_importing_brings_in_no_module_of_ours_that_has_to_be_asked_for():
    ours = {name.split(".")[1] for name in modules_after("") if name.startswith("runflow_async.")}
    assert ours & OPTIONAL == set()
    assert "session" in ours


def test_the_command_line_the_demo_and_the_plugin_use_public_names_also_for_their_types():
    private = []
    for source in CLIENTS:
        for module, name in imports_in(ast.parse(source.read_text())):
            parts = module.split(".")
            if parts[0] != "runflow_async" or module.startswith("runflow_async.cli") or parts[-1] in SHARED:
                continue
            public = not any(part.startswith("_") for part in parts)
            offered = importlib.import_module(module) if public else None
            if name.startswith("_") or name not in getattr(offered, "__all__", vars(offered) if offered else ()):
                private.append((source.name, module, name))
    assert private == []


def test_only_what_most_do_not_need_is_imported_inside_of_a_function():
    """A circle of modules could hide there."""
    late = {}
    for source in (ROOT / "runflow_async").rglob("*.py"):
        functions = [
            node
            for node in ast.walk(ast.parse(source.read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        if modules := sorted({module for function in functions for module, _ in imports_in(function)}):
            late[str(source.relative_to(ROOT / "runflow_async"))] = modules
    assert late == LATE_IMPORTS


def test_only_what_users_can_use_is_an_extra():
    """The tests are in the sdist, and whoever packs it runs them."""
    assert PROJECT["optional-dependencies"].keys() == {"cli", "plot", "dask", "otel", "progress", "test"}


def test_the_compatibility_policy_names_the_pythons_that_are_tested():
    minors = re.findall(r"Python :: 3\.(\d+)", " ".join(PROJECT["classifiers"]))
    assert (
        f"CPython 3.{minors[0]} to 3.{minors[-1]} are tested"
        in (ROOT / "docs" / "reference" / "compatibility.md").read_text()
    )
    assert PROJECT["requires-python"] == f">=3.{minors[0]}"


def test_no_workflow_runs_an_action_that_can_be_changed_under_its_name():
    workflows = "".join(path.read_text() for path in (ROOT / ".github" / "workflows").iterdir())
    used = re.findall(r"uses: \S+@(\S+)", workflows)
    assert used
    assert [pin for pin in used if not re.fullmatch(r"[0-9a-f]{40}", pin)] == []
