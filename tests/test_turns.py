"""Slots for requests in flight: in order, at the session's rate, and none is lost."""

from __future__ import annotations

import asyncio
import math

import pytest

from runflow_async import RateLimitError, TransportError
from runflow_async._http.throttle import LATENESS_SECONDS, Throttle
from runflow_async._http.turns import Turns
from tests.virtual import ISOLATED

pytestmark = ISOLATED


def now() -> float:
    return asyncio.get_running_loop().time()


async def take(turns: Turns, limit: float = math.inf, deadline: float = math.inf) -> float:
    """Take a turn for a request of one second; return when it began."""
    await turns.take(limit, deadline)
    began = now()
    try:
        await asyncio.sleep(1)
    finally:
        turns.give_back()
    return began


async def test_requests_beyond_the_slots_wait_for_one_in_order():
    turns = Turns(Throttle(None), 2)
    began = now()
    starts = await asyncio.gather(*(take(turns) for _ in range(5)))
    assert [start - began for start in starts] == [0, 0, 1, 1, 2]


async def test_a_free_slot_is_taken_at_the_rate():
    turns = Turns(Throttle(4.0), 100)
    began = now()
    starts = await asyncio.gather(*(take(turns) for _ in range(4)))
    assert [start - began for start in starts] == pytest.approx([0, 0.25, 0.5, 0.75], abs=1.5 * LATENESS_SECONDS)


@pytest.mark.parametrize("rate", [None, 0.2], ids=["waiting for a slot", "waiting for the rate"])
async def test_a_cancelled_request_leaves_its_slot_to_the_next_one(rate):
    turns = Turns(Throttle(rate), 1)
    first, cancelled, last = (asyncio.create_task(take(turns)) for _ in range(3))
    await asyncio.sleep(1.5 if rate else 0.5)
    cancelled.cancel()
    await asyncio.wait({first, cancelled, last})
    assert cancelled.cancelled()
    assert await last - await first == pytest.approx(5 if rate else 1, abs=1.5 * LATENESS_SECONDS)


async def test_no_slot_in_time_says_that_all_were_in_use():
    turns = Turns(Throttle(None), 1)
    holder = asyncio.create_task(take(turns))
    await asyncio.sleep(0)
    began = now()
    with pytest.raises(TransportError, match=r"every connection that this session may use \(1\)"):
        await take(turns, limit=began + 0.5)
    assert now() - began == pytest.approx(0.5)
    await holder


@pytest.mark.parametrize("slots", [1, 100])
async def test_no_turn_in_time_is_blamed_on_the_rate_also_where_it_keeps_the_slots_busy(slots):
    turns = Turns(Throttle(0.1), slots)
    await take(turns)
    queueing = asyncio.create_task(take(turns))
    await asyncio.sleep(0)
    with pytest.raises(TransportError, match="the session's rate"):
        await take(turns, limit=now() + 0.5)
    await queueing


async def test_a_retry_after_beyond_the_deadline_is_raised_at_once():
    throttle = Throttle(None)
    turns = Turns(throttle, 1)
    throttle.refused(now(), now(), 60.0)
    began = now()
    with pytest.raises(RateLimitError, match=r"holds every request of this session for 60\.0 s more") as caught:
        await take(turns, deadline=began + 30)
    assert (caught.value.retry_after, now()) == (60.0, began)
    await take(turns, deadline=began + 90)
    assert now() - began == 61


async def test_a_retry_after_that_outlasts_the_limit_is_named():
    throttle = Throttle(None)
    throttle.refused(now(), now(), 60.0)
    with pytest.raises(TransportError, match="Retry-After holds every request"):
        await take(Turns(throttle, 1), limit=now() + 1)


async def test_an_error_says_that_the_rate_gave_no_turn_in_time():
    turns = Turns(Throttle(0.1), 5)
    await turns.take(math.inf, math.inf)
    await turns.take(math.inf, math.inf)
    with pytest.raises(TransportError, match="the session's rate"):
        await turns.take(now() + 1, math.inf)
