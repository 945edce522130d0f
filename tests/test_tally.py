"""How far the items of a batch are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runflow_async._answers.tally import Tally, adjust_tally, count_statuses

STATUSES = st.sampled_from(["queued", "running", "odd", "succeeded", "failed", "cancelled"])


def test_an_unknown_status_counts_as_running():
    assert count_statuses(["queued", "running", "odd", "succeeded"]) == Tally(1, 2, 1)


@given(st.lists(st.tuples(STATUSES, STATUSES)))
def test_adjusting_for_changes_comes_to_the_same_as_counting_anew(changes):
    before, after = ([change[place] for change in changes] for place in (0, 1))
    assert adjust_tally(count_statuses(before), changes) == count_statuses(after)
    assert adjust_tally(Tally(0, 0, 0), [(None, status) for status in after]) == count_statuses(after)
