"""The belief about a batch's end, on counts at instants: no loop, no clock."""

from __future__ import annotations

import asyncio
import math
from itertools import product

import pytest
import tenacity
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.schedule import (
    SHORT_ITEMS,
    SHORT_SECONDS,
    UNSEEN,
    allowed_lateness,
    draw_traces,
    follow,
    peers,
    run,
    short,
    summary,
)
from runflow_async import wait_adaptive
from runflow_async._answers.tally import Tally
from runflow_async._progress import Progress
from runflow_async.schedules import PollState
from tests.virtual import ISOLATED, perform


def watched(*tallies: tuple[float, int, int, int]) -> Progress:
    """A progress that has seen (instant, waiting, running, finished)."""
    progress = Progress()
    for instant, *counts in tallies:
        look(progress, instant, *counts)
    return progress


def look(progress: Progress, now: float, *counts: int, longest: float = 10.0) -> float:
    """What a wait does with each answer: take it in, ask when to look again."""
    progress.observe(now, Tally(*counts))
    return progress.delay(now, longest, 1.0)


def steady(finished: int, total: int = 40, workers: int = 4, each: float = 20.0) -> Progress:
    """Items of one length on a few workers, looked at each second until so many have ended."""
    progress = Progress()
    for second in range(int(finished / workers * each) + 1):
        ended = workers * int(second / each)
        look(progress, float(second), max(0, total - ended - workers), min(workers, total - ended), ended)
    return progress


def test_far_from_the_end_it_polls_as_seldom_as_it_may():
    assert steady(8).delay(40.0, 10.0, 1.0) == 10.0


def test_close_to_the_end_it_polls_densely():
    assert steady(36).delay(198.0, 10.0, 1.0) < 2.5


def test_right_after_the_last_items_began_it_waits_for_most_of_their_time():
    assert steady(36).delay(181.0, 60.0, 1.0) > 10


def test_an_item_that_should_have_ended_is_asked_for_more_and_more_rarely():
    """A straggler, or a fleet that stands still: from the last item's usual time on, intervals grow without end."""
    progress = steady(36)
    delays = [look(progress, 200.0 + late, 0, 1, 39, longest=100.0) for late in (1, 30, 200, 1000, 5000)]
    assert delays == sorted(delays)
    assert delays[0] < 5
    assert delays[-1] > 20


def test_a_fleet_that_resumes_is_believed_again():
    progress = steady(20)
    look(progress, 1000.0, 16, 4, 20)
    for second in range(1000, 1100):
        ended = min(39, 20 + 4 * ((second - 1000) // 20))
        look(progress, float(second), max(0, 36 - ended), min(4, 40 - ended), ended)
    assert progress.delay(1099.0, 60.0, 1.0) < 15


def test_while_nothing_has_begun_intervals_grow_slowly():
    progress = watched((0.0, 8, 0, 0))
    delays = [progress.delay(now, 1000.0, 1.0) for now in (0.0, 10.0, 100.0, 1000.0)]
    assert delays == sorted(delays)
    assert delays[-1] < 500


def test_asked_again_it_says_the_same():
    """It learns from answers alone: a strategy that asks twice, or not at all, leaves the belief as it is."""
    progress, twin = [watched((0.0, 0, 4, 0), (12.0, 0, 4, 0), (20.0, 0, 2, 2)) for _ in range(2)]
    asked = [progress.delay(now, 60.0, 1.0) for now in (20.0, 25.0, 20.0, 25.0)]
    assert asked[:2] == asked[2:]
    for each in (progress, twin):
        each.observe(26.0, Tally(0, 1, 3))
    assert progress.delay(26.0, 60.0, 1.0) == twin.delay(26.0, 60.0, 1.0)


def test_eagerness_makes_intervals_shorter():
    delays = [steady(36).delay(195.0, 10.0, eagerness) for eagerness in (0.3, 1.0, 3.0, 10.0)]
    assert delays == sorted(delays, reverse=True)
    assert delays[0] > 2 * delays[-1]


def test_items_that_burst_home_at_once_are_learnt_from():
    progress = watched((0.0, 0, 50, 0), (10.0, 0, 50, 0), (20.0, 0, 50, 0), (21.0, 0, 2, 48))
    assert progress.delay(21.0, 60.0, 1.0) < 3


@pytest.mark.parametrize(
    "tallies",
    [
        [(0.0, 0, 0, 0)],
        [(0.0, 0, 0, 5)],
        [(0.0, 5, 0, 0), (1.0, 0, 0, 5)],
        [(0.0, 0, 5, 0), (0.0, 0, 5, 0)],
        [(0.0, 0, 3, 2), (1.0, 4, 5, 0), (2.0, 0, 0, 3), (3.0, 9, 9, 9)],
        [(0.0, 10**6, 10**6, 0), (1e-9, 10**6, 0, 10**6), (1e9, 0, 10**6, 10**6)],
    ],
    ids=["no items", "all ended", "all at once", "no time", "counts that contradict", "very many, very long"],
)
def test_odd_counts_still_give_a_delay(tallies):
    progress = watched(*tallies)
    for now in (tallies[-1][0], tallies[-1][0] + 1e7):
        assert 0 <= progress.delay(now, 10.0, 1.0) <= 10.0


COUNTS = st.integers() | st.sampled_from([0, 1, -1, 2**53, 2**62, 2**63 - 2, 2**63 - 1, -(2**63), 10**400])
GAPS = st.floats(0, 1e9) | st.sampled_from([0.0, 0.05, 1.0])


@settings(deadline=None)
@given(
    looks=st.lists(st.tuples(GAPS, COUNTS, COUNTS, COUNTS), max_size=12),
    longest=st.floats(1e-9, 1e9),
    eagerness=st.floats(1e-6, 1e6),
)
@example(looks=[(0.05, 0, 2**63 - 1 - ended, ended) for ended in (1, 2**60, 2**60)], longest=0.05, eagerness=1.0)
def test_no_counts_whatever_spoil_the_arithmetic(looks, longest, eagerness):
    """They are the server's, and only help the schedule."""
    progress, now = Progress(), 1000.0
    for gap, *counts in looks:
        now += gap
        progress.observe(now, Tally(*counts))
        assert 0 <= progress.delay(now, longest, eagerness) <= longest


@pytest.mark.parametrize("count", [1, 50, 10_000])
def test_items_of_exactly_one_length_do_not_overflow(count):
    progress = Progress()
    for second in range(1, 200):
        progress.observe(float(second), Tally(0, 0 if second % 2 else count, count * (second // 2)))
    progress.observe(1e9, Tally(0, count, count * 99))
    assert 0 < progress.delay(2e9, 10.0, 1.0) <= 10.0


@settings(derandomize=True, deadline=None, database=None)
@given(age=st.floats(0, 1e12), eagerness=st.floats(5e-324, 1e308))
def test_any_eagerness_leaves_an_interval_within_the_bounds(age, eagerness):
    state = PollState(lambda: None)
    state.start_time = 0.0
    state.answered(age, Tally(3, 2, 1))
    assert 0.5 <= state.delay(wait_adaptive(eagerness=eagerness)) <= 10.0


def test_items_that_begin_and_end_between_two_polls_have_the_duration_of_littles_law():
    """Eight at a time, eight of which ended within 4 s: 4 s each."""
    progress = watched((0.0, 32, 0, 0), (4.0, 16, 8, 8))
    assert math.exp(progress._durations._sum / progress._durations.count) == pytest.approx(4.0)


def test_items_that_all_begin_and_end_between_two_polls_took_a_third_of_the_interval():
    progress = watched((0.0, 8, 0, 0), (6.0, 4, 0, 4))
    assert math.exp(progress._durations._sum / progress._durations.count) == pytest.approx(2.0)


@ISOLATED
class TestWaits:
    async def test_learn_for_themselves_where_they_share_a_strategy(self):
        """A batch of another pace in between changes nothing."""
        strategy = wait_adaptive(jitter=0)
        timelines = [[(0.0, "queued"), (5.0 * n, "running"), (5.0 * n + 20, "succeeded")] for n in range(8)]
        alone, shared = perform(timelines), perform(timelines)
        await alone.wait(interval=wait_adaptive(jitter=0))
        other = perform([[(0.0, "running"), (0.1 * n, "failed")] for n in range(30)], ended=90.0)
        await asyncio.gather(shared.wait(interval=strategy), other.wait(interval=strategy))
        assert shared.polled_at == pytest.approx(alone.polled_at)

    async def test_never_let_a_transition_grow_older_than_max(self):
        transport = perform([[(0.0, "running"), (600.0, "succeeded")]])
        await transport.wait(interval=wait_adaptive(max=7))
        gaps = [b - a for a, b in zip(transport.polled_at, transport.polled_at[1:], strict=False)]
        assert max(gaps) <= 7.001
        assert min(gaps) >= 0.499

    async def test_see_a_short_batch_soon(self):
        transport = perform([[(0.0, "running"), (0.4, "succeeded")]] * 24)
        wait = transport.wait()
        await wait
        assert wait.stats.elapsed < 1.2

    async def test_know_the_counts_where_no_items_are_told(self):
        from tests.virtual import VirtualTransport, body

        def answer(now: float, _number: int) -> bytes:
            done = min(10, int(now / 10))
            counts = {"items_total": 10, "items_succeeded": done, "items_failed": 0, "items_cancelled": 0}
            return body("succeeded" if done == 10 else "running", None, **counts)

        transport = VirtualTransport(answer)
        await transport.wait()
        assert transport.polled_at[-1] < 107


NARROW = {(seconds, items) for seconds in (2.0, 3.0) for items in (1, 3)}


class TestShortBatches:
    """In virtual time: how late the end is seen in the median, and with how many requests.

    Whoever sees the end of a batch of 0.5 s by 1.125 s has polled twice by then and needs a third poll for one of 2 s,
    where a poll every 2 s happens to come at the very end. That third poll may come until 3.0 s; a batch of 3 s allows
    no fourth, so that it must not come before. One instant is left, and only many draws can tell on which side.
    """

    @pytest.mark.parametrize(("seconds", "items"), sorted(set(product(SHORT_SECONDS, SHORT_ITEMS)) - NARROW))
    def test_are_seen_in_time_with_no_more_requests_than_every_2_s(self, seconds, items):
        ours = short(wait_adaptive(), seconds, items, batches=300)
        assert ours["late"] <= allowed_lateness(seconds)
        assert ours["requests"] <= 1 + math.ceil(seconds / 2) + (seconds == 2)

    @pytest.mark.parametrize(("seconds", "items"), sorted(NARROW))
    def test_of_2_s_and_3_s_are_seen_about_in_time_by_about_the_third_poll(self, seconds, items):
        ours = short(wait_adaptive(), seconds, items, batches=300)
        assert ours["late"] <= allowed_lateness(seconds) * 1.05
        assert ours["requests_mean"] <= 3.6

    @pytest.mark.slow
    @pytest.mark.parametrize(("seconds", "items"), sorted(NARROW))
    def test_of_2_s_and_3_s_are_seen_in_time_by_the_third_poll(self, seconds, items):
        ours = short(wait_adaptive(), seconds, items)
        assert ours["late"] <= allowed_lateness(seconds)
        assert ours["requests"] <= 3


def test_the_default_costs_at_most_36_requests_and_is_at_most_2_5_s_late():
    ours = summary(run(draw_traces(UNSEEN), wait_adaptive(), UNSEEN))
    assert ours["requests"] <= 36
    assert ours["late"] <= 2.5


def test_intervals_grow_with_the_square_root_of_the_age_while_nothing_is_known():
    progress = watched((0.0, 0, 1, 0))
    assert [progress.longest_interval(age, 1) for age in (0, 10, 40)] == pytest.approx([1.05, 4.93, 9.69], abs=0.01)
    assert [progress.longest_interval(age, 0.5) for age in (0, 10)] == pytest.approx([2.1, 9.86], abs=0.01)


def test_eagerness_shortens_the_first_interval_and_leaves_the_later_ones_to_the_belief():
    progress = watched((0.0, 0, 1, 0))
    assert progress.longest_interval(0, 4) == pytest.approx(1.05 / 4)
    assert progress.longest_interval(40, 4) == pytest.approx(progress.longest_interval(40, 1), rel=0.01)


def test_what_has_not_begun_is_waited_for_longer():
    assert watched((0.0, 1, 0, 0)).longest_interval(10, 1) > watched((0.0, 0, 1, 0)).longest_interval(10, 1) + 2


def test_outside_of_a_wait_it_grows_with_the_time():
    """In a user's own tenacity loop nothing is known but how long it takes."""
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    delays = []
    for seconds in (0.0, 10.0, 90.0):
        state.outcome_timestamp = state.start_time + seconds
        state.outcome = tenacity.Future.construct(1, None, False)
        delays.append(wait_adaptive(jitter=0)(state))
    assert delays == pytest.approx([1.0, math.sqrt(11), math.sqrt(91)])


def test_a_state_keeps_little():
    """Counts, not items: a hundred items cost no more than one."""
    state = PollState(lambda: None)
    for second in range(300):
        state.answered(float(second), Tally(max(0, 100 - second), min(second, 10), max(0, second - 110)))
    assert len(state.progress._cohorts) <= 8


@pytest.mark.slow
def test_no_peers_default_beats_ours_in_both_on_batches_unseen_in_tuning():
    traces = draw_traces(seed=3, batches=150)
    ours = summary(run(traces, wait_adaptive(), seed=3))
    for name, (strategy, longest) in peers().items():
        theirs = summary(run(traces, strategy, seed=3)) if longest > 0.5 else {"requests": math.inf, "late": 0.0}
        assert theirs["requests"] > ours["requests"] or theirs["late"] > ours["late"], name


def test_half_as_late_as_growing_intervals_at_equal_requests():
    traces = draw_traces(seed=3, batches=150)
    theirs = summary(run(traces, peers()["google-api-core sync: U(0, 1.5ⁿ ≤ 20)"][0], seed=3))
    ours = summary(run(traces, wait_adaptive(max=20, eagerness=1.2), seed=3))
    assert ours["requests"] <= theirs["requests"]
    assert ours["late"] <= 0.5 * theirs["late"]


def test_a_followed_batch_ends_when_its_last_item_does():
    (trace,) = draw_traces(seed=5, batches=1)
    outcome = follow(trace, tenacity.wait_fixed(0.1))
    assert 0.07 <= outcome.late <= 0.35
