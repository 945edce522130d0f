"""What `interval=` takes, and what a strategy sees and may answer."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import tenacity

from runflow_async import ConfigurationError, wait_adaptive
from runflow_async._answers.tally import Tally
from runflow_async._arguments.strategies import parse_interval
from runflow_async._progress import FIRST_INTERVAL
from runflow_async.schedules import PollState


def state_after(answers: int) -> PollState:
    state = PollState(lambda: None)
    state.attempt_number = answers
    return state


def test_an_estimate_is_made_when_a_strategy_looks_at_it_from_the_latest_of_equal_counts_and_all_earlier_ones(
    monkeypatch,
):
    noted, observed = [], []
    monkeypatch.setattr("runflow_async.schedules.Progress.note", lambda _, now, tally: noted.append((now, tally)))
    monkeypatch.setattr("runflow_async.schedules.Progress.observe", lambda _, now, tally: observed.append((now, tally)))
    state, first, second = PollState(lambda: None), Tally(0, 3, 0), Tally(0, 2, 1)
    for now, tally in ((1.0, first), (2.0, None), (3.0, first), (4.0, second), (5.0, second)):
        state.answered(now, tally)
    assert (noted, observed) == ([(3.0, first)], [])
    _ = state.progress, state.progress
    assert (noted, observed) == ([(3.0, first)], [(5.0, second)])


def test_adaptive_intervals_vary_by_the_jitter():
    drawn = [wait_adaptive(jitter=0.1)(state_after(1)) for _ in range(200)]
    assert all(0.9 <= delay / FIRST_INTERVAL <= 1.1 for delay in drawn)
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


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"eagerness": 0}, "eagerness must be a finite number, more than 0, not 0.0"),
        ({"eagerness": "2"}, "eagerness must be a number, not a str"),
        ({"jitter": -0.1}, "jitter must be a finite number, 0 or more, not -0.1"),
        ({"jitter": 1}, "jitter must be less than 1, not 1"),
        ({"min": 0}, "min must be a finite number of seconds, more than 0, not 0.0"),
        ({"max": None}, "max must be a number of seconds or a timedelta, not None"),
        ({"max": 0.1}, "max (0.1 s) must not be less than min (0.5 s)"),
    ],
)
def test_adaptive_says_what_each_argument_must_be(keywords, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        wait_adaptive(**keywords)


needs_wait_exception = pytest.mark.skipif(
    not hasattr(tenacity, "wait_exception"), reason="tenacity has none before 9.1"
)


@needs_wait_exception
@pytest.mark.parametrize(
    "combine",
    [
        lambda strategy: strategy,
        lambda strategy: strategy + tenacity.wait_random(0, 1),
        lambda strategy: tenacity.wait_chain(tenacity.wait_fixed(1), strategy),
        lambda strategy: tenacity.wait_combine(tenacity.wait_chain(tenacity.wait_fixed(1) + strategy)),
    ],
    ids=["alone", "in a sum", "in a chain", "deep inside"],
)
def test_a_strategy_that_looks_at_an_exception_is_refused_because_there_is_none(combine):
    strategy = combine(tenacity.wait_exception(lambda _: 1.0))
    with pytest.raises(ConfigurationError, match="wait_exception finds no exception: pass a strategy of time"):
        parse_interval(strategy)


async def _late(_: tenacity.RetryCallState) -> float:
    return 1.0


def test_an_async_function_inside_a_combined_strategy_is_refused():
    with pytest.raises(ConfigurationError, match="and a plain `def`"):
        parse_interval(tenacity.wait_fixed(1) + _late)


@pytest.mark.parametrize(
    "delay", [timedelta(seconds=1.5), Decimal("1.5"), Fraction(3, 2), np.float64(1.5), np.float32(1.5)]
)
def test_a_strategy_may_answer_with_any_length_of_time(delay):
    chosen = state_after(1).delay(lambda _: delay)
    assert chosen == 1.5
    assert type(chosen) is float


def test_a_number_is_a_fixed_interval_and_none_the_adaptive_one():
    assert parse_interval(3)(state_after(7)) == 3.0
    assert parse_interval(None) is None
    mine = tenacity.wait_chain(tenacity.wait_fixed(1))
    assert parse_interval(mine) is mine


@pytest.mark.parametrize("interval", [0, -1, float("inf"), True, "2", tenacity.wait_fixed, object()])
def test_anything_else_is_refused(interval):
    with pytest.raises(ConfigurationError, match="interval"):
        parse_interval(interval)


@pytest.mark.parametrize("answer", [-1.0, float("nan"), float("inf"), None, "1"])
def test_a_strategy_has_to_answer_with_seconds(answer):
    with pytest.raises(ConfigurationError, match="interval strategy"):
        state_after(1).delay(lambda _: answer)


def test_a_state_before_the_first_answer_has_no_outcome():
    assert state_after(0).outcome is None
