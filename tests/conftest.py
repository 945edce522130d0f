from __future__ import annotations

import asyncio
import copyreg
import gc
import signal
import sys
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aioresponses import aioresponses
from hypothesis import given, settings, strategies

from runflow_async import RunflowError, RunflowSession
from runflow_async.emulator import Emulator
from tests.rig import connections_in_use, given_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

settings.register_profile("fast", max_examples=20)  # chosen by `make test-fast`
asyncio.BaseEventLoop.time = given_time  # type: ignore[method-assign]  # whatever else the machine does


@given(strategies.none())
def _begin_drawing(_: None) -> None: ...


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is loaded by its end stays; looking through it in each of a thousand collections would take a minute."""
    gc.disable()
    try:
        return (yield)
    finally:
        _begin_drawing()  # at its first draw hypothesis asks the collector who holds its random numbers
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """The same goes for what the tests of a module have loaded, and what pytest keeps of them."""
    if nextitem is not None and nextitem.path != item.path:
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def main_threads_loop() -> Iterator[None]:
    """The plugins ask for the main thread's loop before there is one, and leave the one they get unclosed."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture(autouse=True)
def no_configuration_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNFLOW_API_KEY", "RUNFLOW_BASE_URL", "RUNFLOW_ORGANIZATION_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def heard_signals() -> Iterator[None]:
    """Ctrl-C and SIGHUP are heard, also if these tests run in a shell's background or under nohup."""
    defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in defaults.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(seed=1) as emulator:
        yield emulator


@pytest.fixture
async def stepping_emulator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emulator]:
    """Its time goes by a second with each request, so that every poll sees the next step, however busy."""
    async with Emulator(seed=1, clock=lambda: float(len(emulator.requests))) as emulator:
        monkeypatch.setenv("RUNFLOW_API_KEY", emulator.api_key)
        monkeypatch.setenv("RUNFLOW_BASE_URL", emulator.url)
        yield emulator


@pytest.fixture
async def session(emulator: Emulator) -> AsyncIterator[RunflowSession]:
    """A session on the emulator; when the test is over, nothing of it may be left behind."""
    loop = asyncio.get_running_loop()
    reported: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: reported.append(context))
    async with RunflowSession(emulator.api_key, base_url=emulator.url) as session:
        yield session
        assert not connections_in_use(session)
        assert not session._lifetime.entered, "somebody is still in a call"
    gc.collect()
    assert reported == []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Coverage is measured by the quick tests: it would double the time of the others, or spoil what they measure."""
    if not {"slow", "ordinary", "untraced"}.intersection(mark.name for mark in item.iter_markers()):
        return (yield)
    trace = sys.gettrace()
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(trace)


@pytest.fixture(params=["lean", pytest.param("ordinary", marks=pytest.mark.ordinary)])
def both_lanes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session without `http=` sends its requests past aiohttp's client session, or, if it cannot, through one."""
    if request.param == "ordinary":
        monkeypatch.setattr("runflow_async._http.connections.open_lane", lambda *_: None)


@pytest.fixture(scope="session")
def now_utc() -> datetime:
    """An instant for what is observed at some time."""
    return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def own_pickling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it is imported, distributed has every exception pickled with all its causes and contexts."""
    for kind in [kind for kind in copyreg.dispatch_table if issubclass(kind, RunflowError)]:
        monkeypatch.delitem(copyreg.dispatch_table, kind)


class MockedResponse(aiohttp.ClientResponse):
    """aioresponses 0.7.9 leaves out the `stream_writer` that aiohttp 3.14 asks for; drop this once it does not."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        keywords.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **keywords)


@pytest.fixture
def mocked_http() -> Iterator[aioresponses]:
    """aioresponses, made to work with this aiohttp."""
    with aioresponses() as mocked:
        mocked.get = partial(mocked.get, response_class=MockedResponse)
        yield mocked


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Subprocesses run without coverage, which would make them half as slow again."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
