"""Transitions in lists, one list for each response: the promises are those of one by one."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from itertools import chain

import pytest

from runflow_async import CheckpointError
from runflow_async._waits import many
from tests.test_checkpointing import Memory
from tests.test_fleet import IDS, FleetTransport
from tests.virtual import BATCH_ID, ISOLATED, body, perform, play

pytestmark = ISOLATED

SCRIPT = [[(0.0, "queued"), (1.5, "running"), (3.0, "succeeded")], [(0.0, "queued"), (1.5, "running"), (6.0, "failed")]]
ALL = [
    [(0, "queued"), (1, "queued")],
    [(0, "running"), (1, "running")],
    [(0, "succeeded")],
    [(1, "failed")],
]


BOTH = pytest.mark.parametrize(
    "make", [lambda: perform(SCRIPT).wait(), lambda: FleetTransport().fleet(IDS[:1])], ids=["one", "many"]
)


def shown(transitions) -> list[tuple[int, str]]:
    return [(one.item.sequence_index, one.current) for one in transitions]


async def test_there_is_one_list_for_each_response_that_brings_something():
    wait = perform(SCRIPT).wait(interval=0.25)
    assert [shown(transitions) async for transitions in wait.batched()] == ALL
    assert wait.stats.polls > 2 * len(ALL)
    assert wait.stats.transitions == 6
    assert (await wait).status_code == "succeeded"


async def test_lists_and_single_transitions_can_be_mixed_and_nothing_comes_twice():
    wait = perform(SCRIPT).wait(interval=0.25)
    assert shown([await anext(wait)]) == ALL[0][:1]
    async for transitions in wait.batched():
        assert shown(transitions) == ALL[0][1:]
        break
    assert shown([await anext(wait)]) == ALL[1][:1]
    assert [shown(transitions) async for transitions in wait.batched()] == [ALL[1][1:], *ALL[2:]]


async def test_what_a_wait_has_left_pending_while_it_was_awaited_comes_in_one_list():
    wait = perform(SCRIPT).wait(interval=0.25)
    await wait
    assert [shown(transitions) async for transitions in wait.batched()] == [[(0, "succeeded"), (1, "failed")]]


async def test_a_list_counts_as_delivered_as_a_whole_so_that_another_wait_resumes_after_it():
    wait = perform(SCRIPT).wait(interval=0.25)
    lists = wait.batched()
    assert shown(await anext(lists)) == ALL[0]
    assert [item.status_code for item in wait.delivered.items] == ["queued", "queued"]
    resumed = perform(SCRIPT).wait(interval=0.25, since=wait.delivered)
    assert [shown(transitions) async for transitions in resumed.batched()] == ALL[1:]


async def test_a_list_is_recorded_when_its_consumer_comes_back():
    memory = Memory()
    wait = perform(SCRIPT).wait(interval=0.25, checkpoint=memory)
    lists = wait.batched()
    await anext(lists)
    assert memory.recorded == []
    await anext(lists)
    assert shown(memory.recorded) == ALL[0]


async def test_of_a_list_that_could_not_be_recorded_the_rest_is_recorded_later():
    class Narrow(Memory):
        def record(self, transition) -> None:
            if self.recorded and self.full:
                raise CheckpointError("full")
            super().record(transition) if not self.full else self.recorded.append(transition)

    memory = Narrow()
    memory.full = True
    lists = perform(SCRIPT).wait(interval=0.25, checkpoint=memory).batched()
    await anext(lists)
    for _ in range(2):
        with pytest.raises(CheckpointError):
            await anext(lists)
        assert shown(memory.recorded) == ALL[0][:1]
    memory.full = False
    assert shown(await anext(lists)) == ALL[1]
    assert shown(memory.recorded) == ALL[0]


async def test_a_cancelled_anext_loses_no_list():
    lists = perform(SCRIPT).wait(interval=0.25).batched()
    seen = []
    while len(seen) < len(ALL):
        with suppress(TimeoutError):
            seen.append(shown(await asyncio.wait_for(anext(lists), 0.1)))
    assert seen == ALL
    with pytest.raises(StopAsyncIteration):
        await anext(lists)


async def test_an_anext_that_was_cancelled_before_it_began_loses_nothing():
    """Also one that nobody awaits: nothing is delivered before the first step."""
    wait = perform(SCRIPT).wait(interval=0.25)
    assert shown([await anext(wait)]) == ALL[0][:1]
    task = asyncio.create_task(anext(wait))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    anext(wait).close()
    assert shown([await asyncio.create_task(anext(wait))]) == ALL[0][1:]


@BOTH
async def test_two_tasks_cannot_iterate_it_at_the_same_time(make):
    wait = make()
    lists = wait.batched()
    await anext(lists)
    task = asyncio.create_task(anext(lists))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="two tasks"):
        await anext(wait)
    task.cancel()


@BOTH
async def test_a_closed_wait_has_no_more_lists(make):
    wait = make()
    lists = wait.batched()
    await anext(lists)
    await wait.aclose()
    assert [transitions async for transitions in lists] == []


async def test_each_list_of_many_batches_is_about_one_of_them():
    lists = [transitions async for transitions in FleetTransport().fleet(interval=0.25).batched()]
    assert all(len({one.batch_id for one in transitions}) == 1 for transitions in lists)
    assert all(len({one.observed_at for one in transitions}) == 1 for transitions in lists)
    assert sorted(one.current for one in chain(*lists)) == sorted(["queued", "running", "succeeded"] * len(IDS))


async def test_failures_of_many_batches_are_raised_after_the_last_list():
    transport = FleetTransport(failing={IDS[0]: ValueError("broken")})
    with pytest.raises(ExceptionGroup, match="1 of 5 batches failed"):
        [transitions async for transitions in transport.fleet().batched()]


class TestALongStretch:
    """Hundreds of transitions are pending."""

    def fleet(self):
        transport = play(body("succeeded", ["succeeded"] * 4 * many.MOST_AT_A_STRETCH))
        return FleetTransport.fleet(transport, [BATCH_ID])

    async def test_leaves_the_event_loop_to_others_now_and_then(self):
        turns = 0

        async def take_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        waits = self.fleet()
        await anext(waits)
        other = asyncio.create_task(take_turns())
        assert len([transition async for transition in waits]) == 4 * many.MOST_AT_A_STRETCH - 1
        assert turns >= 3
        other.cancel()

    async def test_loses_nothing_if_it_is_cancelled_in_such_a_pause(self):
        waits, seen = self.fleet(), Counter()
        for _ in range(3):
            arrived = asyncio.Event()
            task = asyncio.create_task(tally(waits, seen, arrived))
            await arrived.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await tally(waits, seen, arrived)
        assert (len(seen), seen.total()) == (4 * many.MOST_AT_A_STRETCH,) * 2

    async def test_ends_if_it_is_closed_in_such_a_pause(self):
        waits, seen, arrived = self.fleet(), Counter(), asyncio.Event()
        task = asyncio.create_task(tally(waits, seen, arrived))
        await arrived.wait()
        await waits.aclose()
        await task
        assert seen.total() < 4 * many.MOST_AT_A_STRETCH


async def tally(waits, seen: Counter, arrived: asyncio.Event) -> None:
    async for transition in waits:
        seen[transition.item.id] += 1
        arrived.set()
