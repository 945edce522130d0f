"""The bound on requests in flight follows what comes back, and a slow server keeps working for somebody."""

from __future__ import annotations

import asyncio
import math
from uuid import UUID

import pytest

from runflow_async import OutageError, TransportError, WaitTimeoutError
from runflow_async._http.throttle import Throttle
from runflow_async._http.turns import Turns
from runflow_async._http.window import LEAST_IN_FLIGHT, Window
from tests.faults.tables import BATCH_ID, GOOD, connect
from tests.rig import ScriptedServer, asked_in, http, json_batch, pause


class TestAWindow:
    def test_is_open_at_first(self):
        assert Window(100).closed == 0

    def test_is_halved_once_for_all_that_were_in_flight_together(self):
        window = Window(100)
        for sent_at in (0.0, 0.5, 1.0):
            window.overloaded(sent_at, now=1.0 + sent_at)
        assert window.closed == 50
        window.overloaded(1.5, now=2.5)
        assert window.closed == 75

    def test_leaves_a_few_however_often_it_is_halved(self):
        window = Window(100)
        for now in range(1, 50):
            window.overloaded(now, now=now + 0.5)
        assert window.closed == 100 - LEAST_IN_FLIGHT

    def test_never_closes_the_only_slot(self):
        window = Window(1)
        window.overloaded(0.0, now=1.0)
        assert window.closed == 0

    def test_widens_by_one_for_each_window_of_valid_responses_up_to_the_most(self):
        window = Window(100)
        window.overloaded(0.0, now=1.0)
        for _ in range(51):
            window.answered()
        assert window.closed == 49
        for _ in range(10_000):
            window.answered()
        assert window.closed == 0


@pytest.mark.looptime
async def test_slots_beyond_the_window_are_had_again_when_it_widens():
    turns = Turns(Throttle(None), 10)
    turns.overloaded(0.0, 1.0)
    in_flight = most = 0

    async def request() -> None:
        nonlocal in_flight, most
        await turns.take(math.inf, math.inf)
        in_flight += 1
        most = max(most, in_flight)
        await asyncio.sleep(1)
        in_flight -= 1
        turns.give_back()

    await asyncio.gather(*(request() for _ in range(30)))
    assert most == 5
    for _ in range(1000):
        turns.answered()
    await asyncio.gather(*(request() for _ in range(30)))
    assert most == 10


@pytest.mark.looptime
@pytest.mark.parametrize(
    "refusal", [http(503), http(504), pause(3) + GOOD], ids=["503", "504", "no answer in the time of a request"]
)
async def test_a_session_sends_fewer_at_once_after(refusal):
    def answer(number: int) -> object:
        asked = asked_in(server.requests[number - 1])
        return refusal if number <= 20 else pause(0.1) + http(200, json_batch(asked, ["succeeded"], "succeeded"))

    async with ScriptedServer(answer) as server, connect(server, max_connections=20, request_timeout=2) as session:
        waits = [session.wait_for_batch(UUID(int=n), interval=1) for n in range(20)]
        await asyncio.gather(*waits)
        assert 0 < session._transport._turns._window.closed <= 10


@pytest.mark.looptime
async def test_a_deadline_that_cuts_a_request_short_says_nothing_about_the_server():
    async with ScriptedServer(pause(9) + GOOD) as server, connect(server, request_timeout=30) as session:
        with pytest.raises(WaitTimeoutError):
            await session.wait_for_batch(BATCH_ID, timeout=1)
        assert session._transport._turns._window.closed == 0


@pytest.mark.looptime
async def test_valid_responses_widen_the_window_of_a_session():
    def answer(number: int) -> object:
        asked = asked_in(server.requests[number - 1])
        return http(503) if number <= 4 else http(200, json_batch(asked, ["running"]))

    async with ScriptedServer(answer) as server, connect(server, max_connections=4) as session:
        waits = [session.wait_for_batch(UUID(int=number), interval=1, timeout=60) for number in range(4)]
        await asyncio.gather(*waits, return_exceptions=True)
        assert session._transport._turns._window.closed == 0


@pytest.mark.looptime
@pytest.mark.parametrize("status", [500, 502])
async def test_other_failures_of_a_server_leave_the_window_open(status):
    async with ScriptedServer(http(status)) as server, connect(server, max_connections=4) as session:
        with pytest.raises(OutageError):
            await session.wait_for_batch(BATCH_ID, max_outage=5)
        assert session._transport._turns._window.closed == 0


@pytest.mark.looptime
async def test_a_window_that_narrows_by_several_holds_back_as_many_slots():
    turns = Turns(Throttle(None), 16)
    turns.overloaded(0.0, 1.0)
    turns.overloaded(2.0, 3.0)
    tasks = [asyncio.ensure_future(turns.take(math.inf, math.inf)) for _ in range(16)]
    await asyncio.sleep(1)
    assert sum(task.done() for task in tasks) == 4
    for task in tasks:
        task.cancel()


@pytest.mark.looptime
async def test_no_slot_in_time_says_how_many_the_window_leaves():
    turns = Turns(Throttle(None), 10)
    turns.overloaded(0.0, 1.0)
    for _ in range(5):
        await turns.take(math.inf, math.inf)
    with pytest.raises(TransportError, match="all 5 were in use"):
        await turns.take(asyncio.get_running_loop().time() + 1, math.inf)
