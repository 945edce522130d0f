"""Section E of the fault matrix: cancellation, closing, and many tasks on one session."""

from __future__ import annotations

import asyncio
import gc
import sys
import textwrap
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID, uuid4

import aiohttp
import anyio
import pytest

from runflow_async import (
    AuthenticationError,
    BatchFailedError,
    NotFoundError,
    RetryPolicy,
    RunflowSession,
    SessionClosedError,
    WaitClosedError,
    WaitTimeoutError,
)
from tests.faults.tables import BATCH_ID, GOOD, QUICK, RUNNING
from tests.faults.test_time import PLACES, Place, finish, now, open_session, rows, stuck_in, timed_server
from tests.rig import (
    Certificates,
    Cut,
    Reply,
    ScriptedServer,
    asked_in,
    assert_no_leaks,
    cancel_at_every_suspension,
    close,
    connections_in_use,
    eventually,
    hang,
    http,
    json_batch,
    pause,
    send,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

pytestmark = [pytest.mark.untraced, pytest.mark.usefixtures("both_lanes")]

GOOD_BODY = json_batch(BATCH_ID, ["succeeded"], "succeeded")
LAST_ONE = http(200, GOOD_BODY, {"Connection": "close"}) + close()
HEAD_LENGTH = GOOD.data.index(b"\r\n\r\n") + 4
PIECEMEAL = send(b"")
for part in (GOOD.data[:20], GOOD.data[20:HEAD_LENGTH], GOOD.data[HEAD_LENGTH:-20], GOOD.data[-20:]):
    PIECEMEAL += pause(0.001) + part


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return Certificates()


class Scene(NamedTuple):
    """What a call goes through while it is cancelled.

    Attributes:
        name: for the test's id.
        answers: to the requests of one call, in order; the last one repeats.
        settings: keywords of the session.
        tls: whether certificates are checked.
        own: whether it goes through the user's own aiohttp session.
        contended: whether another request, whose answer takes a while, comes just before the call.
    """

    name: str
    answers: tuple[Reply, ...]
    settings: dict[str, Any]
    tls: bool = False
    own: bool = False
    contended: bool = False

    @property
    def marks(self) -> tuple[pytest.MarkDecorator, ...]:
        """A refusal slows the session down for seconds, which need not be waited for."""
        return (pytest.mark.looptime, pytest.mark.slow) if "429" in self.name else ()


RETRIED = RetryPolicy(wait_initial=0.002, wait_max=0.002)
SCENES = [
    Scene("fresh connection", (LAST_ONE,), {}),
    Scene("reused connection", (GOOD,), {}),
    Scene("found dead", (close(), GOOD), {}),
    Scene("answer in pieces", (PIECEMEAL,), {}),
    Scene("TLS, fresh connection", (LAST_ONE,), {}, tls=True),
    Scene("TLS, reused connection", (PIECEMEAL,), {}, tls=True),
    Scene("the user's session, fresh connection", (LAST_ONE,), {}, tls=True, own=True),
    Scene("the user's session, reused connection", (PIECEMEAL,), {}, tls=True, own=True),
    Scene("slot queue", (GOOD,), {"max_connections": 1}, contended=True),
    Scene("throttle", (GOOD,), {"max_rate": 300.0}),
    Scene("slot queue and throttle", (GOOD,), {"max_connections": 1, "max_rate": 300.0}, contended=True),
    Scene("backoff sleep", (http(503), GOOD), {"retry": RETRIED}),
    Scene("slowed by a 429", (http(429), GOOD), {"retry": RETRIED}),
]
POLLED = Scene("poll sleep", (RUNNING, RUNNING, GOOD), {})


OTHER_ID = UUID(int=7)
"""Asked for beside what is tested."""
OTHER = http(200, json_batch(OTHER_ID, ["succeeded"], "succeeded"))


class Stage:
    """A scene with its server and its session."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.session: RunflowSession
        self.server: ScriptedServer
        self._holder: asyncio.Task[Any] | None = None
        self._hanging = False
        self._answered = 0

    def answer(self, number: int) -> Reply:
        """The scene's answers in turn to each call; others get a good one, and take their time if they are to hold."""
        if self._hanging:
            return hang()
        if str(OTHER_ID).encode() in self.server.requests[number - 1]:
            return OTHER if self._holder is None else pause(0.002) + OTHER
        self._answered += 1
        return self.scene.answers[min(self._answered, len(self.scene.answers)) - 1]

    def call(self, make: Call) -> Coroutine[Any, Any, Any]:
        """A fresh call, whose first answer is the scene's first."""
        self._answered = 0
        if self.scene.contended:
            self._holder = asyncio.create_task(self.session.get_batch(OTHER_ID))
        return make(self.session)

    async def check(self, _: object = None) -> None:
        """Nothing of the call is left, the holder was not harmed, and the next request is healthy."""
        async with asyncio.timeout(60):
            if self._holder is not None:
                assert (await self._holder).is_terminal
                self._holder = None
            transport = self.session._transport
            assert not connections_in_use(self.session)
            assert self.session._lifetime.entered == set()
            turns = transport._turns
            assert turns._taken == 0
            assert (await self.session.get_batch(OTHER_ID)).is_terminal

    async def check_capacity(self) -> None:
        """As many requests as ever can be under way at the same time."""
        if self.scene.marks:
            await asyncio.sleep(1000)  # until the pace is what it was
        self._hanging, before = True, len(self.server.requests)
        turns = self.session._transport._turns
        for _ in range(100):  # valid responses, until the window is what it was
            turns.answered()
        count = turns._window.size
        tasks = [asyncio.create_task(self.session.get_batch(BATCH_ID)) for _ in range(count + 2)]
        await eventually(lambda: len(self.server.requests) == before + count)
        await asyncio.sleep(0.005)
        assert len(self.server.requests) == before + count
        for task in tasks:
            await finish(task)


@asynccontextmanager
async def staged(scene: Scene, certificates: Certificates) -> AsyncIterator[Stage]:
    stage = Stage(scene)
    settings: dict[str, Any] = {"max_connections": 3, "retry": QUICK} | scene.settings
    async with AsyncExitStack() as stack:
        context = certificates.good if scene.tls else None
        stage.server = await stack.enter_async_context(ScriptedServer(stage.answer, ssl=context, host="localhost"))
        if scene.tls and not scene.own:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", certificates.client)
        if scene.own:
            connector = aiohttp.TCPConnector(ssl=certificates.client, use_dns_cache=False)
            settings["http"] = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        stage.session = await stack.enter_async_context(open_session(stage.server.url, **settings))
        yield stage


Call = Callable[[RunflowSession, float], Coroutine[Any, Any, Any]]
"""A use of a session, given the seconds between polls."""


def get(session: RunflowSession, _: float = 0.002, batch_id: UUID = BATCH_ID) -> Coroutine[Any, Any, Any]:
    return session.get_batch(batch_id)


def wait(session: RunflowSession, interval: float = 0.002, batch_id: UUID = BATCH_ID) -> Coroutine[Any, Any, Any]:
    return session.wait_for_batch(batch_id, interval=interval)


async def iterate(session: RunflowSession, interval: float = 0.002) -> None:
    async for _ in session.wait_for_batch(BATCH_ID, interval=interval):
        pass


async def wait_in_a_timeout(session: RunflowSession, interval: float) -> None:
    async with asyncio.timeout(60):
        await session.wait_for_batch(BATCH_ID, interval=interval)


async def wait_in_a_group(session: RunflowSession, interval: float) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(session.wait_for_batch(BATCH_ID, interval=interval))


async def wait_in_the_body_of_a_group(session: RunflowSession, interval: float) -> None:
    async with asyncio.TaskGroup():
        await session.wait_for_batch(BATCH_ID, interval=interval)


CALLS: tuple[Call, ...] = (get, wait, iterate, wait_in_a_timeout, wait_in_a_group, wait_in_the_body_of_a_group)


VARIED = {"connect", "hanging request", "backoff sleep", "poll sleep", "slot queue"}


def calls_at(number: int, places: Sequence[Place] = PLACES, calls: Sequence[Call] = CALLS) -> Any:
    """A wait at every place, and every call at some, as parameters of a row's test."""
    return pytest.mark.parametrize(
        ("place", "call"),
        [
            pytest.param(place, call, id=f"row {number}: {place.name}, {call.__name__}")
            for place in places
            for call in calls
            if (call is wait or place.name in VARIED) and not (call is get and place.name == "poll sleep")
        ],
    )


async def stuck_task(session: RunflowSession, place: Place, call: Call) -> asyncio.Task[Any]:
    """A task that is stuck there by now."""
    if place.seen and call is get:
        await session.get_batch(BATCH_ID)
    task = asyncio.create_task(call(session, place.interval))
    await asyncio.sleep(0.015)
    assert not task.done()
    return task


async def turns(number: int) -> None:
    """Let the loop go round that many times."""
    for _ in range(number):
        await asyncio.sleep(0)


def innermost(error: BaseException | None) -> BaseException | None:
    """What a group of one holds."""
    return innermost(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


class TestCancelling:
    """Row 120: at every suspension point, before and after what was awaited is there."""

    @pytest.mark.parametrize("late", [False, True], ids=["", "late"])
    @pytest.mark.parametrize(
        ("scene", "make"),
        [
            pytest.param(scene, make, id=f"row 120: {scene.name}, {make.__name__}", marks=scene.marks)
            for make in (get, wait, iterate)
            for scene in (SCENES if make is get else [*SCENES, POLLED] if make is wait else [POLLED])
        ],
    )
    async def test_anywhere_leaves_nothing_behind(self, certificates, scene, make, late):
        async with staged(scene, certificates) as stage:
            await stage.check()
            async with assert_no_leaks(lambda: stage.session):
                cuts = await cancel_at_every_suspension(lambda: stage.call(make), settle=stage.check, late=late)
            assert len(cuts) > 1
            await stage.check_capacity()

    @calls_at(120, calls=(get, wait, iterate))
    async def test_a_call_that_is_stuck_leaves_nothing_behind(self, place, call):
        async with assert_no_leaks(), stuck_in(place) as session:
            task = await stuck_task(session, place, call)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            holders = int(place.name == "slot queue")
            assert len(session._lifetime.entered) == holders
            turns = session._transport._turns
            assert turns._taken == holders

    @pytest.mark.looptime
    async def test_row_120_gives_its_turn_to_the_next(self):
        """A hundred callers who gave up while they queued for the pace do not hold up the one who did not."""
        async with (
            timed_server(lambda _: GOOD) as (server, polled_at),
            open_session(server.url, max_rate=1) as session,
        ):
            await session.get_batch(BATCH_ID)
            queued = [asyncio.create_task(session.get_batch(BATCH_ID)) for _ in range(100)]
            await asyncio.sleep(0.5)
            for task in queued:
                await finish(task)
            await session.get_batch(BATCH_ID)
        assert polled_at == pytest.approx([0, 1], abs=0.05)

    @pytest.mark.parametrize(
        "place", [pytest.param(p, id=f"row 120: {p.name}") for p in PLACES if p.name in {"hanging body", "poll sleep"}]
    )
    async def test_of_a_close_can_be_made_up_for(self, place):
        """A close that was itself cancelled, after some turns of the loop, is finished by the next one."""
        for ticks in range(8):
            async with assert_no_leaks(), stuck_in(place) as session:
                task = await stuck_task(session, place, wait)
                closing = asyncio.create_task(session.close())
                await turns(ticks)
                closing.cancel()
                with suppress(asyncio.CancelledError):
                    await closing
                await session.close()
                assert session._transport._connections.way.closed
                assert isinstance(task.exception(), SessionClosedError)


class TestLeavingCancelled:
    """Row 156: whatever cancels the end of `async with session`, its connections are closed."""

    @pytest.mark.parametrize("busy", [pytest.param(False, id="row 156: idle"), pytest.param(True, id="row 156: busy")])
    async def test_by_an_anyio_scope_closes_the_connections(self, busy):
        async with assert_no_leaks(), ScriptedServer([RUNNING, hang()]) as server:
            waiting = None
            with anyio.CancelScope() as scope:
                async with open_session(server.url) as session:
                    await session.get_batch(BATCH_ID)
                    if busy:
                        waiting = asyncio.create_task(session.get_batch(BATCH_ID))
                        await eventually(lambda: len(server.requests) == 2)
                    scope.cancel()
            assert session._transport._connections.way.closed
            await eventually(lambda: server.open_connections == 0)
            if waiting is not None:
                assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], SessionClosedError)

    @pytest.mark.parametrize("again", [pytest.param(n, id=f"row 156: {n} turns later") for n in range(6)])
    async def test_twice_by_its_task_closes_the_connections(self, again):
        async with assert_no_leaks(), ScriptedServer([RUNNING, hang()]) as server:
            waits = []

            async def work() -> None:
                async with open_session(server.url) as session:
                    await session.get_batch(BATCH_ID)
                    waits.append(asyncio.create_task(session.get_batch(BATCH_ID)))
                    await asyncio.Event().wait()

            task = asyncio.create_task(work())
            await eventually(lambda: len(server.requests) == 2)
            task.cancel()
            await turns(again)
            task.cancel()
            await asyncio.wait({task})
            await eventually(lambda: server.open_connections == 0)
            assert isinstance((await asyncio.gather(*waits, return_exceptions=True))[0], SessionClosedError)

    async def test_row_156_at_every_suspension_of_the_close_ends_waits_and_connections(self):
        async with ScriptedServer(lambda number: RUNNING if number % 2 else hang()) as server:
            opened: list[RunflowSession] = []
            waits: list[asyncio.Task[object]] = []

            async def close_one() -> None:
                await opened[-1].close()

            async def settle(_: Cut) -> None:
                await eventually(lambda: server.open_connections == 0)
                assert isinstance((await asyncio.gather(waits[-1], return_exceptions=True))[0], SessionClosedError)
                await open_another()

            async def open_another() -> None:
                opened.append(open_session(server.url))
                await opened[-1].get_batch(BATCH_ID)
                waits.append(asyncio.create_task(opened[-1].get_batch(BATCH_ID)))
                asked = len(server.requests)
                await eventually(lambda: len(server.requests) > asked)

            await open_another()
            await cancel_at_every_suspension(close_one, settle=settle)
            await opened[-1].close()
            await asyncio.gather(waits[-1], return_exceptions=True)


class TestConsumers:
    """Rows 121 to 125 and 134: what those who use a wait may do."""

    @pytest.mark.parametrize(
        "fails", [pytest.param(False, id="row 121: break"), pytest.param(True, id="row 121: error")]
    )
    async def test_who_leave_the_loop_leave_nothing_running(self, fails):
        async with (
            ScriptedServer(RUNNING) as server,
            open_session(server.url) as session,
            assert_no_leaks(lambda: session),
        ):
            with suppress(LookupError):
                async for _ in session.wait_for_batch(BATCH_ID, interval=0.01):
                    if fails:
                        raise LookupError
                    break
            assert len(asyncio.all_tasks()) == 1 + _rig_tasks()
            await asyncio.sleep(0.05)
            assert len(server.requests) == 1

    @pytest.mark.looptime
    async def test_row_122_who_are_slower_than_any_timeout_are_never_cancelled(self):
        """Every transition takes longer to handle than a request, a connection and an outage may last."""
        script = [http(200, json_batch(BATCH_ID, [status] * 3)) for status in ("queued", "running")] + [
            http(503),
            http(200, json_batch(BATCH_ID, ["succeeded"] * 3, "succeeded")),
        ]
        told = []
        async with ScriptedServer(script) as server, open_session(server.url, request_timeout=5) as session:
            wait = session.wait_for_batch(BATCH_ID, timeout=None, interval=1, max_outage=20)
            async for transition in wait:
                await asyncio.sleep(1000)
                told.append(transition.current)
        assert told == ["queued"] * 3 + ["running"] * 3 + ["succeeded"] * 3
        assert len(server.requests) == 4

    @pytest.mark.looptime
    @pytest.mark.parametrize("patience", [pytest.param(s, id=f"row 123: {s} s") for s in (0.04, 0.3, 1.7)])
    @pytest.mark.parametrize("settings", [{}, {"max_rate": 0.8}], ids=["", "max_rate"])
    async def test_who_lose_patience_again_and_again_get_everything_on_time(self, patience, settings):
        statuses = ["queued", "running", "running", "succeeded"]

        def answer(number: int) -> Reply:
            status = statuses[min(number, len(statuses)) - 1]
            return http(200, json_batch(BATCH_ID, [status], "succeeded" if status == "succeeded" else "running"))

        told: list[str] = []
        async with (
            assert_no_leaks(),
            timed_server(answer) as (server, polled_at),
            open_session(server.url, **settings) as session,
        ):
            wait = session.wait_for_batch(BATCH_ID, interval=1.5)
            while len(told) < 3 and now() < 1000:
                with suppress(TimeoutError):
                    told.append((await asyncio.wait_for(anext(wait), patience)).current)
        assert told == ["queued", "running", "succeeded"]
        assert polled_at == pytest.approx([0, 1.5, 3.0, 4.5], abs=0.1)

    @pytest.mark.looptime
    @pytest.mark.parametrize("patience", [pytest.param(s, id=f"row 123: {s} s") for s in (0.3, 0.7)])
    async def test_who_have_less_patience_than_the_pace_has_still_get_a_turn(self, patience):
        """The next turn is 2 s away; giving up before that, over and over, does not move it further away."""
        async with (
            timed_server(lambda number: RUNNING if number < 3 else GOOD) as (server, polled_at),
            open_session(server.url, max_rate=0.5) as session,
        ):
            await session.get_batch(BATCH_ID)
            wait = session.wait_for_batch(BATCH_ID, interval=0.1)
            while not wait.done() and now() < 1000:
                with suppress(TimeoutError, StopAsyncIteration):
                    await asyncio.wait_for(anext(wait), patience)
        assert polled_at == pytest.approx([0, 2, 4], abs=1.0)

    @rows(124)
    async def test_who_are_two_in_one_wait_are_told_so(self, place):
        """The second one is, and the first one does not notice."""
        async with assert_no_leaks(), stuck_in(place) as session:
            shared = session.wait_for_batch(BATCH_ID, interval=place.interval)
            task = asyncio.create_task(shared)
            await asyncio.sleep(0.02)
            for intrude in (lambda: anext(shared), lambda: shared):
                with pytest.raises(RuntimeError, match="two tasks"):
                    await intrude()
            assert not task.done()
            await finish(task)

    @calls_at(125, calls=(wait, iterate))
    async def test_may_close_a_wait_that_another_task_is_in(self, place, call):
        iterated = call is iterate
        async with assert_no_leaks(), stuck_in(place) as session:
            shared = session.wait_for_batch(BATCH_ID, interval=place.interval)
            if iterated and place.seen:
                await anext(shared)

            async def use() -> None:
                await (anext(shared) if iterated else shared)

            task = asyncio.create_task(use())
            await asyncio.sleep(0.02)
            await asyncio.gather(shared.aclose(), shared.aclose())
            with pytest.raises(StopAsyncIteration if iterated else WaitClosedError):
                await task
            assert task.cancelling() == 0
            await shared.aclose()

    @pytest.mark.parametrize(
        "error",
        [
            pytest.param(error, id=f"row 134: {type(error).__name__}")
            for error in (
                LookupError("mine"),
                TimeoutError("mine"),
                OSError("mine"),
                BatchFailedError(BATCH_ID, "failed"),
            )
        ],
    )
    @pytest.mark.parametrize("call", [wait, iterate])
    async def test_whose_until_raises_get_that(self, error, call):
        """Also an error that looks like one of the network's, or is one of ours."""

        def until(_: object) -> bool:
            raise error

        async with (
            ScriptedServer(RUNNING) as server,
            open_session(server.url) as session,
            assert_no_leaks(lambda: session),
        ):
            shared = session.wait_for_batch(BATCH_ID, until=until)
            with pytest.raises(type(error), match=r"mine|failed") as caught:
                await shared if call is wait else [_ async for _ in shared]
            assert caught.value is error
            assert shared.exception() is error
            assert session._lifetime.entered == set()
            await session.get_batch(BATCH_ID)
            assert len(server.requests) == 2


def _rig_tasks() -> int:
    return sum(task.get_name() == "rig" for task in asyncio.all_tasks())


class TestClosing:
    """Rows 126 and 127: a call ends with `SessionClosedError`, not with a cancellation that nobody asked for."""

    @calls_at(126)
    async def test_ends_every_call_wherever_it_is(self, place, call):
        async with assert_no_leaks(), stuck_in(place) as session:
            task = await stuck_task(session, place, call)
            await session.close()
            await asyncio.wait({task})
            assert isinstance(innermost(task.exception()), SessionClosedError)
            assert task.cancelling() == 0 or call is wait_in_a_group  # before 3.13 a group forgets to take its own back
            assert session._lifetime.entered == set()
            assert session._transport._connections.way.closed

    @calls_at(126, [place for place in PLACES if place.name in {"hanging request", "slot queue", "backoff sleep"}])
    async def test_gives_way_to_a_cancel_of_the_users(self, place, call):
        """Cancelled just before the close, or some turns of the loop after its start."""
        async with assert_no_leaks():
            for after in range(-1, 7):
                async with stuck_in(place) as session:
                    task = await stuck_task(session, place, call)
                    cancelled = after < 0 and task.cancel()
                    closing = asyncio.create_task(session.close())
                    await turns(after)
                    cancelled = cancelled or task.cancel()
                    await closing
                    await asyncio.wait({task})
                    if task.cancelled():
                        assert cancelled
                    else:
                        assert isinstance(innermost(task.exception()), SessionClosedError)
                        # In a group, the wait had ended already, and only the group was there to be cancelled.
                        assert not cancelled or call is wait_in_a_group

    @pytest.mark.parametrize("call", [get, wait, iterate, wait_in_a_group])
    @pytest.mark.parametrize(
        "answer", [pytest.param(GOOD, id="row 126: whole answer"), pytest.param(PIECEMEAL, id="row 126: in pieces")]
    )
    async def test_at_any_moment_is_a_result_or_its_error(self, call, answer):
        outcomes = set()
        async with assert_no_leaks(), ScriptedServer(answer) as server:
            for after in range(0, 60, 3):
                async with open_session(server.url) as session:
                    task = asyncio.create_task(call(session, 0.001))
                    await turns(after)
                    await session.close()
                    error = innermost((await asyncio.gather(task, return_exceptions=True))[0])
                    outcomes.add(type(error) if isinstance(error, BaseException) else "done")
        assert outcomes <= {SessionClosedError, "done"}

    @pytest.mark.parametrize(
        "place",
        [
            pytest.param(place, id=f"row 126: {place.name}")
            for place in PLACES
            if place.name not in {"poll sleep", "backoff sleep", "throttle", "name lookup"}
        ],
    )
    @pytest.mark.parametrize("call", [get, wait])
    async def test_of_the_users_own_aiohttp_session_ends_calls_the_same_way(self, place, call):
        """It is theirs to close, also while somebody uses it."""
        async with (
            assert_no_leaks(),
            aiohttp.ClientSession() as own,
            stuck_in(place, http=own, request_timeout=0.15, retry=QUICK) as session,
        ):
            task = await stuck_task(session, place, call)
            await own.close()
            with pytest.raises(SessionClosedError):
                await task
            assert task.cancelling() == 0

    async def test_row_126_of_the_users_own_session_ends_what_queues_for_its_connections(self):
        async with (
            ScriptedServer(hang()) as server,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as own,
            open_session(server.url, http=own, request_timeout=0.15, retry=QUICK) as session,
        ):
            tasks = [asyncio.create_task(session.wait_for_batch(BATCH_ID)) for _ in range(3)]
            await eventually(lambda: server.requests)
            await own.close()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [SessionClosedError] * 3

    @pytest.mark.parametrize("apart", [pytest.param(n, id=f"row 126: {n} turns apart") for n in range(7)])
    async def test_may_be_done_by_two_at_once(self, apart):
        async with assert_no_leaks(), ScriptedServer([RUNNING, hang()]) as server, open_session(server.url) as session:
            task = asyncio.create_task(wait(session, 0.001))
            await eventually(lambda: len(server.requests) == 2)
            closing = asyncio.create_task(session.close())
            await turns(apart)
            assert await asyncio.gather(closing, session.close(), return_exceptions=True) == [None, None]
            assert isinstance(task.exception(), SessionClosedError)
            assert session._transport._connections.way.closed

    async def test_row_126_ends_a_fleet(self):
        async with assert_no_leaks(), ScriptedServer(hang()) as server, open_session(server.url) as session:

            async def close_once_asked() -> None:
                await eventually(lambda: server.requests)
                await session.close()

            waiting = _wait_for_all(session, [uuid4() for _ in range(20)])
            error, _ = await asyncio.gather(waiting, close_once_asked(), return_exceptions=True)
            assert isinstance(innermost(error), SessionClosedError)

    @pytest.mark.parametrize(
        "used", [pytest.param(False, id="row 127: unused"), pytest.param(True, id="row 127: used")]
    )
    async def test_makes_every_later_use_say_so(self, used):
        async with ScriptedServer(GOOD) as server:
            async with open_session(server.url) as session:
                made_before = session.wait_for_batch(BATCH_ID)
                if used:
                    ended = session.wait_for_batch(BATCH_ID)
                    await ended
            await session.close()
            for use in (
                lambda: session.wait_for_batch(BATCH_ID),
                lambda: session.wait_for_batches([BATCH_ID]),
            ):
                with pytest.raises(SessionClosedError):
                    use()
            for use in (
                lambda: session.get_batch(BATCH_ID),
                lambda: made_before,
                lambda: anext(made_before),
                session.__aenter__,
            ):
                with pytest.raises(SessionClosedError):
                    await use()
            if used:
                assert (await ended).is_terminal
        assert len(server.requests) == used


async def _wait_for_all(session: RunflowSession, batch_ids: list[UUID]) -> Any:
    return await session.wait_for_batches(batch_ids)


PROGRAMS = {
    "waits in tasks": """
    async def main():
        session = RunflowSession("k", base_url=URL)
        tasks = [asyncio.create_task(session.wait_for_batch(UUID(int=n), interval=60)) for n in range(5)]
        await asyncio.sleep(0.2)
    """,
    "left in the middle of an iteration": """
    async def main():
        session = RunflowSession("k", base_url=URL)
        async for _ in session.wait_for_batch(UUID(int=1), interval=60):
            return
    """,
    "iterating tasks": """
    async def iterate(wait):
        async for _ in wait:
            pass

    async def main():
        session = RunflowSession("k", base_url=URL)
        tasks = [asyncio.create_task(iterate(session.wait_for_batch(UUID(int=n)))) for n in range(5)]
        await asyncio.sleep(0.2)
    """,
    "a fleet": """
    async def iterate(waits):
        async for _ in waits:
            pass

    async def main():
        session = RunflowSession("k", base_url=URL)
        task = asyncio.create_task(iterate(session.wait_for_batches([UUID(int=n) for n in range(5)])))
        await asyncio.sleep(0.2)
    """,
    "a session that nobody closed": """
    async def main():
        await RunflowSession("k", base_url=URL).get_batch(UUID(int=1))
    """,
    "a session in a global": """
    session = RunflowSession("k", base_url=URL)
    wait = None

    async def main():
        global wait
        wait = session.wait_for_batch(UUID(int=1), interval=60)
        await anext(wait)
    """,
    "closed while waits are open": """
    async def main():
        async with RunflowSession("k", base_url=URL) as session:
            tasks = [asyncio.create_task(session.wait_for_batch(UUID(int=n), interval=60)) for n in range(5)]
            await asyncio.sleep(0.2)
        await asyncio.gather(*tasks, return_exceptions=True)
    """,
}
PROLOGUE = """
import asyncio, logging, sys
logging.getLogger("asyncio").addFilter(lambda record: not record.msg.startswith("Executing "))  # a busy machine
from uuid import UUID
from runflow_async import RunflowSession
URL = sys.argv[1]
"""


@pytest.mark.usefixtures("unmeasured")
class TestEndOfTheLoop:
    @pytest.mark.slow
    @pytest.mark.parametrize("program", [pytest.param(text, id=f"row 128: {name}") for name, text in PROGRAMS.items()])
    async def test_says_nothing(self, program):
        """`asyncio.run` returns with waits still open; under -X dev, nothing is left for anybody to complain about."""

        def answer(number: int) -> Reply:
            asked = asked_in(server.requests[number - 1])
            return hang() if asked.endswith("3") else http(200, json_batch(asked, ["running"]))

        text = f"{PROLOGUE}\n{textwrap.dedent(program)}\nasyncio.run(main())\nprint('ended')\n"
        async with ScriptedServer(answer) as server:
            options = ("-X", "dev", "-W", "error", "-c", text, server.url)
            process = await asyncio.create_subprocess_exec(
                sys.executable, *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            out, complaints = await process.communicate()
            await eventually(lambda: server.open_connections == 0)
        assert complaints.decode() == ""
        assert (process.returncode, out) == (0, b"ended\n")


class TestManyWaits:
    @pytest.mark.parametrize(
        "count", [pytest.param(40, id="row 129: 40"), pytest.param(1000, id="row 129: 1000", marks=pytest.mark.slow)]
    )
    @pytest.mark.parametrize("status", [404, 401])
    async def test_fail_one_by_one(self, count, status):
        """One of them fails for good; its own consumer hears of it, the others go on to their end."""
        ids = [UUID(int=n) for n in range(count)]
        polls = dict.fromkeys(map(str, ids), 0)

        def answer(number: int) -> Reply:
            asked = server.requests[number - 1].split(b" ")[1].rpartition(b"/")[2].decode()
            polls[asked] += 1
            if asked == str(ids[7]) and polls[asked] > 1:
                return http(status)
            ended = "running" if polls[asked] < 3 else "succeeded"
            return http(200, json_batch(asked, [ended], ended))

        async with ScriptedServer(answer) as server, open_session(server.url, retry=QUICK) as session:
            outcomes = await asyncio.gather(
                *(session.wait_for_batch(i, interval=0.01) for i in ids), return_exceptions=True
            )
        error = outcomes.pop(7)
        assert isinstance(error, {404: NotFoundError, 401: AuthenticationError}[status])
        assert (error.batch_id, error.batch.status_code) == (ids[7], "running")
        assert [batch.status_code for batch in outcomes] == ["succeeded"] * (count - 1)

    async def test_row_130_raise_a_plain_error_alone_and_a_group_together(self):
        async with ScriptedServer(http(401)) as server, open_session(server.url) as session:
            for use in (
                lambda: session.get_batch(BATCH_ID),
                lambda: session.wait_for_batch(BATCH_ID),
                lambda: anext(session.wait_for_batch(BATCH_ID)),
                lambda: asyncio.gather(session.wait_for_batch(BATCH_ID)),
            ):
                with pytest.raises(AuthenticationError):
                    await use()
            with pytest.raises(ExceptionGroup) as caught:
                await session.wait_for_batches([BATCH_ID, OTHER_ID])
        assert {(type(error), error.batch_id) for error in caught.value.exceptions} == {
            (AuthenticationError, BATCH_ID),
            (AuthenticationError, OTHER_ID),
        }

    @pytest.mark.looptime
    @pytest.mark.parametrize("call", [get, wait])
    async def test_row_133_do_not_time_out_in_our_own_queue(self, call):
        """The last one queues for 100 s, four times as long as a request may take."""

        def answer(number: int) -> Reply:
            asked = asked_in(server.requests[number - 1])
            return pause(20) + http(200, json_batch(asked, ["succeeded"], "succeeded"))

        async with (
            timed_server(answer) as (server, polled_at),
            open_session(server.url, max_connections=10, request_timeout=25) as session,
        ):
            calls = [call(session, batch_id=UUID(int=number)) for number in range(60)]
            batches = await asyncio.gather(*calls)
        assert [batch.is_terminal for batch in batches] == [True] * 60
        assert len(polled_at) == 60
        if call is wait:
            assert [one.stats.retries for one in calls] == [0] * 60

    @pytest.mark.looptime
    async def test_row_133_do_not_count_the_queue_as_an_outage(self):
        """After 400 s in our own queue one request fails: that is the first second of the outage, not the 400th."""
        script = [pause(400) + GOOD, http(503), GOOD]
        async with (
            ScriptedServer(script) as server,
            open_session(server.url, max_connections=1, request_timeout=1000) as session,
        ):
            holder = asyncio.create_task(session.get_batch(BATCH_ID))
            await eventually(lambda: server.requests)
            queued = session.wait_for_batch(BATCH_ID, max_outage=300)
            assert (await queued).is_terminal
            await holder
        assert (queued.stats.polls, queued.stats.retries) == (1, 1)

    @pytest.mark.looptime
    async def test_row_133_do_not_count_the_queue_as_the_age_of_a_batch(self):
        """A batch that is not found yet has three seconds from the first time that it was asked for."""
        async with (
            ScriptedServer([pause(10) + GOOD, http(404), GOOD]) as server,
            open_session(server.url, max_connections=1) as session,
        ):
            holder = asyncio.create_task(session.get_batch(BATCH_ID))
            await eventually(lambda: server.requests)
            assert (await session.wait_for_batch(BATCH_ID)).is_terminal
            await holder

    @pytest.mark.looptime
    async def test_row_133_end_on_time_with_a_timeout_when_they_were_only_queued(self):
        """Nothing was asked, so there was no outage, however long it took."""
        async with (
            ScriptedServer(hang()) as server,
            open_session(server.url, max_connections=1, request_timeout=10_000) as session,
        ):
            holder = asyncio.create_task(session.get_batch(BATCH_ID))
            await eventually(lambda: server.requests)
            with pytest.raises(WaitTimeoutError):
                await session.wait_for_batch(BATCH_ID, timeout=1000, max_outage=300)
            await finish(holder)

    @pytest.mark.slow
    async def test_row_133_share_a_pool_of_a_hundred(self):
        async with (
            ScriptedServer(pause(0.05) + GOOD) as server,
            open_session(server.url, request_timeout=20) as session,
        ):
            waits = [session.wait_for_batch(BATCH_ID) for _ in range(1000)]
            await asyncio.gather(*waits)
        assert server.connections <= 100
        assert sum(one.stats.retries for one in waits) == 0


class TestOtherLoops:
    """Row 131: a session belongs to one loop; another one is told so, and the first does not notice."""

    @pytest.mark.parametrize(
        "use",
        [
            pytest.param(lambda session, _: session.get_batch(BATCH_ID), id="row 131: get_batch"),
            pytest.param(lambda session, _: session.wait_for_batch(BATCH_ID), id="row 131: a new wait"),
            pytest.param(lambda _, wait: wait, id="row 131: a wait in use"),
            pytest.param(lambda _, wait: anext(wait), id="row 131: anext"),
            pytest.param(lambda _, wait: wait.aclose(), id="row 131: aclose"),
            pytest.param(lambda session, _: session.wait_for_batches([BATCH_ID]), id="row 131: a fleet"),
            pytest.param(lambda session, _: session.close(), id="row 131: close"),
            pytest.param(lambda session, _: _call(session.nudge, BATCH_ID), id="row 131: nudge"),
        ],
    )
    async def test_are_refused(self, use):
        refused = False
        async with (
            assert_no_leaks(),
            ScriptedServer(lambda _: GOOD if refused else RUNNING) as server,
            open_session(server.url) as session,
        ):
            wait = session.wait_for_batch(BATCH_ID, interval=0.03)
            task = asyncio.create_task(wait)
            await eventually(lambda: len(server.requests) == 2)

            async def elsewhere() -> None:
                async with asyncio.timeout(60):
                    await use(session, wait)

            with pytest.raises(RuntimeError, match=r"loop|two tasks"):
                await asyncio.to_thread(asyncio.run, elsewhere())
            refused = True
            assert (await task).is_terminal
            assert (await session.get_batch(BATCH_ID)).is_terminal

    def test_row_131_are_refused_once_the_first_has_ended(self):
        async def first() -> RunflowSession:
            async with ScriptedServer(GOOD) as server:
                session = open_session(server.url)
                await session.get_batch(BATCH_ID)
                return session

        session = asyncio.run(first())
        with pytest.raises(RuntimeError, match="loop"):
            asyncio.run(session.get_batch(BATCH_ID))
        gc.collect()


async def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)
