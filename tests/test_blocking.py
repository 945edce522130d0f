"""The session without asyncio: what it shares with the asynchronous one, and what its threads must not do."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import signal
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from types import FunctionType
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

import runflow_async
from runflow_async import (
    CheckpointError,
    ConfigurationError,
    SessionClosedError,
    StalledError,
    WaitTimeoutError,
    blocking,
    checkpoints,
)
from runflow_async._portal import Portal
from runflow_async.emulator import Emulator
from runflow_async.observers import TransitionDelivered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runflow_async.observers import Event

ENDS = [(0.0, "queued"), (0.05, "running"), (0.1, "succeeded")]
RUNS = [(0.0, "running")]
PATIENCE = 20


class ThreadedEmulator:
    """An emulator on a loop of its own."""

    def __init__(self) -> None:
        self.portal = Portal()
        self.emulator = self.portal.call(lambda: Emulator(seed=1))
        self.portal.run(self.emulator.start)

    def script(self, *timelines: list[tuple[float, str]]) -> UUID:
        return self.portal.call(self.emulator.create_scripted_batch, timelines)


@pytest.fixture
def server() -> Iterator[ThreadedEmulator]:
    server = ThreadedEmulator()
    yield server
    server.portal.close(server.emulator.close)


def open_on(server: ThreadedEmulator) -> blocking.RunflowSession:
    return blocking.RunflowSession(server.emulator.api_key, base_url=server.emulator.url)


@pytest.fixture
def session(server: ThreadedEmulator) -> Iterator[blocking.RunflowSession]:
    with open_on(server) as session:
        yield session


NO_PART_OF_IT = {"send", "throw", "__name__"}  # of a coroutine
PAIRS = [
    (getattr(blocking, name), getattr(checkpoints if name == "SQLiteCheckpoints" else runflow_async, name))
    for name in blocking.__all__
]


def public(cls: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("runflow_async"):
            found |= {name: value for name, value in vars(base).items() if not name.startswith("_")}
    return found


@pytest.mark.parametrize(("face", "asynchronous"), PAIRS, ids=blocking.__all__)
def test_every_public_name_has_its_counterpart_with_the_same_signature(face, asynchronous):
    mine, theirs = public(face), public(asynchronous)
    if "aclose" in theirs:
        theirs["close"] = theirs.pop("aclose")
    expected = theirs.keys() - NO_PART_OF_IT
    attributes = {"ended"} if face is blocking.BatchesWait else set()
    awaited = {"result"} if face is blocking.BatchesWait else set()
    assert mine.keys() == expected | attributes | awaited
    for own in expected:
        assert type(mine[own]) is type(theirs[own]), own
        assert mine[own].__doc__, own
        if isinstance(mine[own], FunctionType):
            assert not inspect.iscoroutinefunction(mine[own])
            assert spelled(mine[own]) == spelled(theirs[own])


def spelled(function: FunctionType) -> str:
    answer = str(inspect.signature(function)).replace("Completions[Wait]", "Iterator[BatchWait]")
    return answer.replace("AsyncIterator", "Iterator")


def test_the_constructor_takes_the_same_keywords():
    mine, theirs = (
        dict(inspect.signature(cls).parameters) for cls in (blocking.RunflowSession, runflow_async.RunflowSession)
    )
    assert mine.pop("http").annotation == "Callable[[], aiohttp.ClientSession] | None"
    theirs.pop("http")
    assert mine == theirs


def keywords_of(function: Any) -> list[str]:
    return [one.name for one in inspect.signature(function).parameters.values() if one.kind is one.KEYWORD_ONLY]


@pytest.mark.parametrize("keyword", sorted({"api_key", *keywords_of(blocking.RunflowSession)} - {"http"}))
def test_the_constructor_hands_every_argument_on(keyword):
    with pytest.raises(ConfigurationError, match=keyword):
        blocking.RunflowSession(**{"api_key": "key", keyword: object()})


@pytest.mark.parametrize("method", ["wait_for_batch", "wait_for_batches", "iter_results"])
def test_a_wait_hands_every_keyword_on(session, method):
    wait_for = getattr(session, method)
    asked = UUID(int=1) if method == "wait_for_batch" else [UUID(int=1)]
    for keyword in keywords_of(wait_for):
        with pytest.raises(ConfigurationError, match=keyword):
            wait_for(asked, **{keyword: object()})


def test_observers_get_the_events_on_the_thread_of_the_loop(server):
    events: list[tuple[threading.Thread, Event]] = []

    def observe(event: Event) -> None:
        events.append((threading.current_thread(), event))

    with blocking.RunflowSession(server.emulator.api_key, base_url=server.emulator.url, observers=[observe]) as session:
        seen = list(session.wait_for_batch(server.script(ENDS), interval=0.01))
    assert [event.transition for _, event in events if isinstance(event, TransitionDelivered)] == seen
    (thread,) = {thread for thread, _ in events}
    assert thread is not threading.current_thread()


def test_a_stall_ends_a_wait_if_asked_to(server, session):
    wait = session.wait_for_batch(server.script(RUNS), interval=0.01, stalled_after=0.05, end_when_stalled=True)
    with pytest.raises(StalledError):
        wait.result()


def test_the_end_is_estimated_once_an_item_was_seen_to_end(server, session):
    wait = session.wait_for_batch(server.script(ENDS, RUNS), interval=0.01)
    assert wait.estimate() is None
    next(transition for transition in wait if transition.is_terminal)
    estimate = wait.estimate()
    assert estimate.unchanged_since <= estimate.ends_at
    waits = session.wait_for_batches([server.script(ENDS, RUNS)], interval=0.01)
    next(transition for transition in waits if transition.is_terminal)
    estimate = waits.estimate()
    assert estimate.unchanged_since <= estimate.ends_at
    session.close()
    assert wait.estimate() is None  # nothing polls any more


def test_a_wait_returns_the_batch_or_yields_its_transitions(server, session):
    batch_id = server.script(ENDS, ENDS)
    seen = [transition.item.status_code for transition in session.wait_for_batch(batch_id, interval=0.01)]
    assert seen.count("succeeded") == 2
    assert session.wait_for_batch(batch_id).result().status_code == "succeeded"
    assert session.get_batch(batch_id).is_terminal
    assert len(list(session.iter_batch_items(batch_id))) == 2


def test_many_waits_are_iterated_completed_and_awaited(server, session):
    ids = [server.script(ENDS), server.script(ENDS)]
    waits = session.wait_for_batches(ids, interval=0.01)
    ended = list(waits.as_completed())
    assert {wait.batch_id for wait in ended} == set(ids)
    assert [batch.id for batch in waits.result()] == ids
    assert all(waits.waits[wait.batch_id] is wait for wait in waits.ended)
    assert {item.batch_id for item in session.iter_results(ids)} == set(ids)


def test_leaving_a_loop_keeps_what_is_pending(server, session):
    with session.wait_for_batch(server.script(ENDS, ENDS), interval=0.01) as wait:
        first = next(wait)
        rest = [*wait]
        assert wait.stats.transitions == 1 + len(rest)
        assert first not in rest


def test_a_timeout_ends_it_as_the_asynchronous_one(server, session):
    with pytest.raises(WaitTimeoutError) as caught:
        session.wait_for_batch(server.script(RUNS), timeout=0).result()
    assert any(frame.filename == __file__ for frame in traceback.extract_tb(caught.value.__traceback__))


async def test_it_works_in_a_running_loop():
    server = ThreadedEmulator()
    with open_on(server) as session:
        assert session.wait_for_batch(server.script(ENDS), interval=0.01).result().is_terminal
    server.portal.close(server.emulator.close)
    assert asyncio.get_running_loop().is_running()


def test_threads_wait_at_the_same_time_and_not_in_one_wait(server, session):
    entered = threading.Event()
    wait = session.wait_for_batch(server.script(RUNS), until=lambda _: entered.set())
    with ThreadPoolExecutor(3) as pool:
        waiting = pool.submit(wait.result)
        assert entered.wait(PATIENCE)
        others = [pool.submit(session.wait_for_batch(server.script(ENDS), interval=0.01).result) for _ in range(2)]
        assert all(other.result(PATIENCE).is_terminal for other in others)
        with pytest.raises(RuntimeError, match="at the same time"):
            next(wait)
        session.close()
        with pytest.raises(SessionClosedError):
            waiting.result(PATIENCE)


def test_a_call_from_its_own_thread_raises_instead_of_a_deadlock(server, session):
    batch_id = server.script(RUNS)
    with pytest.raises(RuntimeError, match="its own event loop"):
        session.wait_for_batch(batch_id, until=lambda _: session.get_batch(batch_id).is_terminal).result()


def test_stop_iteration_of_a_callback_ends_no_loop(server, session):
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(session.wait_for_batch(server.script(RUNS), until=lambda _: next(iter(()))))


def test_context_variables_reach_the_callbacks(server, session):
    variable = ContextVar("variable", default="none")
    seen: list[str] = []
    wait = session.wait_for_batch(server.script(RUNS), until=lambda _: not seen.append(variable.get()))
    variable.set("mine")
    wait.result()
    assert seen == ["mine"]


def test_a_closed_session_leaves_no_thread_and_raises(server):
    before = set(threading.enumerate())
    with open_on(server) as session:
        wait = session.wait_for_batch(server.script(ENDS), interval=0.01)
        batch = wait.result()
        assert set(threading.enumerate()) > before
    assert set(threading.enumerate()) == before
    assert wait.result() == batch
    session.close()
    with pytest.raises(SessionClosedError):
        session.get_batch(UUID(int=1))


def test_a_forgotten_session_warns_and_its_thread_ends(server):
    before = set(threading.enumerate())
    session = open_on(server)
    session.nudge(UUID(int=1))
    (thread,) = set(threading.enumerate()) - before
    held = [session]
    del session
    with pytest.warns(ResourceWarning, match="never closed"):
        held.clear()
    gc.collect()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_checkpoints_resume_where_the_consumer_stopped(server, session, tmp_path):
    batch_id = server.script(ENDS, ENDS)
    session.wait_for_batch(batch_id, interval=0.01).result()
    with blocking.SQLiteCheckpoints(tmp_path / "seen") as checkpoint:
        wait = session.wait_for_batch(batch_id, checkpoint=checkpoint)
        first, second = next(wait), next(wait)  # the first is recorded when the second is taken
        assert first != second
    with blocking.SQLiteCheckpoints(tmp_path / "seen") as checkpoint:
        assert next(session.wait_for_batch(batch_id, checkpoint=checkpoint)).item.id == second.item.id


def test_a_checkpoint_file_is_used_without_await(server, session, tmp_path):
    with blocking.SQLiteCheckpoints(tmp_path / "seen") as kept:
        wait = session.wait_for_batch(server.script(ENDS), interval=0.01)
        assert kept.load(wait.batch_id) is None
        for transition in wait:
            kept.record(transition)
        kept.flush()
        assert kept.load(wait.batch_id).items[0].status_code == "succeeded"
        kept.forget(wait.batch_id)
        assert kept.load(wait.batch_id) is None
        kept.check_open()
    with pytest.raises(CheckpointError, match="is not open"):
        kept.flush()


def test_created_batches_take_a_checkpoint(server, session, tmp_path):
    server.portal.call(lambda: server.emulator.script_next([ENDS]))
    with blocking.SQLiteCheckpoints(tmp_path / "seen") as kept:
        wait = session.create_batch("owner/slug", [{}], interval=0.01, checkpoint=kept)
        wait.result()
        assert kept.load(wait.batch_id).items[0].status_code == "succeeded"


def test_either_file_fits_and_an_asynchronous_session_says_that_this_one_does_not(session, tmp_path):
    with blocking.SQLiteCheckpoints(tmp_path / "seen") as kept:
        for fitting in (kept, kept.asynchronous):
            session.wait_for_batch(UUID(int=1), checkpoint=fitting).close()
        with pytest.raises(ConfigurationError, match="load must be an `async def`"):
            session._session.wait_for_batch(UUID(int=1), checkpoint=kept)


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")
@pytest.mark.usefixtures("heard_signals")
def test_ctrl_c_wakes_the_main_thread_and_cancels_the_request(server, session):
    batch_id = server.script(RUNS)
    threads = []

    def interrupt(_: object) -> bool:
        threads.append(threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)))
        threads[-1].start()
        return False

    wait = session.wait_for_batch(batch_id, interval=3600, until=interrupt)
    with pytest.raises(KeyboardInterrupt):
        wait.result()
    assert not session._session._lifetime.entered
    threads[0].join()
    assert not wait.done()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_told_what_to_do(server, session):
    session.nudge(UUID(int=1))
    child = os.fork()
    if child == 0:
        try:
            session.get_batch(UUID(int=1))
        except RuntimeError as error:
            os._exit(7 if "after the fork" in str(error) else 8)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_session_that_was_not_used_before_the_fork_works_in_the_child(server):
    session = open_on(server)
    batch_id = server.script(ENDS)
    child = os.fork()
    if child == 0:
        os._exit(7 if session.get_batch(batch_id).id == batch_id else 8)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    session.close()


@pytest.mark.slow
def test_importing_the_package_does_not_import_it_and_exit_does_not_hang():
    program = (
        "import sys, uuid, runflow_async; assert 'runflow_async.blocking' not in sys.modules\n"
        "from runflow_async.blocking import RunflowSession\n"
        "session = RunflowSession('key'); session.nudge(uuid.uuid4())"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.slow
def test_a_notebook_shows_a_wait_as_it_shows_the_asynchronous_one(
    server: ThreadedEmulator, session: blocking.RunflowSession
) -> None:
    batch_id = server.script(ENDS)
    with session.wait_for_batch(batch_id) as wait, session.wait_for_batches([batch_id]) as waits:
        wait.result()
        waits.result()
        for shown in (wait._repr_html_(), waits._repr_html_()):
            assert shown.startswith("<table>")
            assert str(batch_id) in shown
