"""Every request of a wait is counted as exactly one thing."""

from __future__ import annotations

import asyncio

import pytest

from runflow_async import ServerError, WaitStats
from runflow_async._waits.costs import Costs

FAILED, CUT = ServerError(500), asyncio.CancelledError()


def poll(costs: Costs, error: BaseException, *sent_at: float) -> None:
    costs.__enter__()
    for instant in sent_at:
        costs.count_request(instant)
    costs.__exit__(type(error), error, None)


def test_a_valid_response_is_a_poll():
    costs = Costs()
    with costs:
        costs.count_request(1.0)
    assert costs.stats(7.0) == WaitStats(requests=1, polls=1, elapsed=7.0)


@pytest.mark.parametrize(("error", "counted"), [(FAILED, {"failures": 1}), (CUT, {"cut": 1})])
def test_a_poll_without_one_is_a_failure_or_cut(error, counted):
    costs = Costs()
    poll(costs, error, 1.0)
    assert costs.stats(0.0) == WaitStats(requests=1, **counted)


def test_all_requests_of_a_poll_but_the_last_are_repeats():
    costs = Costs()
    poll(costs, FAILED, 1.0, 2.0, 3.0)
    assert costs.stats(0.0) == WaitStats(requests=3, repeats=2, failures=1)


@pytest.mark.parametrize("error", [FAILED, CUT])
def test_a_poll_that_sent_nothing_counts_as_nothing(error):
    costs = Costs()
    poll(costs, FAILED, 1.0)
    poll(costs, error)
    assert costs.stats(0.0) == WaitStats(requests=1, failures=1)
    assert costs.sent_at is None


def test_age_counts_from_the_first_request():
    costs = Costs()
    assert costs.age(5.0) == 0
    poll(costs, FAILED, 5.0, 6.0)
    poll(costs, FAILED, 9.0)
    assert (costs.age(11.0), costs.sent_at) == (6.0, 9.0)
