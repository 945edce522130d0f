"""The timetable of a fleet: pure, no loop."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from runflow_async._waits.timetable import Timetable


def drain(timetable) -> list[str]:
    keys = []
    while timetable.next_at < math.inf:
        keys.append(timetable.pop())
    return keys


def test_gives_the_earliest_first_and_ties_in_the_order_of_entering():
    timetable = Timetable()
    for key, instant in [("c", 2.0), ("a", 1.0), ("b", 1.0)]:
        timetable.enter(key, instant)
    assert timetable.next_at == 1.0
    assert drain(timetable) == ["a", "b", "c"]


def test_a_new_entry_replaces_the_old_one():
    timetable = Timetable()
    for instant in (5.0, 1.0, 3.0):
        timetable.enter("a", instant)
    timetable.enter("b", 2.0)
    assert drain(timetable) == ["b", "a"]


def test_the_same_instant_again_keeps_the_place_in_the_order():
    timetable = Timetable()
    for key in ("a", "b", "a"):
        timetable.enter(key, 1.0)
    assert drain(timetable) == ["a", "b"]


def test_what_is_discarded_does_not_come():
    timetable = Timetable()
    timetable.enter("a", 1.0)
    timetable.enter("b", 2.0)
    timetable.discard("a")
    timetable.discard("unknown")
    assert "a" not in timetable
    assert "b" in timetable
    assert drain(timetable) == ["b"]


@given(st.lists(st.tuples(st.integers(0, 9), st.one_of(st.none(), st.integers(0, 99))), max_size=300))
def test_holds_at_most_twice_its_live_entries_and_gives_each_once(steps):
    """None discards; whatever is entered and replaced, the heap does not grow beyond twice what is in it."""
    timetable, model = Timetable(), {}
    for key, instant in steps:
        if instant is None:
            timetable.discard(key)
            model.pop(key, None)
        else:
            timetable.enter(key, float(instant))
            model[key] = instant
        assert len(timetable._heap) <= 2 * len(model)
        assert timetable.next_at == min(model.values(), default=math.inf)
    given_out = drain(timetable)
    assert sorted(given_out) == sorted(model)
    assert [model[key] for key in given_out] == sorted(model.values())
