"""The bound on requests in flight follows what comes back, and a slow server keeps working for somebody."""

from __future__ import annotations

import asyncio
import math
from uuid import UUID

import pytest

from runflow_async import OutageError, RunflowSession, TransportError, WaitTimeoutError
from runflow_async._http.throttle import Throttle
from runflow_async._http.turns import Turns
from runflow_async._http.window import Window
from tests.faults.tables import BATCH_ID, GOOD, connect
from tests.rig import ScriptedServer, asked_in, deaf_port, http, json_batch, pause, refused_port


class TestAWindow:
    def test_is_open_at_first(self):
        assert Window(100).size == 100

    def test_is_halved_once_for_all_that_were_in_flight_together(self):
        window = Window(100)
        for sent_at in (0.0, 0.5, 1.0):
            window.overloaded(sent_at, now=1.0 + sent_at)
        assert window.size == 50
        window.overloaded(1.5, now=2.5)
        assert window.size == 25

    def test_leaves_a_few_however_often_it_is_halved(self):
        window = Window(100)
        for now in range(1, 50):
            window.overloaded(now, now=now + 0.5)
        assert window.size == 2

    def test_never_closes_the_only_slot(self):
        window = Window(1)
        window.overloaded(0.0, now=1.0)
        assert window.size == 1

    def test_widens_by_one_for_each_window_of_valid_responses_up_to_the_most(self):
        window = Window(100)
        window.overloaded(0.0, now=1.0)
        for _ in range(51):
            window.answered()
        assert window.size == 51
        for _ in range(10_000):
            window.answered()
        assert window.size == 100


def is_wide(session: RunflowSession) -> bool:
    window = session._transport._turns._window
    return window.size == window.most


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
        assert 10 <= session._transport._turns._window.size < 20


@pytest.mark.looptime
async def test_a_deadline_that_cuts_a_request_short_says_nothing_about_the_server():
    async with ScriptedServer(pause(9) + GOOD) as server, connect(server, request_timeout=30) as session:
        with pytest.raises(WaitTimeoutError):
            await session.wait_for_batch(BATCH_ID, timeout=1)
        assert is_wide(session)


@pytest.mark.looptime
async def test_valid_responses_widen_the_window_of_a_session():
    def answer(number: int) -> object:
        asked = asked_in(server.requests[number - 1])
        return http(503) if number <= 4 else http(200, json_batch(asked, ["running"]))

    async with ScriptedServer(answer) as server, connect(server, max_connections=4) as session:
        waits = [session.wait_for_batch(UUID(int=number), interval=1, timeout=60) for number in range(4)]
        await asyncio.gather(*waits, return_exceptions=True)
        assert is_wide(session)


@pytest.mark.looptime
@pytest.mark.usefixtures("both_lanes")
@pytest.mark.parametrize("request_timeout", [15, 3], ids=["as aiohttp bounds it", "as the request is bounded"])
async def test_a_connection_that_is_not_made_in_time_leaves_the_window_open(request_timeout):
    """Nothing was sent, so the server has nothing of ours in its queue."""
    with deaf_port() as port:
        url = f"http://127.0.0.1:{port}"
        async with RunflowSession("rf_test_key", base_url=url, request_timeout=request_timeout) as session:
            with pytest.raises(OutageError, match="no valid response"):
                await session.wait_for_batch(BATCH_ID, max_outage=60)
            assert is_wide(session)


@pytest.mark.looptime
@pytest.mark.usefixtures("both_lanes")
@pytest.mark.parametrize("host", ["127.0.0.1:{}", "no-such-host.invalid:{}"], ids=["refused", "no such name"])
async def test_a_server_that_is_not_there_leaves_the_window_open(host):
    with refused_port() as port:
        async with RunflowSession("rf_test_key", base_url="https://" + host.format(port)) as session:
            with pytest.raises(OutageError):
                await session.wait_for_batch(BATCH_ID, max_outage=5)
            assert is_wide(session)


@pytest.mark.looptime
@pytest.mark.usefixtures("both_lanes")
@pytest.mark.parametrize(
    "fault", [pause(3) + GOOD, http(200, b"{", length=9) + pause(3)], ids=["before the head", "in the body"]
)
async def test_a_response_that_takes_the_time_of_a_request_narrows_the_window(fault):
    async with ScriptedServer(fault) as server, connect(server, request_timeout=2) as session:
        with pytest.raises(OutageError):
            await session.wait_for_batch(BATCH_ID, max_outage=5)
        assert not is_wide(session)


@pytest.mark.looptime
@pytest.mark.parametrize("status", [500, 502])
async def test_other_failures_of_a_server_leave_the_window_open(status):
    async with ScriptedServer(http(status)) as server, connect(server, max_connections=4) as session:
        with pytest.raises(OutageError):
            await session.wait_for_batch(BATCH_ID, max_outage=0.5)
        assert is_wide(session)


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
async def test_a_window_that_narrows_below_what_is_in_flight_lets_nothing_in():
    turns = Turns(Throttle(None), 4)
    for _ in range(4):
        await turns.take(math.inf, math.inf)
    turns.overloaded(0.0, 1.0)
    with pytest.raises(TransportError):
        await turns.take(asyncio.get_running_loop().time() + 1, math.inf)


@pytest.mark.looptime
async def test_no_slot_in_time_says_how_many_the_window_leaves():
    turns = Turns(Throttle(None), 10)
    turns.overloaded(0.0, 1.0)
    for _ in range(5):
        await turns.take(math.inf, math.inf)
    with pytest.raises(TransportError, match=r"overloaded.* only 5 requests at a time \(max_connections: 10\)"):
        await turns.take(asyncio.get_running_loop().time() + 1, math.inf)


@pytest.mark.looptime
async def test_requests_keep_their_order_when_the_window_narrows():
    turns = Turns(Throttle(None), 4)
    for _ in range(4):
        await turns.take(math.inf, math.inf)
    order: list[int] = []

    async def request(number: int) -> None:
        await turns.take(math.inf, math.inf)
        order.append(number)
        await asyncio.sleep(1)
        turns.give_back()

    tasks = [asyncio.ensure_future(request(number)) for number in range(5)]
    await asyncio.sleep(0)
    turns.give_back()
    turns.overloaded(0.0, 1.0)  # after the first one was given a slot
    for _ in range(3):
        turns.give_back()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]
