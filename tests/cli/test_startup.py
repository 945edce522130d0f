"""Signals that come while the command line is still being imported, and those that come as it runs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from runflow_async._startup import is_command
from tests.cli.terminal import COMMAND

PIPE = asyncio.subprocess.PIPE
INTERRUPTER = """
import os, sys

class Interrupter:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["INTERRUPTED_IMPORT"]:
            os.kill(os.getpid(), int(os.environ["INTERRUPTION"]))

sys.meta_path.insert(0, Interrupter())
"""
"""A `sitecustomize` that has the process send a signal to itself as it imports a module."""
SCRIPT = "import sys\nfrom runflow_async.cli import main\nsys.exit(main())\n"


async def interrupted(folder, command: list[str], number: int, module: str) -> tuple[int, bytes, bytes]:
    """How the command ends that gets a signal as it imports the module, and what it prints."""
    (folder / "sitecustomize.py").write_text(INTERRUPTER)
    paths = os.pathsep.join([str(folder), *filter(None, sys.path)])
    environment = os.environ | {
        "PYTHONPATH": paths,
        "INTERRUPTED_IMPORT": module,
        "INTERRUPTION": str(int(number)),
    }
    process = await asyncio.create_subprocess_exec(*command, "--help", env=environment, stdout=PIPE, stderr=PIPE)
    out, errors = await process.communicate()
    return process.returncode, out, errors


@pytest.mark.parametrize(
    ("number", "module", "status"),
    [(signal.SIGINT, "aiohttp", 130), (signal.SIGINT, "rich.console", 130), (signal.SIGTERM, "aiohttp", 143)],
)
async def test_a_signal_during_the_imports_ends_the_command_silently(tmp_path, number, module, status):
    assert await interrupted(tmp_path, list(COMMAND), number, module) == (status, b"", b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
async def test_a_signal_during_the_imports_ends_the_installed_script_silently(tmp_path, number):
    script = tmp_path / "runflow-async"
    script.write_text(SCRIPT)
    ended = await interrupted(tmp_path, [sys.executable, str(script)], number, "aiohttp")
    assert ended == (128 + number, b"", b"")


async def test_another_program_that_imports_the_package_keeps_its_interrupts(tmp_path):
    status, _, errors = await interrupted(
        tmp_path, [sys.executable, "-c", "import runflow_async"], signal.SIGINT, "aiohttp"
    )
    assert status == -signal.SIGINT
    assert errors.rstrip().endswith(b"KeyboardInterrupt")


@pytest.mark.parametrize(
    ("argv", "original", "expected"),
    [
        (["-m"], ["python", "-X", "dev", "-m", "runflow_async", "get"], True),
        (["-m"], ["python", "-mrunflow_async"], True),
        (["/usr/bin/runflow-async", "get"], ["python", "/usr/bin/runflow-async", "get"], True),
        (["runflow-async.exe"], ["runflow-async.exe"], True),
        (["-m"], ["python", "-m", "pytest", "runflow_async"], False),
        (["service.py", "runflow-async"], ["python", "service.py", "runflow-async"], False),
        ([""], ["python"], False),
        ([], ["program"], False),
    ],
)
def test_the_command_line_is_distinguished_from_other_programs(argv, original, expected):
    assert is_command(argv, original) is expected
