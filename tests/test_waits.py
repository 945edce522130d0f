"""The strategies: what `interval=` takes, and how failures are spaced."""

from __future__ import annotations

import pytest
import tenacity

from runflow_async import ConfigurationError, RateLimitError, RetryPolicy, ServerError, wait_adaptive
from runflow_async.waits import PollState, check_strategy, retrying


def state_after(answers: int) -> PollState:
    state = PollState(lambda: None)
    state.attempt_number = answers
    return state


def test_adaptive_intervals_vary_by_the_jitter():
    drawn = [wait_adaptive(jitter=0.1)(state_after(1)) for _ in range(200)]
    assert all(0.9 <= delay <= 1.1 for delay in drawn)
    assert max(drawn) - min(drawn) > 0.1


def test_adaptive_intervals_stay_between_min_and_max():
    for eagerness in (0.01, 1.0, 100.0):
        drawn = [wait_adaptive(min=0.7, max=0.9, eagerness=eagerness)(state_after(1)) for _ in range(50)]
        assert all(0.7 <= delay <= 0.9 for delay in drawn)


@pytest.mark.parametrize(
    "keywords", [{"min": 0}, {"max": 0.1}, {"jitter": -1}, {"jitter": 1}, {"min": True}, {"eagerness": 0}]
)
def test_adaptive_refuses_bounds_that_make_no_sense(keywords):
    with pytest.raises(ConfigurationError):
        wait_adaptive(**keywords)


def test_a_number_is_a_fixed_interval_and_none_the_adaptive_one():
    assert check_strategy(3)(state_after(7)) == 3.0
    assert isinstance(check_strategy(None), wait_adaptive)
    mine = tenacity.wait_chain(tenacity.wait_fixed(1))
    assert check_strategy(mine) is mine


@pytest.mark.parametrize("interval", [0, -1, float("inf"), True, "2", tenacity.wait_fixed, object()])
def test_anything_else_is_refused(interval):
    with pytest.raises(ConfigurationError, match="interval"):
        check_strategy(interval)


@pytest.mark.parametrize("answer", [-1.0, float("nan"), float("inf"), None, "1"])
def test_a_strategy_has_to_answer_with_seconds(answer):
    with pytest.raises(ConfigurationError, match="interval strategy"):
        state_after(1).delay(lambda _: answer)


def test_a_state_before_the_first_answer_has_no_outcome():
    assert state_after(0).outcome is None


@pytest.mark.parametrize(
    "keywords", [{"attempts": 0}, {"attempts": True}, {"attempts": 2.5}, {"wait_initial": 0}, {"wait_max": "9"}]
)
def test_a_policy_refuses_values_that_make_no_sense(keywords):
    with pytest.raises(ConfigurationError):
        RetryPolicy(**keywords)


async def delays_of(error: Exception, policy: RetryPolicy) -> list[float]:
    delays = []

    async def note(delay: float) -> None:
        delays.append(delay)

    async def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        await retrying(policy, max_retry_after=120.0, sleep=note)(fail)
    return delays


async def test_backoff_is_full_jitter_from_a_second_to_the_cap():
    runs = [await delays_of(ServerError(503), RetryPolicy(attempts=9)) for _ in range(60)]
    for attempt in range(8):
        bound = min(2.0**attempt, 32.0)
        drawn = [run[attempt] for run in runs]
        assert max(drawn) <= bound
        assert min(drawn) < 0.3 * bound < 0.7 * bound < max(drawn)


async def test_retry_after_stands_in_for_the_backoff_with_a_tenth_of_jitter():
    for asked, least in [(7.0, 7.0), (500.0, 120.0)]:
        delays = await delays_of(RateLimitError(429, retry_after=asked), RetryPolicy())
        assert all(least <= delay <= 1.1 * least for delay in delays)


async def test_a_foreign_error_is_never_retried():
    assert await delays_of(KeyError("mine"), RetryPolicy()) == []
