"""Whose turn it is among many waits."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from runflow_async._waits.rota import FIRST_POLLS_AT_ONCE, LONGEST_SPREAD_SECONDS, Rota


def waits(count: int, next_at: float = -math.inf, deadline: float = math.inf) -> list:
    return [SimpleIdentity(next_at=next_at, deadline=deadline) for _ in range(count)]


class SimpleIdentity(SimpleNamespace):
    """Of a wait, a rota reads two instants."""

    __hash__ = object.__hash__


def taken(rota: Rota, reached: float) -> list:
    return list(iter(lambda: rota.take_due(reached), None))


def test_the_first_few_are_due_at_once_and_the_others_spread():
    rota, crowd = Rota(), waits(10_000)
    for wait in crowd:
        rota.add(wait)
    assert rota.next_at(has_room=True) == math.inf
    rota.spread_new(7.0)
    assert taken(rota, 7.0) == crowd[:FIRST_POLLS_AT_ONCE]
    assert len(taken(rota, 7.0 + LONGEST_SPREAD_SECONDS / 2)) == pytest.approx(5_000, rel=0.1)
    assert len(taken(rota, 7.0 + LONGEST_SPREAD_SECONDS)) > 0
    assert rota.take_due(1e9) is None


def test_a_wait_has_its_turn_when_it_says_unless_it_is_held():
    rota, (wait,) = Rota(), waits(1, next_at=5.0)
    rota.schedule(wait)
    assert (rota.take_due(4.9), rota.take_due(5.0), rota.take_due(9.0)) == (None, wait, None)
    rota.schedule(wait)
    rota.hold(wait)
    assert rota.take_due(9.0) is None


def test_a_wait_that_was_added_and_has_stepped_is_not_new_any_more():
    rota, (wait,) = Rota(), waits(1, next_at=5.0)
    rota.add(wait)
    rota.schedule(wait)
    rota.spread_new(1.0)
    assert rota.next_at(has_room=True) == 5.0


def test_without_room_only_a_deadline_counts():
    rota, (wait,) = Rota(), waits(1, next_at=5.0, deadline=8.0)
    rota.schedule(wait)
    assert (rota.next_at(has_room=True), rota.next_at(has_room=False)) == (5.0, 8.0)
    assert (rota.take_late(7.9), rota.take_late(8.0)) == (None, wait)
    assert rota.take_due(9.0) is None, "it has its step already"


def test_at_its_deadline_a_wait_in_flight_or_held_has_no_step():
    rota, (flying, held) = Rota(), waits(2, deadline=8.0)
    for wait in (flying, held):
        rota.schedule(wait)
    assert rota.take_due(5.0) is flying
    rota.hold(held)
    assert rota.take_late(8.0) is None


def test_of_a_removed_wait_nothing_is_left():
    rota, (wait,) = Rota(), waits(1, deadline=8.0)
    rota.schedule(wait)
    rota.remove(wait)
    assert (rota.next_at(has_room=True), rota.next_at(has_room=False)) == (math.inf, math.inf)


def test_a_deadline_that_never_comes_takes_no_memory():
    rota, (endless, limited) = Rota(), (waits(1)[0], waits(1, deadline=9.0)[0])
    for wait in (endless, limited):
        rota.schedule(wait)
    assert (endless in rota._deadlines, limited in rota._deadlines) == (False, True)
