"""When a wait expects its batch to end: honest about what it does not know, and as good as is measured."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from benchmarks.estimates import estimates_of, share_inside
from benchmarks.schedule import UNSEEN, draw_traces
from runflow_async import wait_adaptive
from runflow_async._answers.tally import Tally
from runflow_async._forecasts import Forecast, combine
from runflow_async._progress import Progress
from runflow_async._waits.estimates import estimate_end
from runflow_async._waits.fleet import BatchesWait
from tests.virtual import BATCH_ID, ISOLATED, perform

ROUNDS = [[(0.0, "queued"), (20.0 * one, "running"), (20.0 * one + 20, "succeeded")] for one in range(10)]


async def begun(wait, seconds: float) -> asyncio.Task:
    task = asyncio.ensure_future(wait)
    await asyncio.sleep(seconds)
    return task


async def dropped(task: asyncio.Task) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def left(estimate) -> tuple[float, float, float]:
    now = datetime.now(UTC)
    return tuple((one - now).total_seconds() for one in (estimate.earliest, estimate.ends_at, estimate.latest))


@ISOLATED
class TestOneWait:
    async def test_knows_nothing_before_it_began_nor_before_an_item_has_ended_nor_after_its_end(self):
        wait = perform(ROUNDS).wait(interval=1)
        assert wait.estimate() is None
        task = await begun(wait, 15)
        assert wait.estimate() is None
        await task
        assert wait.estimate() is None

    @pytest.mark.parametrize("interval", [None, 1, 5, wait_adaptive(max=30)])
    async def test_expects_the_end_about_when_it_comes_whatever_the_interval(self, interval):
        wait = perform(ROUNDS).wait(interval=interval)
        task = await begun(wait, 110)
        earliest, expected, latest = left(wait.estimate())
        assert earliest < 90 < latest
        assert 0 < earliest < expected < latest
        assert 60 < expected < 120
        await dropped(task)

    async def test_says_since_when_nothing_has_changed(self):
        wait = perform(ROUNDS).wait(interval=1)
        task = await begun(wait, 95.5)
        since = (datetime.now(UTC) - wait.estimate().unchanged_since).total_seconds()
        assert since == pytest.approx(15.5, abs=1.1)
        await dropped(task)

    async def test_never_expects_the_end_in_the_past(self):
        steps = [[(0.0, "running"), (5.0, "succeeded")], [(0.0, "running"), (3000.0, "succeeded")]]
        wait = perform(steps).wait(interval=600)
        task = await begun(wait, 1100)
        assert min(left(wait.estimate())) > -1
        await dropped(task)

    async def test_looking_changes_no_poll(self):
        polled_at = []
        for looks in (False, True):
            transport = perform(ROUNDS)
            wait = transport.wait(interval=wait_adaptive(jitter=0))
            async for _ in wait:
                looks and wait.estimate()
            polled_at.append(transport.polled_at)
        assert polled_at[0] == pytest.approx(polled_at[1])


@ISOLATED
class TestManyWaits:
    async def test_end_with_the_last_and_are_unknown_while_one_is(self):
        slow = [[(0.0, "queued"), (50.0 * one, "running"), (50.0 * one + 50, "succeeded")] for one in range(10)]
        waits = [perform(timelines).wait(interval=1) for timelines in (ROUNDS, slow)]
        pollings = [wait._run.polling for wait in waits]
        tasks = [await begun(wait, 0) for wait in waits]
        assert estimate_end(pollings) is None
        await asyncio.sleep(30)
        assert waits[0].estimate() is not None
        assert estimate_end(pollings) is None
        await asyncio.sleep(90)
        assert left(estimate_end(pollings))[1] == pytest.approx(left(waits[1].estimate())[1], rel=0.05)
        await tasks[0]
        assert left(estimate_end(pollings)) == pytest.approx(left(waits[1].estimate()), rel=0.01)
        await dropped(tasks[1])

    async def test_have_an_estimate_as_one_has(self):
        transport = perform(ROUNDS)
        make, scope = lambda batch_id: transport.run(batch_id, interval=1), transport.lifetime.scope("the wait")
        waits = BatchesWait(make, scope, 4)
        assert waits.estimate() is None
        wait = waits.add(BATCH_ID)
        task = await begun(waits, 110)
        assert left(waits.estimate()) == pytest.approx(left(wait.estimate()), abs=0.1)
        await task
        assert waits.estimate() is None


def test_many_equal_batches_end_later_than_each_of_them():
    one = Forecast(0.0, 50.0, 60.0, 80.0)
    assert combine([one], 0.0) == one
    for number in (3, 10, 1000):
        together = combine([one] * number, 0.0)
        assert together.expected > one.expected
        assert together.latest > one.latest
    assert combine([one, Forecast(0.0, 500.0, 600.0, 800.0)], 0.0).expected == pytest.approx(600.0, rel=0.01)


def test_a_batch_whose_items_have_all_ended_ends_now():
    progress = Progress()
    progress.observe(5.0, Tally(0, 0, 3))
    assert progress.forecast == Forecast(5.0, 5.0, 5.0, 5.0)


@pytest.mark.parametrize("counts", [(0, 0, 0), (5, 0, 0), (0, 5, 0), (2, 5, 3)])
def test_counts_at_one_instant_say_nothing_about_the_end(counts):
    progress = Progress()
    progress.observe(5.0, Tally(*counts))
    assert progress.forecast is None


def test_ends_lie_within_the_spread_as_often_as_the_documentation_says():
    found = estimates_of(draw_traces(UNSEEN, 300), wait_adaptive(), UNSEEN)
    assert share_inside(found[0.25]) > 0.35
    assert 0.6 < share_inside(found[0.5]) < 0.9
    assert 0.7 < share_inside(found[0.75]) < 0.9
