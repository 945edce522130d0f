from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

RECIPES = Path(__file__).parent.parent.parent / "examples" / "recipes"


@pytest.fixture(autouse=True)
def environment(emulator, monkeypatch, tmp_path) -> None:
    """A recipe is configured by the environment alone."""
    monkeypatch.setenv("RUNFLOW_API_KEY", emulator.api_key)
    monkeypatch.setenv("RUNFLOW_BASE_URL", emulator.url)
    monkeypatch.setenv("RUNFLOW_CHECKPOINTS", str(tmp_path / "taken.db"))


@pytest.fixture
def recipe(monkeypatch) -> Callable[[str], ModuleType]:
    """Import a recipe, which finds those beside it, anew for each test."""
    monkeypatch.syspath_prepend(RECIPES)

    def load(name: str) -> ModuleType:
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return load


class Process:
    """A program in an interpreter of its own; its printed lines are read as they come."""

    def __init__(self, *arguments: object, **environment: str) -> None:
        self._command = [sys.executable, "-u", *map(str, arguments)]
        path = os.pathsep.join([str(RECIPES), str(RECIPES.parent.parent)])
        self._environment = os.environ | {"PYTHONPATH": path} | environment
        self.lines: list[str] = []

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, env=self._environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def _read(self) -> None:
        async for line in self._process.stdout:
            self.lines.append(line.decode().rstrip())

    async def until_printed(self, text: str, times: int = 1) -> None:
        async with asyncio.timeout(60):
            while sum(text in line for line in self.lines) < times:
                assert not self._reading.done(), self.lines
                await asyncio.sleep(0.01)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)

    async def ended(self) -> int:
        async with asyncio.timeout(60):
            status = await self._process.wait()
            await self._reading
        return status

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self.kill()
        await self.ended()


@pytest.fixture
def process(unmeasured) -> type[Process]:
    return Process
