"""A process that streams, or takes results, with a checkpoint is killed and begun again, losing nothing. Row 170."""

from __future__ import annotations

import math

import pytest

from benchmarks.restarts import Life, Taken, judge, measure


@pytest.mark.slow
@pytest.mark.looptime(False)
@pytest.mark.parametrize(("what", "kills"), [("transitions", 3), ("results", 5)])
async def test_killed_again_and_again_it_loses_nothing(unmeasured, what, kills):
    counts = await measure(kills, seed=1, what=what)
    assert counts["lost"] == 0
    assert counts["kills"] == kills
    assert counts["transitions"] >= counts["items"]


ENDS = {"a": "succeeded"}


class TestJudge:
    def test_is_content_with_a_stream_that_goes_on(self):
        first = Life([Taken(1.0, "a", "None", "queued"), Taken(1.95, "a", "queued", "running")], killed_at=2.0)
        second = Life([Taken(3.0, "a", "queued", "running"), Taken(4.0, "a", "running", "succeeded")], math.inf)
        counts = judge([first, second], ENDS)
        assert (counts["lost"], counts["again"], counts["again though older than 100 ms"]) == (0, 1, 0)

    def test_counts_what_comes_again_though_it_is_old(self):
        first = Life([Taken(1.0, "a", "None", "queued")], killed_at=2.0)
        second = Life([Taken(3.0, "a", "None", "succeeded")], math.inf)
        assert judge([first, second], ENDS)["again though older than 100 ms"] == 1

    @pytest.mark.parametrize(
        "taken",
        [
            [],
            [Taken(1.0, "a", "None", "queued")],
            [Taken(1.0, "a", "None", "queued"), Taken(2.0, "a", "running", "succeeded")],
        ],
        ids=["nothing", "no end", "a gap"],
    )
    def test_counts_what_is_lost(self, taken):
        assert judge([Life(taken, math.inf)], ENDS)["lost"] >= 1
