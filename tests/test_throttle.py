"""The pace that all requests share, on a loop whose time jumps."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import pairwise

import pytest

from runflow_async._http.throttle import Throttle
from runflow_async._observing import Observing
from tests.rig import cancel_at_every_suspension
from tests.virtual import ISOLATED

pytestmark = ISOLATED


def now() -> float:
    return asyncio.get_running_loop().time()


async def turns(throttle: Throttle, count: int) -> list[float]:
    """The instants of so many turns that were asked for at once."""
    given = []

    async def take() -> None:
        await throttle.turn()
        given.append(now())

    await asyncio.gather(*(take() for _ in range(count)))
    return given


class Server:
    """Allows `limit` requests in any second and refuses the others."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.let_in: deque[float] = deque()
        self.answers: list[tuple[float, bool]] = []

    def answer(self) -> bool:
        while self.let_in and self.let_in[0] <= now() - 1:
            self.let_in.popleft()
        good = len(self.let_in) < self.limit
        if good:
            self.let_in.append(now())
        self.answers.append((now(), good))
        return good


async def poll_for_ever(throttle: Throttle, server: Server, pause: float) -> None:
    while True:
        await throttle.turn()
        sent = now()
        await asyncio.sleep(0.02)
        if server.answer():
            throttle.answered(now())
        else:
            throttle.refused(sent, now(), None)
        await asyncio.sleep(pause)


async def run(throttle: Throttle, server: Server, pollers: int, pause: float, seconds: float) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(poll_for_ever(throttle, server, pause) for _ in range(pollers)))


async def test_without_a_bound_nobody_waits():
    throttle = Throttle(None)
    assert throttle.is_open
    assert len(set(await turns(throttle, 1000))) == 1


async def test_max_rate_spaces_requests_evenly_and_in_order():
    given = await turns(Throttle(10.0), 21)
    assert given == sorted(given)
    assert given[-1] - given[0] == pytest.approx(2.0, abs=0.05)


async def test_retry_after_holds_everybody_back_up_to_the_maximum():
    throttle = Throttle(None, max_hold=120.0)
    started = now()
    throttle.refused(started, started, 500.0)
    given = await turns(throttle, 5)
    assert given[0] - started == pytest.approx(120, abs=0.01)


async def test_row_146_of_a_limit_nobody_told_most_is_used_and_little_refused():
    """The waits want ten times the limit; steady state is what comes after 10 s."""
    server = Server(50)
    await run(Throttle(None), server, pollers=100, pause=0.2, seconds=60)
    steady = [good for moment, good in server.answers if moment > server.answers[0][0] + 10]
    assert steady.count(False) / len(steady) <= 0.05
    assert steady.count(True) / 50 / 50 >= 0.85


async def test_row_145_one_refusal_slows_everybody_and_is_made_up_for_within_10_s():
    throttle, server = Throttle(None), Server(10**6)
    running = asyncio.create_task(run(throttle, server, pollers=100, pause=1.0, seconds=30))
    await asyncio.sleep(10)
    started = server.answers[0][0]
    throttle.refused(now(), now(), None)
    await running

    def pace(since: float, until: float) -> float:
        return sum(since <= moment - started < until for moment, _ in server.answers) / (until - since)

    assert pace(10, 12) < 0.93 * pace(4, 10)
    assert pace(18, 22) >= 0.9 * pace(4, 10)


async def test_a_learnt_bound_is_forgotten_after_a_quiet_minute():
    throttle = Throttle(None)
    throttle.refused(now(), now(), None)
    assert not throttle.is_open
    await asyncio.sleep(61)
    await throttle.turn()
    assert throttle.is_open


async def test_a_cancelled_turn_goes_to_the_next_one():
    throttle = Throttle(1.0)
    await throttle.turn()
    started = now()
    first, second = (asyncio.create_task(throttle.turn()) for _ in range(2))
    await asyncio.sleep(0.5)
    first.cancel()
    await second
    assert now() - started == pytest.approx(1.0, abs=0.05)
    assert first.cancelled()


async def test_a_turn_cancelled_as_it_is_given_is_not_lost():
    """The first run is cancelled when its turn was there already; the second gets that turn at once."""
    throttle = Throttle(1.0)
    await throttle.turn()
    started = now()
    await cancel_at_every_suspension(throttle.turn, late=True)
    assert now() - started == pytest.approx(1.0, abs=0.05)


class TestAGrant:
    """A part of a budget that somebody else divides."""

    async def test_bounds_the_pace_until_it_is_over(self):
        throttle = Throttle(None)
        throttle.grant(10.0, until=now() + 1.05)
        given = asyncio.create_task(turns(throttle, 30))
        await asyncio.sleep(5)
        assert not given.done()
        throttle.grant(10.0, until=now() + 100)
        instants = await given
        began = instants[0]
        assert sum(instant < began + 1.05 for instant in instants) == 11
        assert sum(began + 1.06 < instant < began + 4.9 for instant in instants) == 0

    async def test_that_is_over_before_it_begins_lets_nothing_through(self):
        throttle = Throttle(None)
        throttle.grant(10.0, until=now() - 1)
        assert not throttle.is_open
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(throttle.turn(), 60)

    async def test_of_more_is_not_as_late_as_a_smaller_one_had_it(self):
        throttle = Throttle(None)
        throttle.grant(0.001, until=now() + 10_000)
        await throttle.turn()
        throttle.grant(10.0, until=now() + 10_000)
        before = now()
        await throttle.turn()
        assert now() - before == pytest.approx(0.1)

    async def test_of_more_or_less_is_reported_and_the_same_is_not(self):
        events = []
        throttle = Throttle(10.0, observing=Observing([events.append]))
        for rate in (10.0, 5.0, 5.0, 20.0, 20.0):
            throttle.grant(rate, until=now() + 100)
        assert [event.rate for event in events] == [5.0, 20.0]

    async def test_of_the_same_brings_no_turn_forward(self):
        throttle = Throttle(None)
        throttle.grant(1.0, until=now() + 100)
        given = asyncio.create_task(turns(throttle, 5))
        for _ in range(20):
            await asyncio.sleep(0.2)
            throttle.grant(1.0, until=now() + 100)
        instants = await given
        assert [later - earlier for earlier, later in pairwise(instants)] == pytest.approx([1.0] * 4, abs=0.021)


async def test_a_refusal_of_somebody_else_slows_this_pace_too_and_is_not_told_again():
    told = []
    throttle = Throttle(100.0)
    throttle.on_refused = told.append
    for _ in range(100):
        throttle.answered(now())
    throttle.slow_down(now(), now(), 2.0)
    assert throttle.rate(now()) < 100.0
    before = now()
    await throttle.turn()
    assert now() - before == pytest.approx(2.0)
    assert told == []
    throttle.refused(now(), now(), None)
    assert told == [None]


async def test_a_refusal_that_holds_longer_is_reported_though_it_slows_nothing_further():
    events = []
    throttle = Throttle(None, observing=Observing([events.append]))
    for retry_after in (5.0, 3.0, 9.0):
        throttle.refused(0.0, 1.0 + retry_after / 10, retry_after)
    await asyncio.sleep(1)
    assert [round(event.held_for) for event in events] == [5, 9]
