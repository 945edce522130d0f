"""What a wait tells its checkpoint and takes from it, on a loop whose time jumps; the checkpoint is a dictionary."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from runflow_async import Batch, CheckpointError, ConfigurationError, ItemTransition
from runflow_async.arguments import parse_batch_id
from runflow_async.fleet import BatchesWait
from tests.test_fleet import IDS, FleetTransport
from tests.virtual import BATCH_ID, perform

if TYPE_CHECKING:
    from uuid import UUID

    from runflow_async.waiting import BatchWait

pytestmark = pytest.mark.looptime

SCRIPT = [[(0.0, "queued"), (1.5, "running"), (3.0, "succeeded")], [(0.0, "queued"), (2.5, "running"), (6.0, "failed")]]


class Memory:
    """A checkpoint that outlives its waits."""

    def __init__(self) -> None:
        self.recorded: list[ItemTransition] = []
        self.loads = 0
        self.full = False

    async def load(self, batch_id: UUID) -> Batch | None:
        await asyncio.sleep(0.01)
        self.loads += 1
        items = {t.item.id: t.item for t in self.recorded if t.batch_id == batch_id}
        return Batch(id=batch_id, items=list(items.values())) if items else None

    def record(self, transition: ItemTransition) -> None:
        if self.full:
            raise CheckpointError("full")
        self.recorded.append(transition)


def waiting(memory: Memory, transport=None) -> BatchWait:
    wait = (transport or perform(SCRIPT)).wait(interval=0.25)
    wait._checkpoint, wait._is_resumed = memory, False
    return wait


def told(transitions) -> Counter:
    return Counter((t.item.sequence_index, t.previous, t.current) for t in transitions)


async def test_what_is_taken_is_recorded_when_the_consumer_comes_back():
    memory = Memory()
    wait = waiting(memory)
    first = await anext(wait)
    assert memory.recorded == []
    second = await anext(wait)
    assert memory.recorded == [first]
    rest = [t async for t in wait]
    assert memory.recorded == [first, second, *rest]


@pytest.mark.parametrize("taken", range(1, 7))
async def test_cut_anywhere_the_stream_goes_on_with_only_the_last_one_again(taken):
    memory, transport = Memory(), perform(SCRIPT)
    whole = told([t async for t in perform(SCRIPT).wait(interval=0.25)])
    wait = waiting(memory, transport)
    first = [await anext(wait) for _ in range(taken)]
    rest = [t async for t in waiting(memory, transport)]
    again = told(first) & told(rest)
    assert told(first) + told(rest) == whole + again
    assert again == told(first[-1:])


async def test_awaiting_takes_nothing():
    memory = Memory()
    await waiting(memory)
    assert memory.recorded == []


async def test_it_is_looked_at_once_and_not_before_the_wait_starts():
    memory = Memory()
    wait = waiting(memory)
    await asyncio.sleep(1)
    assert memory.loads == 0
    await wait
    assert memory.loads == 1


async def test_a_record_that_fails_comes_out_and_is_made_up_for():
    memory = Memory()
    wait = waiting(memory)
    first = await anext(wait)
    memory.full = True
    with pytest.raises(CheckpointError):
        await anext(wait)
    memory.full = False
    rest = [t async for t in wait]
    assert memory.recorded == [first, *rest]


async def test_cancelled_while_it_is_read_the_wait_reads_it_again():
    memory = Memory()
    wait = waiting(memory)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(wait), 0.005)
    assert (await anext(wait)).previous is None
    assert memory.loads == 1


async def test_a_fleet_records_for_each_of_its_batches():
    memory, transport = Memory(), FleetTransport()

    def fleet() -> BatchesWait:
        def make(batch_id: UUID | str) -> BatchWait:
            wait = transport.wait(parse_batch_id(batch_id), interval=0.5)
            wait._checkpoint, wait._is_resumed = memory, False
            return wait

        waits = BatchesWait(make, transport.scope("the wait for batches"), 200)
        for batch_id in IDS:
            waits.add(batch_id)
        return waits

    stream = fleet()
    first = [await anext(stream) for _ in range(7)]
    await stream.aclose()
    rest = [t async for t in fleet()]
    seen = Counter((t.batch_id, t.current) for t in [*first, *rest])
    assert set(seen) == {(batch_id, status) for batch_id in IDS for status in ("queued", "running", "succeeded")}
    assert seen.total() == len(seen) + 1


async def test_since_and_a_checkpoint_together_are_refused(session):
    with pytest.raises(ConfigurationError, match="checkpoint"):
        session.wait_for_batch(BATCH_ID, since=Batch(id=BATCH_ID), checkpoint=Memory())
    with pytest.raises(ConfigurationError, match="checkpoint"):
        session.wait_for_batches([], since=[Batch(id=BATCH_ID)], checkpoint=Memory())
