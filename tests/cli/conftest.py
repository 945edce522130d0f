from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import pytest

from runflow_async import RetryPolicy, RunflowSession
from runflow_async.cli import connecting, main

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def quick_session(*arguments: object, **keywords: object) -> RunflowSession:
    """A session that tries again at once."""
    return RunflowSession(*arguments, retry=RetryPolicy(wait_initial=0.02, wait_max=0.05), **keywords)


class Ran(NamedTuple):
    """What a command left."""

    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def configured(monkeypatch):
    """Commands have a key, and an address where nobody answers."""
    monkeypatch.setenv("RUNFLOW_API_KEY", "rf_test")
    monkeypatch.setenv("RUNFLOW_BASE_URL", "http://127.0.0.1:9")


@pytest.fixture
def emulator(emulator, configured, monkeypatch):
    """Commands find the emulator as a person's shell would have it."""
    monkeypatch.setenv("RUNFLOW_API_KEY", emulator.api_key)
    monkeypatch.setenv("RUNFLOW_BASE_URL", emulator.url)
    return emulator


@pytest.fixture(autouse=True)
def hearing(heard_signals):
    """Commands hear Ctrl-C and SIGHUP."""


@pytest.fixture
def short_grace(monkeypatch):
    """An unknown id counts as such almost at once, not after the seconds that a new batch may take to be known."""
    for module in ("failures", "retries"):
        monkeypatch.setattr(f"runflow_async._waits.{module}.JUST_CREATED_SECONDS", 0.05)


@pytest.fixture
def quick_retries(monkeypatch):
    """Commands try again at once."""
    monkeypatch.setattr(connecting, "RunflowSession", quick_session)


@pytest.fixture
def run(capsys) -> Callable[..., Awaitable[Ran]]:
    """Run the command line in a thread of this process, beside the emulator's loop."""

    async def run_beside(*arguments: object) -> Ran:
        capsys.readouterr()
        status = await asyncio.to_thread(main, [str(argument) for argument in arguments])
        return Ran(status, *capsys.readouterr())

    return run_beside
