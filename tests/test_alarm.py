"""Sleeping until an instant or a ring."""

from __future__ import annotations

import asyncio
import math

import pytest

from runflow_async._waits.alarm import Alarm
from tests.virtual import ISOLATED

pytestmark = ISOLATED


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_it_wakes_at_the_instant():
    await Alarm().sleep_until(now() + 5)
    assert now() == pytest.approx(5)


async def test_an_instant_that_has_passed_wakes_at_once():
    await Alarm().sleep_until(-math.inf)
    assert now() == pytest.approx(0)


@pytest.mark.parametrize("until", [5.0, math.inf])
async def test_a_ring_wakes_earlier(until):
    alarm = Alarm()
    asyncio.get_running_loop().call_later(2, alarm.ring)
    await alarm.sleep_until(until)
    assert now() == pytest.approx(2)


async def test_a_ring_without_a_sleeper_is_not_kept():
    alarm = Alarm()
    alarm.ring()
    await alarm.sleep_until(now() + 5)
    assert now() == pytest.approx(5)


async def test_two_rings_wake_once():
    alarm = Alarm()
    asyncio.get_running_loop().call_later(2, alarm.ring)
    asyncio.get_running_loop().call_later(2, alarm.ring)
    await alarm.sleep_until(math.inf)
    await alarm.sleep_until(now() + 5)
    assert now() == pytest.approx(7)


async def test_a_cancelled_sleep_leaves_no_timer():
    """The timer of the sleep that was cut would wake the next one too early."""
    alarm = Alarm()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await alarm.sleep_until(3)
    await alarm.sleep_until(9)
    assert now() == pytest.approx(9)
