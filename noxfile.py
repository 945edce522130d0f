"""The suite where others will run it: on each Python, on uvloop, on the oldest dependencies that are allowed.

Only the quick tests, unless arguments follow: `nox -s tests-3.13 -- tests` runs them all. A Python that is not found is
skipped and said so.
"""

from __future__ import annotations

import os
from pathlib import Path

import nox

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)

nox.options.default_venv_backend = "virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False

# pyenv's shims, which come first, refuse the versions that are not switched on.
BEHIND_SHIMS = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/*/bin")
os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *map(str, BEHIND_SHIMS)])


def run_tests(session: nox.Session, *options: str) -> None:
    """Run the tests; deadlines are tested to 50 ms, so what a busy machine made late is tried once more, alone."""
    command = ("python", "-m", "pytest", "-q", "-o", f"cache_dir={session.create_tmp()}", *options)
    try:
        session.run(*command, "-n", "2", *(session.posargs or ["-m", "not slow"]))
    except nox.command.CommandFailed:
        session.run(*command, "--last-failed", "--last-failed-no-failures", "none")


def lower_bounds() -> list[str]:
    """What the package and its extras ask for at least, as constraints that allow exactly that."""
    extras = PROJECT["project"]["optional-dependencies"]
    asked = [*PROJECT["project"]["dependencies"], *(line for name in ("cli", "plot", "dask") for line in extras[name])]
    return [line.replace(">=", "==") for line in asked]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The suite on one Python."""
    session.install("--editable", ".[test]")
    run_tests(session)


@nox.session
def uvloop(session: nox.Session) -> None:
    """The suite on uvloop's event loop; tests whose time jumps have a loop of their own."""
    session.install("--editable", ".[test]", "uvloop")
    run_tests(session, "-p", "tests.on_uvloop")


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """The suite on the lowest versions that pyproject.toml allows."""
    constraints = Path(session.create_tmp(), "constraints.txt")
    constraints.write_text("\n".join(lower_bounds()))
    session.install("--editable", ".[test]", "--constraint", str(constraints))
    run_tests(session)
