"""The pytest plugin: a running emulator and a connected session, on the event loop of the test that requests them.

For a test without an event loop, there is an emulator in a thread of its own.

Decides whether pytest-asyncio or anyio provides that loop, and what error a test without a loop gets. Does not know
how either of them runs a test.
"""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, get_args

import pytest

from runflow_async import RunflowSession

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from runflow_async.emulator import Emulator

    Service = tuple[Emulator, RunflowSession]

LoopScope = Literal["function", "class", "module", "package", "session"]

NO_LOOP = (
    "runflow_emulator and runflow_session run on the event loop of the test, and this test has none. In a plain 'def' "
    "test, request runflow_threaded_emulator or runflow_emulator_url instead. For an 'async def' test, "
    "install pytest-asyncio or anyio and mark it @pytest.mark.asyncio or @pytest.mark.anyio."
)
TWO_LOOPS = (
    "runflow_emulator and runflow_session run on the event loop of the test, and both pytest-asyncio and anyio have "
    "one for this test. Use only one of them: remove one of the two marks, or set asyncio_mode = strict."
)
NO_ASYNCIO = (
    "runflow_async needs asyncio, and this test runs on {}. To exclude such runs, define a fixture 'anyio_backend' "
    "that returns 'asyncio'."
)


@pytest.fixture
def runflow_emulator(_runflow_service: Service) -> Emulator:
    """A running `runflow_async.emulator.Emulator` for this test alone, with seed 0. The environment points to it.

    It serves on loopback, on the event loop of the test. The test must be an `async def` under pytest-asyncio, in
    either mode and any loop scope, or under anyio with asyncio. Create batches in the test or in async fixtures.

    Until the end of the test, the environment variables `RUNFLOW_API_KEY` and `RUNFLOW_BASE_URL` are the emulator's,
    and `RUNFLOW_ORGANIZATION_ID` is not set. So a `RunflowSession()` created by the application uses the emulator and
    cannot reach the real key. Values that the application has read earlier, such as on import, do not change. The
    variables are set with `monkeypatch`, so its `undo()` restores them early.
    """
    return _runflow_service[0]


@pytest.fixture
def runflow_session(_runflow_service: Service) -> RunflowSession:
    """A `runflow_async.RunflowSession` connected to `runflow_emulator`, with every other setting at its default.

    It is closed at the end of the test, and a test may close it earlier. See also `runflow_emulator`.
    """
    return _runflow_service[1]


@pytest.fixture
def runflow_threaded_emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """Like `runflow_emulator`, but it serves in a thread of its own, and so also while no event loop runs.

    Request it in a plain `def` test, such as one that uses the test client of Starlette, FastAPI, Flask or Django. You
    can create batches and append faults while requests arrive.
    """
    from runflow_async.emulator import Emulator, in_thread  # noqa: PLC0415  # as in _server

    monkeypatch.delenv("RUNFLOW_ORGANIZATION_ID", raising=False)
    with in_thread(Emulator(seed=0)) as emulator:
        _point_to(emulator, monkeypatch)
        yield emulator


@pytest.fixture
def runflow_emulator_url(runflow_threaded_emulator: Emulator) -> str:
    """The base URL of `runflow_threaded_emulator`, for tests that only have to reach it."""
    return runflow_threaded_emulator.url


def _point_to(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNFLOW_API_KEY", emulator.api_key)
    monkeypatch.setenv("RUNFLOW_BASE_URL", emulator.url)


@pytest.fixture
def _runflow_service(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Service:
    source = _source_for(request)
    monkeypatch.delenv("RUNFLOW_ORGANIZATION_ID", raising=False)
    service: Service = request.getfixturevalue(source)
    _point_to(service[0], monkeypatch)
    return service


def _source_for(request: pytest.FixtureRequest) -> str:
    """Return the name of the fixture that serves on the loop of this test; fail the test if it has no loop."""
    pytest_asyncio = sys.modules.get("pytest_asyncio")
    is_on_asyncio = pytest_asyncio is not None and pytest_asyncio.is_async_test(request.node)
    is_on_anyio = "anyio_backend" in request.fixturenames and _is_coroutine_function(request.function)
    if is_on_asyncio and is_on_anyio:
        # If both are active, anyio may run the other's fixtures.
        pytest.fail(TWO_LOOPS, pytrace=False)
    if is_on_asyncio:
        return _on_asyncio(_loop_scope(request))
    if not is_on_anyio:
        pytest.fail(NO_LOOP, pytrace=False)
    backend: str = request.getfixturevalue("anyio_backend_name")
    if backend != "asyncio":
        pytest.skip(NO_ASYNCIO.format(backend))
    return "_runflow_on_anyio"


def _is_coroutine_function(function: Any) -> bool:
    given = getattr(function, "hypothesis", None)  # Hypothesis wraps a coroutine function in a plain one
    return inspect.iscoroutinefunction(given.inner_test if given else function)


def _loop_scope(request: pytest.FixtureRequest) -> LoopScope:
    marked = request.node.get_closest_marker("asyncio").kwargs
    default: LoopScope = request.config.getini("asyncio_default_test_loop_scope")
    return marked.get("loop_scope") or marked.get("scope") or default


def _on_asyncio(scope: LoopScope) -> str:
    return f"_runflow_on_asyncio_{scope}"


def _server() -> Callable[[], AsyncIterator[Service]]:
    """Return a new function each time, because pytest-asyncio stores the loop scope on it."""

    async def serve() -> AsyncIterator[Service]:
        from runflow_async.emulator import Emulator  # noqa: PLC0415  # a server; most runs load this plugin and need none

        async with (
            Emulator(seed=0) as emulator,
            RunflowSession(emulator.api_key, base_url=emulator.url) as session,
        ):
            yield emulator, session

    return serve


_runflow_on_anyio = pytest.fixture(name="_runflow_on_anyio")(_server())


def pytest_configure(config: pytest.Config) -> None:
    """Register the fixtures that only pytest-asyncio can make, if it is installed."""
    pytest_asyncio = sys.modules.get("pytest_asyncio")
    if pytest_asyncio is not None:
        config.pluginmanager.register(_fixtures_on_asyncio(pytest_asyncio), "runflow_async_on_asyncio")


def _fixtures_on_asyncio(pytest_asyncio: ModuleType) -> ModuleType:
    fixtures = ModuleType("runflow_async_on_asyncio")
    for scope in get_args(LoopScope):
        name = _on_asyncio(scope)
        setattr(fixtures, name, pytest_asyncio.fixture(loop_scope=scope, name=name)(_server()))
    return fixtures
