"""The suite where others will run it: on other Pythons, on uvloop, on the oldest dependencies; and what is published.

Only the quick tests run, unless arguments follow: `nox -s tests-3.13 -- tests` runs them all. A Python that is not
found is skipped, and said so.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import nox

PROJECT = nox.project.load_toml("pyproject.toml")
TEST_GROUP = nox.project.dependency_groups(PROJECT, "test")
EXTRAS = sorted(PROJECT["project"]["optional-dependencies"].keys() - {"test"})
PYTHONS = nox.project.python_versions(PROJECT)
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
NOT_IN_SDIST = {".ci/run"}
PYRIGHT = {
    name: PROJECT["tool"]["pyright"][name]
    for name in ("typeCheckingMode", "enableTypeIgnoreComments", "reportUnnecessaryTypeIgnoreComment")
}
LARGEST_WHEEL = 400_000
"""In bytes. Three quarters of it are modules of 1 to 4 kB each, compressed one by one."""
PLUGIN_TEST = """
async def test_it(runflow_emulator, runflow_session):
    batch_id = runflow_emulator.create_batch(items=1, duration=0.1)
    batch = await runflow_session.wait_for_batch(batch_id)
    assert batch.status_code == "succeeded"
"""
FIRST_PROGRAM = """
import asyncio, os, sys
from runflow_async.emulator import Emulator

async def main():
    async with Emulator() as emulator:
        batch_id = emulator.create_batch(items=3, duration=0.5)
        environment = {**os.environ, "RUNFLOW_API_KEY": emulator.api_key, "RUNFLOW_BASE_URL": emulator.url}
        command = (sys.executable, "await_one.py", str(batch_id))
        program = await asyncio.create_subprocess_exec(*command, env=environment)
        return await program.wait()

sys.exit(asyncio.run(main()))
"""

nox.options.default_venv_backend = "uv|virtualenv"  # uv installs in seconds what takes pip a minute
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False

# nox looks on PATH alone, and pyenv's shims, which come first there, refuse the versions that are not switched on.
BEHIND_SHIMS = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/*/bin")
os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *map(str, BEHIND_SHIMS)])


def run_tests(session: nox.Session, *options: str, select: str = "not slow and not ordinary") -> None:
    """Run the quick tests, or what was asked for."""
    command = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", *options)
    session.run(*command, *(session.posargs or ["-m", select]))


def install_with_tests(session: nox.Session, *options: str) -> None:
    """Install the checkout and what its tests need."""
    session.install("--editable", ".", *TEST_GROUP, *options)


def lower_bounds() -> list[str]:
    """The lowest versions that the package, its extras and its tests allow, as constraints."""
    project = PROJECT["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values(), TEST_GROUP]
    return [line.replace(">=", "==") for group in groups for line in group if ">=" in line]


@nox.session(python=[version for version in PYTHONS if version != HERE])
def tests(session: nox.Session) -> None:
    """The suite on another Python than this one, on which `make test` runs it."""
    install_with_tests(session)
    run_tests(session)


@nox.session
def uvloop(session: nox.Session) -> None:
    """The suite on uvloop's event loop; tests whose time jumps have a loop of their own."""
    install_with_tests(session, "uvloop")
    run_tests(session, "-p", "tests.on_uvloop")


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """The suite on the lowest versions that pyproject.toml allows."""
    constraints = Path(session.virtualenv.location, "constraints.txt")
    constraints.write_text("\n".join(lower_bounds()))
    install_with_tests(session, "--constraint", str(constraints))
    run_tests(session, select="not slow")


@nox.session(default=False, venv_backend="none")
def sdist(session: nox.Session) -> None:
    """The sdist holds what git has, and its tests of the package pass where it is unpacked."""
    (packed,) = Path("dist").glob("*.tar.gz")
    listing = session.run("git", "ls-files", "--cached", "--others", "--exclude-standard", silent=True)
    kept = set(str(listing).split()) - NOT_IN_SDIST
    with tempfile.TemporaryDirectory() as folder, tarfile.open(packed) as archive:
        packed_files = {name.partition("/")[2] for name in archive.getnames()} - {"PKG-INFO"}
        if packed_files != kept:
            session.error(f"{packed} and git differ in {sorted(packed_files ^ kept)}")
        archive.extractall(folder, filter="data")
        with session.chdir(Path(folder, packed.name.removesuffix(".tar.gz"))):
            tests = ["tests/test_package.py", "tests/test_public_api.py"]
            session.run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)


@nox.session(default=False, python=PYTHONS, venv_backend="virtualenv")  # with pip, as most users install it
def wheel(session: nox.Session) -> None:
    """The wheel where nothing of the checkout is: run and tested with on each Python, type-checked on the oldest."""
    (built,) = Path("dist").resolve().glob("*.whl")
    if (size := built.stat().st_size) > LARGEST_WHEEL:
        session.error(f"{built.name} has {size:,} bytes; find out why, and raise LARGEST_WHEEL if it is worth it")
    copies = [Path("examples/await_one.py"), Path("tests/typing/api.py")]
    with tempfile.TemporaryDirectory() as outside:
        for copy in copies:
            shutil.copy(copy, outside)
        with session.chdir(outside):
            session.install(str(built))
            session.run("python", "-c", "import runflow_async")
            answer = session.run("runflow-async", "get", "a-batch", success_codes=[2], silent=True)
            if answer is None or "pip install" not in answer:
                session.error(f"without its extra the command line does not say what to install, but {answer!r}")
            session.run("python", "-c", FIRST_PROGRAM)
            session.install(f"{built}[cli]")
            session.run("runflow-async", "--help", silent=True)
            session.install("pytest", "pytest-asyncio")
            Path("test_it.py").write_text(PLUGIN_TEST)
            session.run("python", "-m", "pytest", "-q", "-o", "asyncio_mode=auto")
            if session.python == PYTHONS[0]:
                session.run("runflow-async", "demo")
                check_types(session, built)


def check_types(session: nox.Session, built: Path) -> None:
    """The installed wheel offers the types that tests/typing/api.py expects of the checkout."""
    session.install(f"{built}[cli,dask,otel]")
    Path("pyrightconfig.json").write_text(json.dumps({"include": ["api.py"], **PYRIGHT}))
    python = f"{session.bin}/python"
    session.run(sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "api.py", external=True)
    session.run(sys.executable, "-m", "pyright", "--pythonpath", python, external=True)


@nox.session(default=False)
def sbom(session: nox.Session) -> None:
    """What the wheel and all its extras install, as a CycloneDX bill of materials in sbom/."""
    (built,) = Path("dist").resolve().glob("*.whl")
    session.install(f"{built}[{','.join(EXTRAS)}]")
    version = built.name.split("-")[1]
    file = Path("sbom", f"runflow_async-{version}.cdx.json")
    file.parent.mkdir(exist_ok=True)
    options = ("--pyproject", "pyproject.toml", "--mc-type", "library", "--output-reproducible")
    command = (sys.executable, "-m", "cyclonedx_py", "environment", *options, "--output-file", str(file))
    session.run(*command, f"{session.bin}/python", external=True)
    bill = json.loads(file.read_text())
    bill["metadata"]["component"] |= {"version": version, "purl": f"pkg:pypi/runflow-async@{version}"}
    keep_what_is_needed(bill)
    file.write_text(json.dumps(bill, indent=2))
    session.log(f"{file} lists {', '.join(part['name'] for part in bill['components'])}")


def keep_what_is_needed(bill: dict[str, Any]) -> None:
    """Leave out of a bill of materials what only the environment brings, such as pip, and what only tests ask for."""
    project = PROJECT["project"]
    lines = [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]
    ours = {line.partition(">=")[0] for line in lines}
    seeds = ("pip==", "setuptools==")  # some name them in extras, which count because they are installed
    needs = {
        entry["ref"]: [ref for ref in entry.get("dependsOn", []) if not ref.startswith(seeds)]
        for entry in bill["dependencies"]
    }
    root = bill["metadata"]["component"]["bom-ref"]
    needs[root] = [ref for ref in needs[root] if ref.partition("==")[0] in ours]
    wanted = [root]
    for ref in wanted:  # grows meanwhile
        wanted += [other for other in needs[ref] if other not in wanted]
    bill["components"] = [part for part in bill["components"] if part["bom-ref"] in wanted]
    bill["dependencies"] = [{"ref": ref, "dependsOn": needs[ref]} for ref in sorted(wanted)]
