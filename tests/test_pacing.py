"""What a strategy of one's own is asked, and how often, while other waits poll the same batch."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from tenacity import wait_chain, wait_combine, wait_exponential, wait_fixed, wait_random, wait_random_exponential

from runflow_async import wait_adaptive
from runflow_async._arguments.strategies import likeness
from tests.virtual import ISOLATED, body, perform, play

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import RetryCallState

    from tests.virtual import VirtualTransport

pytestmark = ISOLATED

RUNNING, SUCCEEDED = body("running", ["running"]), body("succeeded", ["succeeded"])
STEADY = [
    lambda: wait_random(0, 10),
    lambda: wait_fixed(1) + wait_random(0, 8),
    lambda: wait_adaptive(max=30, jitter=0.5),
    lambda: 7,
]
GROWING = [lambda: wait_random_exponential(max=30), lambda: wait_exponential(max=30)]


def ten_minutes() -> VirtualTransport:
    return perform([[(0.0, "running"), (600.0, "succeeded")]])


async def requests(make_interval: Callable[[], object], watchers: int, every: float) -> int:
    """The requests that watchers cost who come one after the other, each with a strategy object of its own."""
    transport = ten_minutes()

    async def watch(number: int) -> None:
        await asyncio.sleep(number * every)
        await transport.wait(interval=make_interval())

    await asyncio.gather(*(watch(number) for number in range(watchers)))
    return len(transport.polled_at)


@pytest.mark.parametrize("make_interval", STEADY + GROWING)
async def test_fifty_equal_watchers_cost_hardly_more_than_one(make_interval):
    random.seed(1)
    alone = sum([await requests(make_interval, 1, 0.0) for _ in range(10)]) / 10
    assert await requests(make_interval, 50, 0.0) <= 1.2 * alone


@pytest.mark.parametrize("make_interval", STEADY)
async def test_watchers_that_come_later_cost_hardly_more_than_their_first_poll(make_interval):
    random.seed(1)
    alone = sum([await requests(make_interval, 1, 0.0) for _ in range(10)]) / 10
    assert await requests(make_interval, 20, 1.3) <= 1.2 * alone + 20


async def test_polls_of_others_are_no_attempts():
    attempts: list[tuple[float, int]] = []

    def strategy(state: RetryCallState) -> float:
        attempts.append((asyncio.get_running_loop().time(), state.attempt_number))
        return 100.0

    await asyncio.gather(ten_minutes().wait(interval=strategy))
    alone = attempts.copy()
    attempts.clear()
    transport = ten_minutes()
    await asyncio.gather(transport.wait(interval=strategy), transport.wait(interval=2))
    assert [number for _, number in attempts] == [number for _, number in alone] == [1, 2, 3, 4, 5, 6]


async def test_a_strategy_that_turns_eager_is_asked_in_time_whoever_polls():
    """Restarting its delay after each poll of another wait does not put off the question for ever."""

    def strategy(state: RetryCallState) -> float:
        return 30.0 if state.attempt_number < 3 else 1.0

    transport = ten_minutes()
    await asyncio.gather(
        transport.wait(interval=strategy, timeout=80), transport.wait(interval=7, timeout=80), return_exceptions=True
    )
    assert transport.polled_at[-10:-1] == [71.0 + n for n in range(9)]


async def test_a_wait_that_is_left_alone_goes_on_at_its_own_pace():
    transport = ten_minutes()
    patient = asyncio.ensure_future(transport.wait(interval=40))
    hasty = asyncio.ensure_future(transport.wait(interval=3))
    await asyncio.sleep(10)
    hasty.cancel()
    await patient
    assert transport.polled_at[:6] == [0.0, 3.0, 6.0, 9.0, 49.0, 89.0]


async def test_the_youngest_of_equal_strategies_sets_their_pace():
    transport = ten_minutes()
    old = asyncio.ensure_future(transport.wait(interval=wait_exponential(max=1000)))
    await asyncio.sleep(64)
    before = len(transport.polled_at)
    young = asyncio.ensure_future(transport.wait(interval=wait_exponential(max=1000)))
    await asyncio.sleep(8)
    assert len(transport.polled_at) - before == 4  # after 0, 1, 2 and 4 seconds
    await asyncio.gather(old, young)


async def test_a_nudge_is_followed_by_the_pace_for_when_no_callback_is_expected():
    transport = play(RUNNING, RUNNING, SUCCEEDED)
    wait = transport.wait(expect_callback=True)
    task = asyncio.ensure_future(wait)
    await asyncio.sleep(5)
    wait.nudge()
    await task
    assert transport.polled_at[1:] == [5.0, pytest.approx(10.0, abs=5.0)]


class TestLikeness:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: wait_random(1, 2),
            lambda: wait_fixed(timedelta(seconds=3)),
            lambda: wait_combine(wait_fixed(1), wait_random(0, 1)),
            lambda: wait_chain(wait_fixed(1), wait_random(0, 1)),
            lambda: wait_adaptive(max=20),
        ],
    )
    def test_is_equal_for_equal_settings(self, make):
        assert likeness(make()) == likeness(make())

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (wait_random(1, 2), wait_random(1, 3)),
            (wait_fixed(1), wait_random(1, 1)),
            (wait_combine(wait_fixed(1), wait_random(0, 1)), wait_combine(wait_fixed(1), wait_random(0, 2))),
            (lambda _: 1.0, lambda _: 1.0),
        ],
    )
    def test_differs_for_others(self, one, other):
        assert likeness(one) != likeness(other)

    def test_of_what_cannot_be_hashed_is_that_of_the_same_object(self):
        class Strategy:
            __hash__ = None

            def __call__(self, _: object) -> float:
                return 1.0

        one = Strategy()
        assert likeness(one) == likeness(one) != likeness(Strategy())
