"""A budget that is divided among shards is never overdrawn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from runflow_async.distributed.budget import DELIVERY, LATE, LOAN, Budget

LIVES = [f"life {number}" for number in range(5)]
USABLE = (100 - len(LIVES)) / LATE


def test_is_divided_by_weight():
    lent = Budget(100, 5).lend({"a": 3, "b": 1}, 0.0)
    assert lent["a"].rate == pytest.approx(3 * USABLE / 4)
    assert lent["b"].rate == pytest.approx(USABLE / 4)


def test_keeps_back_what_a_second_may_hold_beyond_the_rate():
    lent = Budget(100, 5).lend(dict.fromkeys(LIVES, 1), 0.0)
    assert sum(loan.rate * LATE + 1 for loan in lent.values()) == pytest.approx(100)


def test_gives_to_one_only_once_another_has_heard_of_less():
    budget = Budget(100, 5)
    first = budget.lend({"a": 1}, 0.0)["a"]
    budget.heard("a", first.number)
    second = budget.lend({"a": 1, "b": 1}, 0.5)
    assert second["a"].rate == pytest.approx(USABLE / 2)
    assert "b" not in second
    budget.heard("a", second["a"].number)
    assert budget.lend({"a": 1, "b": 1}, 1.0)["b"].rate == pytest.approx(USABLE / 2)


def test_gives_what_a_shard_had_that_is_heard_of_no_more_when_its_loan_is_over():
    budget = Budget(100, 5)
    budget.lend({"a": 1}, 0.0)
    assert budget.lend({"b": 1}, LOAN + DELIVERY - 0.1) == {}
    assert budget.lend({"b": 1}, LOAN + DELIVERY + 0.1)["b"].rate == pytest.approx(USABLE)


def test_gives_what_a_shard_had_that_has_ended_at_once():
    budget = Budget(100, 5)
    budget.lend({"a": 1}, 0.0)
    budget.ended("a")
    assert budget.lend({"b": 1}, 0.1)["b"].rate == pytest.approx(USABLE)


def test_lends_no_rest_that_arithmetic_leaves():
    budget = Budget(100, 5)
    for life in "abc":
        budget.lend({life: 7}, 0.0)
    assert all(loan.rate > 0.001 for loan in budget.lend(dict.fromkeys("abcd", 7), 0.5).values())


@given(st.integers(1, 16), st.floats(2, 1000))
def test_is_nothing_below_nothing(shards, rate_each):
    lent = Budget(rate_each * shards, shards).lend({str(number): 1 for number in range(shards)}, 0.0)
    assert len(lent) == shards
    assert all(loan.rate > 0 for loan in lent.values())


class Shards(RuleBasedStateMachine):
    """Shards that come, go, hear late or never: whatever each may be using, all together stay within the budget."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget(100, len(LIVES))
        self.now = 0.0
        self.sent: dict[str, list] = {}

    @rule(weights=st.dictionaries(st.sampled_from(LIVES), st.integers(1, 50), min_size=1))
    def lend(self, weights):
        for life, loan in self.budget.lend(weights, self.now).items():
            self.sent.setdefault(life, []).append(loan)

    @rule(life=st.sampled_from(LIVES), data=st.data())
    def hear(self, life, data):
        if loans := self.sent.get(life):
            heard = data.draw(st.sampled_from(loans))
            self.sent[life] = [loan for loan in loans if loan.number >= heard.number]
            self.budget.heard(life, heard.number)

    @rule(life=st.sampled_from(LIVES))
    def end(self, life):
        self.sent.pop(life, None)
        self.budget.ended(life)

    @rule(seconds=st.floats(0.1, 5))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def is_not_overdrawn(self):
        usable = [[loan.rate for loan in loans if loan.ends > self.now] for loans in self.sent.values()]
        assert sum(max(rates, default=0) for rates in usable) <= USABLE + 1e-6


TestShards = Shards.TestCase
