"""What a failed poll means for its wait, and how retries are spaced."""

from __future__ import annotations

import pytest

from runflow_async import (
    ConfigurationError,
    MalformedResponseError,
    NotFoundError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    TransportError,
)
from runflow_async._observing import Call
from runflow_async._verdict import Verdict
from runflow_async._waits.retries import Retries, RetryWorthwhile, verdict_of

FINAL, SUSPECT, TRANSIENT = Verdict.FINAL, Verdict.SUSPECT, Verdict.TRANSIENT


@pytest.mark.parametrize(
    ("polls", "age", "verdict"),
    [
        (0, 0.0, TRANSIENT),
        (0, 2.99, TRANSIENT),
        (0, 3.0, FINAL),
        (0, 60.0, FINAL),
        (1, 0.0, SUSPECT),
        (9, 60.0, SUSPECT),
    ],
)
def test_not_found_is_judged_by_what_the_wait_knows_of_the_batch(polls, age, verdict):
    """At first not every replica has the batch; after a valid response, one replica may lag behind."""
    error = NotFoundError(404)
    assert verdict_of(error, polls, age) is verdict
    assert error.verdict is FINAL


@pytest.mark.parametrize("polls", [0, 1])
@pytest.mark.parametrize("error", [ServerError(500), TransportError("gone"), MalformedResponseError("cut")], ids=repr)
def test_every_other_error_keeps_its_own_verdict(error, polls):
    assert verdict_of(error, polls, 10.0) is error.verdict


@pytest.mark.parametrize(
    ("verdicts", "allowed"),
    [
        ([FINAL], [False]),
        ([TRANSIENT] * 9, [True] * 9),
        ([SUSPECT] * 3, [True, True, False]),
        ([SUSPECT, SUSPECT, TRANSIENT, SUSPECT, SUSPECT, SUSPECT], [True] * 5 + [False]),
    ],
)
def test_the_third_suspect_answer_in_a_row_is_final(verdicts, allowed):
    worthwhile = RetryWorthwhile()
    assert [worthwhile.allows(verdict) for verdict in verdicts] == allowed


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
        await Retries(policy, 120.0).engine("it", Call(None)).copy(sleep=note)(fail)
    return delays


async def test_backoff_is_full_jitter_from_a_second_to_the_cap():
    runs = [await delays_of(ServerError(503), RetryPolicy(attempts=9)) for _ in range(60)]
    for attempt in range(8):
        bound = min(2.0**attempt, 32.0)
        drawn = [run[attempt] for run in runs]
        assert max(drawn) <= bound
        assert min(drawn) < 0.3 * bound < 0.7 * bound < max(drawn)


async def test_retry_after_stands_in_for_the_backoff_with_a_tenth_of_jitter():
    for seconds, least in [(7.0, 7.0), (500.0, 120.0)]:
        delays = await delays_of(RateLimitError(429, retry_after=seconds), RetryPolicy())
        assert all(least <= delay <= 1.1 * least for delay in delays)


async def test_a_foreign_error_is_never_retried():
    assert await delays_of(KeyError("mine"), RetryPolicy()) == []


def test_a_retry_after_is_capped_and_none_is_no_delay():
    retries = Retries(RetryPolicy(), 120.0)
    assert [retries.cap(asked) for asked in (None, 7.0, 500.0)] == [0.0, 7.0, 120.0]
