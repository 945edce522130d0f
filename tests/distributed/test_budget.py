"""A budget that is divided among shards is never overdrawn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from runflow_async.distributed.budget import DELIVERY_SECONDS, LATE_TIMER_FACTOR, LOAN_SECONDS, Budget

RUNS = [f"run {number}" for number in range(5)]
USABLE = (100 - len(RUNS)) / LATE_TIMER_FACTOR


def test_a_budget_is_divided_by_weight():
    lent = Budget(100, 5).lend({"a": 3, "b": 1}, 0.0)
    assert lent["a"].rate == pytest.approx(3 * USABLE / 4)
    assert lent["b"].rate == pytest.approx(USABLE / 4)


def test_a_budget_reserves_one_request_per_second_for_each_shard():
    lent = Budget(100, 5).lend(dict.fromkeys(RUNS, 1), 0.0)
    assert sum(loan.rate * LATE_TIMER_FACTOR + 1 for loan in lent.values()) == pytest.approx(100)


def test_a_share_grows_only_once_another_shard_has_confirmed_less():
    budget = Budget(100, 5)
    first = budget.lend({"a": 1}, 0.0)["a"]
    budget.confirm("a", first.number)
    second = budget.lend({"a": 1, "b": 1}, 0.5)
    assert second["a"].rate == pytest.approx(USABLE / 2)
    assert "b" not in second
    budget.confirm("a", second["a"].number)
    assert budget.lend({"a": 1, "b": 1}, 1.0)["b"].rate == pytest.approx(USABLE / 2)


def test_the_share_of_a_silent_shard_is_free_when_its_loan_is_over():
    budget = Budget(100, 5)
    budget.lend({"a": 1}, 0.0)
    assert budget.lend({"b": 1}, LOAN_SECONDS + DELIVERY_SECONDS - 0.1) == {}
    assert budget.lend({"b": 1}, LOAN_SECONDS + DELIVERY_SECONDS + 0.1)["b"].rate == pytest.approx(USABLE)


def test_the_share_of_a_shard_that_has_ended_is_free_at_once():
    budget = Budget(100, 5)
    budget.lend({"a": 1}, 0.0)
    budget.release("a")
    assert budget.lend({"b": 1}, 0.1)["b"].rate == pytest.approx(USABLE)


def test_remainders_of_rounding_are_not_lent():
    budget = Budget(100, 5)
    for run in "abc":
        budget.lend({run: 7}, 0.0)
    assert all(loan.rate > 0.001 for loan in budget.lend(dict.fromkeys("abcd", 7), 0.5).values())


@given(st.integers(1, 16), st.floats(2, 1000))
def test_every_share_is_above_zero(shards, rate_each):
    lent = Budget(rate_each * shards, shards).lend({str(number): 1 for number in range(shards)}, 0.0)
    assert len(lent) == shards
    assert all(loan.rate > 0 for loan in lent.values())


class Shards(RuleBasedStateMachine):
    """Shards that come, go, hear late or never: whatever each may be using, all together stay within the budget."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget(100, len(RUNS))
        self.now = 0.0
        self.sent: dict[str, list] = {}

    @rule(weights=st.dictionaries(st.sampled_from(RUNS), st.integers(1, 50), min_size=1))
    def lend(self, weights):
        for run, loan in self.budget.lend(weights, self.now).items():
            self.sent.setdefault(run, []).append(loan)

    @rule(run=st.sampled_from(RUNS), data=st.data())
    def hear(self, run, data):
        if loans := self.sent.get(run):
            heard = data.draw(st.sampled_from(loans))
            self.sent[run] = [loan for loan in loans if loan.number >= heard.number]
            self.budget.confirm(run, heard.number)

    @rule(run=st.sampled_from(RUNS))
    def end(self, run):
        self.sent.pop(run, None)
        self.budget.release(run)

    @rule(seconds=st.floats(0.1, 5))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def is_not_overdrawn(self):
        usable = [[loan.rate for loan in loans if loan.ends > self.now] for loans in self.sent.values()]
        assert sum(max(rates, default=0) for rates in usable) <= USABLE + 1e-6


TestShards = Shards.TestCase
