"""Section D of the fault matrix: deadlines, clocks that jump, and a machine that slept."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import aiohttp
import pytest

from runflow_async import (
    OutageError,
    RateLimitError,
    RetryPolicy,
    RunflowError,
    RunflowSession,
    TransportError,
    WaitTimeoutError,
    wait_adaptive,
)
from runflow_async._lifetime import Lifetime
from runflow_async._observing import Call
from tests.faults.tables import BATCH_ID, GOOD, RUNNING
from tests.rig import (
    Ending,
    FaultyProxy,
    Reply,
    ScriptedServer,
    Toxic,
    asked_in,
    assert_no_leaks,
    deaf_port,
    drip,
    endless,
    eventually,
    hang,
    http,
    json_batch,
    lateness,
    on_accept,
    pause,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

pytestmark = [pytest.mark.untraced, pytest.mark.usefixtures("both_lanes")]

KEY = "rf_test_key"
HOUR = 3600.0
NEVER_WHOLE = http(body=b"{", length=1_000_000)


def now() -> float:
    return asyncio.get_running_loop().time()


def open_session(url: str, **keywords: Any) -> RunflowSession:
    return RunflowSession(KEY, base_url=url, **keywords)


class Place(NamedTuple):
    """Somewhere that a wait is stuck, once it polls for the first or the second time.

    Attributes:
        name: for the test's id.
        script: what the server does.
        seen: whether a snapshot was there before.
        settings: keywords of the session.
        interval: seconds between polls.
    """

    name: str
    script: Reply | list[Reply]
    seen: bool = False
    settings: Mapping[str, Any] = MappingProxyType({})
    interval: float = 0.001


PLACES = [
    Place("name lookup", GOOD),
    Place("connect", GOOD),
    Place("TLS handshake", on_accept(hang())),
    Place("hanging request", [RUNNING, hang()], seen=True),
    Place("dripping head", [RUNNING, drip(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000, 1, 0.02)], seen=True),
    Place("hanging body", [RUNNING, NEVER_WHOLE + hang()], seen=True),
    Place("dripping body", [RUNNING, NEVER_WHOLE + endless(b" ", 0.02)], seen=True),
    Place("poll sleep", RUNNING, seen=True, interval=10 * HOUR),
    Place("backoff sleep", [RUNNING, http(503)], True, {"retry": RetryPolicy(wait_initial=1e7, wait_max=1e7)}),
    Place("slot queue", hang(), settings={"max_connections": 1}),
    Place("throttle", RUNNING, settings={"max_rate": 1e-6}),
]


@asynccontextmanager
async def stuck_in(place: Place, **keywords: Any) -> AsyncIterator[RunflowSession]:
    """A session whose next wait, polling at `place.interval`, gets stuck there."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(ScriptedServer(place.script, host="localhost"))
        url = server.url
        if place.name == "name lookup":
            stack.callback(_hold_lookups().set)
        elif place.name == "connect":
            url = f"http://127.0.0.1:{stack.enter_context(deaf_port())}"
        elif place.name == "TLS handshake":
            url = url.replace("http:", "https:")
        session = await stack.enter_async_context(open_session(url, **{**place.settings, **keywords}))
        if place.name == "slot queue":
            holder = asyncio.create_task(session.get_batch(BATCH_ID))
            stack.push_async_callback(finish, holder)
            await eventually(lambda: server.requests)
        elif place.name == "throttle":
            await session.get_batch(BATCH_ID)
        yield session


def _hold_lookups() -> threading.Event:
    """Let every name lookup of the loop take until the event is set."""
    loop, go_on = asyncio.get_running_loop(), threading.Event()

    def held(*arguments: Any, **keywords: Any) -> Any:
        go_on.wait(60)
        return socket.getaddrinfo(*arguments, **keywords)

    async def lookup(*arguments: Any, **keywords: Any) -> Any:
        return await loop.run_in_executor(None, lambda: held(*arguments, **keywords))

    loop.getaddrinfo = lookup  # type: ignore[method-assign]  # dropped with the loop
    return go_on


async def finish(task: asyncio.Task[Any]) -> None:
    """Cancel it, and see to it that it is over."""
    task.cancel()
    with suppress(asyncio.CancelledError, RunflowError):
        await task


def rows(number: int, places: list[Place] = PLACES) -> Any:
    """The places as parameters of a row's test."""
    return pytest.mark.parametrize("place", [pytest.param(place, id=f"row {number}: {place.name}") for place in places])


async def time_out(
    session: RunflowSession, seconds: float, interval: float, **keywords: Any
) -> tuple[float, WaitTimeoutError]:
    """Seconds from the deadline to the error, with the error."""

    async def wait() -> WaitTimeoutError:
        with pytest.raises(WaitTimeoutError) as caught:
            await session.wait_for_batch(BATCH_ID, timeout=seconds, interval=interval, **keywords)
        return caught.value

    waiting = asyncio.ensure_future(wait())
    return await lateness(waiting, seconds), waiting.result()


class TestDeadlines:
    @rows(114)
    async def test_hold_wherever_the_wait_is(self, place):
        async with assert_no_leaks(), stuck_in(place) as session:
            late, error = await time_out(session, 0.1, place.interval)
        assert -0.005 <= late <= 0.05
        assert (error.batch is not None) == place.seen
        if place.seen:
            assert [item.status_code for item in error.batch.items] == ["running"]

    @pytest.mark.slow
    async def test_row_114_hold_at_odd_lengths(self):
        """Some of them aiohttp would round up to the next second; all places and lengths at once."""

        async def measure(place: Place, seconds: float) -> float:
            async with stuck_in(place, request_timeout=60.0) as session:
                return (await time_out(session, seconds, place.interval))[0]

        cases = [(p, seconds) for p in PLACES if p.name != "name lookup" for seconds in (1.3, 5.3)]
        late = await asyncio.gather(*(measure(*case) for case in cases))
        measured = {(place.name, seconds): by for (place, seconds), by in zip(cases, late, strict=True)}
        assert {case: by for case, by in measured.items() if not -0.005 <= by <= 0.05} == {}

    @pytest.mark.looptime
    @pytest.mark.parametrize(
        "seconds",
        [pytest.param(seconds, id=f"row 114: {seconds} s") for seconds in (0.1, 5.3, 59.9, 3600.25)],
    )
    @pytest.mark.parametrize(
        "place", [place for place in PLACES if place.script != GOOD and "drip" not in place.name], ids=lambda p: p.name
    )
    async def test_are_exact_at_any_length(self, place, seconds):
        """On a loop whose time jumps, and with requests that may take as long as they like."""
        async with stuck_in(place, request_timeout=1e8) as session:
            late, _ = await time_out(session, seconds, max(place.interval, seconds / 10), max_outage=1e9)
        assert late == pytest.approx(0, abs=0.002)

    @pytest.mark.looptime
    @pytest.mark.parametrize(
        "seconds",
        [pytest.param(seconds, id=f"row 114: request_timeout={seconds}") for seconds in (0.3, 4.9, 5.3, 29.7)],
    )
    async def test_of_one_request_are_not_rounded_up_either(self, seconds):
        async with ScriptedServer(NEVER_WHOLE + hang()) as server:
            async with open_session(server.url, request_timeout=seconds, retry=RetryPolicy(attempts=1)) as session:
                started = now()
                with pytest.raises(TransportError, match="in time"):
                    await session.get_batch(BATCH_ID)
                assert now() - started == pytest.approx(seconds, abs=0.002)

    @pytest.mark.looptime
    async def test_row_115_draw_the_last_poll_forward_so_that_its_answer_is_in_time(self):
        """Answers take 0.5 s; the poll after the next interval would be answered at 9.5 s."""
        async with timed_server(lambda number: pause(0.5) + states(number)) as (server, polled_at):
            async with open_session(server.url) as session:
                late, error = await time_out(session, 9.0, 4.0)
        assert polled_at == pytest.approx([0, 4.5, 8.24], abs=0.05)
        assert error.batch.items[0].client_ref == "answer-3"
        assert late == pytest.approx(0, abs=0.002)

    @pytest.mark.looptime
    async def test_row_115_end_well_if_the_last_poll_says_that_the_batch_has_ended(self):
        script = [pause(0.5) + RUNNING, pause(0.5) + RUNNING, pause(0.5) + GOOD]
        async with ScriptedServer(script) as server, open_session(server.url) as session:
            wait = session.wait_for_batch(BATCH_ID, timeout=9.0, interval=4.0)
            assert (await wait).is_terminal
        assert wait.stats.elapsed < 9.0

    @pytest.mark.parametrize("seconds", [pytest.param(t, id=f"row 116: {t}") for t in (1e-300, 1e-9, 0.0005)])
    async def test_that_are_over_before_anything_was_sent_send_nothing(self, seconds):
        async with ScriptedServer(RUNNING) as server, open_session(server.url) as session:
            with pytest.raises(WaitTimeoutError):
                await session.wait_for_batch(BATCH_ID, timeout=seconds)
        assert server.connections == 0

    @pytest.mark.looptime
    async def test_row_116_reached_in_the_queue_send_nothing(self):
        """The slot becomes free at the very instant at which the wait ends."""
        asked_at: list[float] = []

        def answer(_: int) -> Reply:
            asked_at.append(now())
            return pause(5.0) + GOOD

        async with ScriptedServer(answer) as server, open_session(server.url, max_connections=1) as session:
            holder = asyncio.create_task(session.get_batch(BATCH_ID))
            await eventually(lambda: asked_at)
            with pytest.raises(WaitTimeoutError):
                await session.wait_for_batch(BATCH_ID, timeout=asked_at[0] + 5.0 - now())
            await holder
            assert len(server.requests) == 1
            assert (await session.get_batch(BATCH_ID)).is_terminal

    @pytest.mark.parametrize("seconds", [pytest.param(t, id=f"row 154: {t}") for t in (1e-9, 1e-6, 1e-4)])
    async def test_of_any_length_are_bounds(self, seconds):
        """To aiohttp, a total that has run out by the time it looks is none."""
        once = RetryPolicy(attempts=1, wait_initial=1e-9, wait_max=1e-9)
        async with ScriptedServer(hang()) as server, assert_no_leaks(), asyncio.timeout(20):
            async with open_session(server.url, request_timeout=seconds, retry=once) as session:
                with pytest.raises(TransportError, match="in time"):
                    await session.get_batch(BATCH_ID)
                with pytest.raises(OutageError):
                    await session.wait_for_batch(BATCH_ID, timeout=None, max_outage=0.02)
            async with open_session(server.url, retry=once) as session:
                with pytest.raises(OutageError):
                    await session.wait_for_batch(BATCH_ID, timeout=None, max_outage=seconds)
                with pytest.raises(WaitTimeoutError):
                    await session.wait_for_batch(BATCH_ID, timeout=seconds)

    async def test_row_154_that_leave_a_turn_only_an_instant_hold(self):
        """Some of these are over before the request is made, some while it is."""
        async with ScriptedServer(hang()) as server, open_session(server.url) as session, asyncio.timeout(20):
            transport = session._transport
            for microseconds in range(0, 400, 2):
                with pytest.raises(TransportError, match="time"):
                    await transport.get("/", Call(None), sent=lambda: None, limit=now() + microseconds / 1e6)

    async def test_row_116_in_the_past_are_never_handed_to_aiohttp(self, monkeypatch):
        """To aiohttp, a total of 0 or less is no limit at all."""
        totals: list[float | None] = []
        original = aiohttp.ClientTimeout

        def spy(*arguments: Any, **keywords: Any) -> aiohttp.ClientTimeout:
            made = original(*arguments, **keywords)
            totals.append(made.total)
            return made

        monkeypatch.setattr(aiohttp, "ClientTimeout", spy)
        async with ScriptedServer(RUNNING) as server, open_session(server.url) as session:
            transport = session._transport
            sent: list[None] = []
            for ago in (0.0, 1e-9, 1.0, math.inf):
                with pytest.raises(TransportError):
                    await transport.get("/", Call(None), sent=lambda: sent.append(None), limit=now() - ago)
            for timeout in (0.0011, 0.0015, 0.002, 0.005, 0.01):
                with pytest.raises(WaitTimeoutError):
                    await session.wait_for_batch(BATCH_ID, timeout=timeout, interval=0.0001)
        assert sent == []
        assert [total for total in totals if total is not None and total <= 0] == []


def states(number: int) -> Reply:
    """A running batch whose item tells the number of the answer."""
    lines = [
        {
            "id": str(BATCH_ID),
            "sequence_index": 0,
            "run_id": str(BATCH_ID),
            "status_code": "running",
            "client_ref": f"answer-{number}",
        }
    ]
    return http(200, json_batch(BATCH_ID, lines))


@asynccontextmanager
async def timed_server(script: Callable[[int], Reply]) -> AsyncIterator[tuple[ScriptedServer, list[float]]]:
    """A server with the loop's instants of its requests, from the first one on."""
    instants: list[float] = []

    class Instants(list[float]):
        def append(self, instant: float) -> None:
            instants.append(instant)
            super().append(instant - instants[0])

    received = Instants()

    def answer(number: int) -> Reply:
        received.append(now())
        return script(number)

    async with ScriptedServer(answer) as server:
        yield server, received


class TestOutcomes:
    """Row 117: who ends a wait can be told from what comes out."""

    IN = pytest.mark.parametrize(
        "place", [place for place in PLACES if place.name in {"hanging request", "poll sleep"}], ids=lambda p: p.name
    )

    @IN
    async def test_row_117_the_waits_own_timeout(self, place):
        async with stuck_in(place) as session:
            with pytest.raises(WaitTimeoutError):
                async with asyncio.timeout(60):
                    await session.wait_for_batch(BATCH_ID, timeout=0.05, interval=place.interval)

    @IN
    async def test_row_117_the_callers_timeout(self, place):
        async with stuck_in(place) as session:
            wait = session.wait_for_batch(BATCH_ID, timeout=60, interval=place.interval)
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(0.05):
                    await wait
            assert type(caught.value) is TimeoutError
            assert not wait.done()

    @IN
    async def test_row_117_the_users_cancel(self, place):
        async with stuck_in(place) as session:
            wait = session.wait_for_batch(BATCH_ID, timeout=60, interval=place.interval)
            task = asyncio.create_task(wait)
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not wait.done()

    @IN
    @pytest.mark.looptime
    async def test_row_117_a_cancel_at_the_very_deadline_is_a_cancel(self, place):
        async with stuck_in(place) as session:
            wait = session.wait_for_batch(BATCH_ID, timeout=7, interval=place.interval)
            task = asyncio.create_task(wait)
            asyncio.get_running_loop().call_at(now() + 7, task.cancel)
            with pytest.raises((asyncio.CancelledError, WaitTimeoutError)):
                await task
            assert task.cancelled() != wait.done()


NONSENSE = [-1, -0.001, math.nan, math.inf, -math.inf, True, False, "5", b"5", [5], 5j, Decimal("NaN"), 10**400]
MADE_WITH: dict[str, Callable[[Any], object]] = {
    "timeout": lambda value: RunflowSession(KEY).wait_for_batch(BATCH_ID, timeout=value),
    "interval": lambda value: RunflowSession(KEY).wait_for_batch(BATCH_ID, interval=value),
    "max_outage": lambda value: RunflowSession(KEY).wait_for_batch(BATCH_ID, max_outage=value),
    "request_timeout": lambda value: RunflowSession(KEY, request_timeout=value),
    "max_rate": lambda value: RunflowSession(KEY, max_rate=value),
    "max_retry_after": lambda value: RunflowSession(KEY, max_retry_after=value),
    "max_connections": lambda value: RunflowSession(KEY, max_connections=value),
    "attempts": lambda value: RetryPolicy(attempts=value),
    "wait_initial": lambda value: RetryPolicy(wait_initial=value),
    "wait_max": lambda value: RetryPolicy(wait_max=value),
    "wait_adaptive min": lambda value: wait_adaptive(min=value),
    "wait_adaptive max": lambda value: wait_adaptive(max=value),
    "wait_adaptive jitter": lambda value: wait_adaptive(jitter=value),
}
WHOLE = {"attempts", "max_connections"}


@pytest.mark.parametrize(
    ("make", "value"),
    [
        pytest.param(make, value, id=f"row 118: {name}={str(value)[:8]}")
        for name, make in MADE_WITH.items()
        for value in NONSENSE
        if not (name in WHOLE and value == 10**400)
    ],
)
def test_numbers_that_make_no_sense_are_refused_at_the_call(make, value):
    """There is no event loop here, so nothing can have been sent."""
    with pytest.raises((ValueError, TypeError)):
        make(value)


@pytest.fixture
def skew(monkeypatch) -> Callable[[float], None]:
    """Moves the wall clock of this process by that many seconds; the monotonic one goes on as it did."""
    moved = [0.0]
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() + moved[0])
    monkeypatch.setattr(Lifetime, "utc_now", lambda _: datetime.now(UTC) + timedelta(seconds=moved[0]))

    def by(seconds: float) -> None:
        moved[0] = seconds

    return by


JUMPS = pytest.mark.parametrize("jump", [pytest.param(HOUR, id="an hour on"), pytest.param(-HOUR, id="an hour back")])


@pytest.mark.looptime
class TestWallClock:
    """Row 112: it jumps with the second answer, and nothing that waits is changed by it."""

    @JUMPS
    async def test_row_112_does_not_move_the_polls_or_the_deadline(self, skew, jump):
        async with timed_server(lambda number: (skew(jump if number > 1 else 0), RUNNING)[1]) as (server, polled_at):
            async with open_session(server.url) as session:
                late, _ = await time_out(session, 60, 7)
        assert polled_at[:-1] == pytest.approx([0, 7, 14, 21, 28, 35, 42, 49, 56], abs=0.05)
        assert late == pytest.approx(0, abs=0.002)

    @JUMPS
    async def test_row_112_does_not_move_a_backoff(self, skew, jump):
        refused = http(429, headers={"Retry-After": "30"})
        async with (
            timed_server(lambda number: (skew(jump), refused if number == 1 else GOOD)[1]) as (
                server,
                polled_at,
            ),
            open_session(server.url) as session,
        ):
            await session.wait_for_batch(BATCH_ID)
        assert 30 <= polled_at[1] <= 33.1

    @JUMPS
    async def test_row_112_does_not_move_the_shared_pace(self, skew, jump):
        async with timed_server(lambda number: (skew(jump if number > 1 else 0), GOOD)[1]) as (server, polled_at):
            async with open_session(server.url, max_rate=0.5) as session:
                await asyncio.gather(*(session.get_batch(BATCH_ID) for _ in range(5)))
        assert polled_at == pytest.approx([0, 2, 4, 6, 8], abs=0.05)


SERVER_CLOCK = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
"""Years away from the local one."""


def http_date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


@pytest.mark.looptime
class TestRetryAfterDates:
    """Row 113: an HTTP-date means the server's clock, not ours."""

    @pytest.mark.parametrize("status", [pytest.param(s, id=f"row 113: {s}") for s in (200, 429, 503)])
    @pytest.mark.parametrize("skewed", [0.0, HOUR, -HOUR], ids=["", "fast", "slow"])
    async def test_are_measured_against_the_answers_own_date(self, skew, skewed, status):
        skew(skewed)
        dates = {"Date": http_date(SERVER_CLOCK), "Retry-After": http_date(SERVER_CLOCK + timedelta(seconds=40))}
        first = http(status, json_batch(BATCH_ID, ["running"]) if status == 200 else b"", dates)
        async with timed_server(lambda number: first if number == 1 else GOOD) as (server, polled_at):
            async with open_session(server.url) as session:
                await session.wait_for_batch(BATCH_ID, interval=1)
        assert 40 <= polled_at[1] <= 44.1

    @pytest.mark.parametrize(
        "skewed", [pytest.param(HOUR, id="row 113: past"), pytest.param(120, id="row 113: soon past")]
    )
    async def test_without_a_date_a_past_one_is_no_reason_to_hurry(self, skew, skewed):
        """The local clock is fast: what was meant to be in 40 s seems to be over, and the backoff takes its place."""
        skew(skewed)
        refused = http(429, headers={"Retry-After": http_date(datetime.now(UTC) + timedelta(seconds=40))})
        async with timed_server(lambda number: refused if number < 4 else GOOD) as (server, polled_at):
            async with open_session(server.url, retry=RetryPolicy(wait_initial=100, wait_max=100)) as session:
                await session.wait_for_batch(BATCH_ID)
        assert len(polled_at) == 4
        assert polled_at[-1] > 1

    async def test_row_113_without_a_date_a_slow_clock_waits_no_longer_than_the_cap(self, skew):
        skew(-HOUR)
        refused = http(429, headers={"Retry-After": http_date(datetime.now(UTC) + timedelta(seconds=40))})
        async with timed_server(lambda number: refused if number == 1 else GOOD) as (server, polled_at):
            async with open_session(server.url, max_retry_after=120) as session:
                await session.wait_for_batch(BATCH_ID, timeout=3 * HOUR)
        assert 120 <= polled_at[1] <= 132.1

    async def test_row_113_beyond_the_time_left_is_told_at_once(self, skew):
        dates = {"Date": http_date(SERVER_CLOCK), "Retry-After": http_date(SERVER_CLOCK + timedelta(hours=2))}
        async with ScriptedServer(http(429, headers=dates)) as server, open_session(server.url) as session:
            wait = session.wait_for_batch(BATCH_ID, timeout=HOUR)
            with pytest.raises(RateLimitError) as caught:
                await wait
            assert wait.stats.elapsed < 60
        assert caught.value.retry_after == 2 * HOUR
        assert len(server.requests) == 1


def suspend(seconds: float) -> None:
    """Move the running loop's clock on, as while the machine is suspended: every timer in between is late."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.BaseEventLoop):
        pytest.skip("the timers of this loop have a clock of their own")
    clock = loop.time
    loop.time = lambda: clock() + seconds  # type: ignore[method-assign]  # dropped with the loop


class TestSuspension:
    """Row 119: two hours later all connections are dead, and all timers late."""

    @pytest.mark.parametrize("ending", [pytest.param(ending, id=f"row 119: {ending.name}") for ending in Ending][:2])
    async def test_makes_no_burst_of_the_polls_that_were_missed(self, ending):
        waits_at_once = 5

        def answer(number: int) -> Reply:
            return http(200, json_batch(asked_in(server.requests[number - 1]), ["running"]))

        async with (
            ScriptedServer(answer) as server,
            FaultyProxy(server.host, server.port) as proxy,
            open_session(proxy.url) as session,
        ):
            waits = [session.wait_for_batch(UUID(int=n), timeout=None, interval=60) for n in range(waits_at_once)]
            tasks = [asyncio.create_task(wait) for wait in waits]
            await eventually(lambda: [wait.stats.polls for wait in waits] == [1] * waits_at_once)
            assert await proxy.cut_idle(ending) == waits_at_once
            suspend(2 * HOUR)
            await eventually(lambda: [wait.stats.polls for wait in waits] == [2] * waits_at_once)
            await asyncio.sleep(0.05)
            assert len(server.requests) == 2 * waits_at_once
            assert [wait.stats.retries for wait in waits] == [0] * waits_at_once
            for task in tasks:
                await finish(task)

    async def test_row_119_makes_no_burst_out_of_unused_rate(self):
        async with ScriptedServer(RUNNING) as server, open_session(server.url, max_rate=20) as session:
            await session.get_batch(BATCH_ID)
            suspend(2 * HOUR)
            started = now()
            await asyncio.gather(*(session.get_batch(BATCH_ID) for _ in range(4)))
            assert now() - started >= 2 / 20

    async def test_row_119_ends_a_wait_whose_deadline_was_slept_through(self):
        async with ScriptedServer(RUNNING) as server, open_session(server.url) as session:
            wait = session.wait_for_batch(BATCH_ID, timeout=HOUR, interval=60)
            await anext(wait)
            suspend(2 * HOUR)
            with pytest.raises(WaitTimeoutError):
                await wait
        assert len(server.requests) == 1

    @pytest.mark.parametrize("pooled", [pytest.param(n, id=f"row 119: {n} dead connections") for n in (1, 2, 5)])
    async def test_repeats_for_free_what_finds_its_connection_dead(self, pooled):
        """They look alive until they are used: somebody on the way has forgotten them, and answers with an RST."""
        dying = False
        async with (
            ScriptedServer(RUNNING) as server,
            FaultyProxy(server.host, server.port) as proxy,
            open_session(proxy.url) as session,
        ):
            wait = session.wait_for_batch(BATCH_ID, interval=0.05)
            await asyncio.gather(anext(wait), *(session.get_batch(BATCH_ID) for _ in range(pooled - 1)))
            assert proxy.connections == pooled
            dying = True
            proxy.toxic = lambda _: Toxic(after=0, ending=Ending.RST) if dying else Toxic()
            dying = False
            task = asyncio.create_task(wait)
            await eventually(lambda: wait.stats.polls + wait.stats.retries >= 2)
            await finish(task)
        assert (wait.stats.retries, wait.stats.polls >= 2) == (0, True)
