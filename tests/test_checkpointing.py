"""What a wait records in its checkpoint and loads from it. The loop's time jumps, and the checkpoint is a list."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from runflow_async import (
    AuthenticationError,
    Batch,
    CheckpointError,
    ConfigurationError,
    ItemTransition,
    SessionClosedError,
    WaitTimeoutError,
)
from runflow_async._arguments.batches import parse_batch_id
from runflow_async._waits.fleet import BatchesWait
from tests.test_fleet import IDS, FleetTransport
from tests.virtual import BATCH_ID, perform

if TYPE_CHECKING:
    from runflow_async._waits.one import BatchWait
    from runflow_async._waits.run import Run

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


def waiting(memory: Memory, transport=None, **keywords) -> BatchWait:
    return (transport or perform(SCRIPT)).wait(interval=0.25, checkpoint=memory, **keywords)


def many(memory: Memory, transport: FleetTransport, **keywords) -> BatchesWait:
    def make(batch_id: UUID | str) -> Run:
        return transport.run(parse_batch_id(batch_id), interval=0.5, checkpoint=memory, **keywords)

    waits = BatchesWait(make, transport.lifetime.scope("the wait for batches"), 4)
    for batch_id in IDS:
        waits.add(batch_id)
    return waits


def tally(transitions) -> Counter:
    return Counter((t.item.sequence_index, t.previous, t.current) for t in transitions)


async def test_a_transition_is_recorded_when_the_consumer_comes_back_for_the_next():
    memory = Memory()
    wait = waiting(memory)
    first = await anext(wait)
    assert memory.recorded == []
    second = await anext(wait)
    assert memory.recorded == [first]
    rest = [t async for t in wait]
    assert memory.recorded == [first, second, *rest]


@pytest.mark.parametrize("taken", range(1, 7))
async def test_a_stream_cut_anywhere_resumes_and_repeats_only_the_last_transition(taken):
    memory, transport = Memory(), perform(SCRIPT)
    whole = tally([t async for t in perform(SCRIPT).wait(interval=0.25)])
    wait = waiting(memory, transport)
    first = [await anext(wait) for _ in range(taken)]
    rest = [t async for t in waiting(memory, transport)]
    again = tally(first) & tally(rest)
    assert tally(first) + tally(rest) == whole + again
    assert again == tally(first[-1:])


async def test_awaiting_records_everything_that_is_pending():
    memory = Memory()
    wait = waiting(memory)
    first = await anext(wait)
    await wait
    assert memory.recorded[0] is first
    assert tally(memory.recorded) == Counter(
        {(0, None, "queued"): 1, (0, "queued", "succeeded"): 1, (1, None, "failed"): 1}
    )
    await wait
    assert len(memory.recorded) == 3
    assert [t async for t in waiting(memory)] == []


async def test_an_await_that_raises_records_nothing_more():
    memory = Memory()
    wait = waiting(memory, perform([[(0.0, "queued"), (99.0, "succeeded")]]), timeout=5)
    first = await anext(wait)
    with pytest.raises(WaitTimeoutError):
        await wait
    assert memory.recorded == [first]


async def test_awaiting_again_retries_a_failed_record():
    memory = Memory()
    wait = waiting(memory)
    memory.full = True
    with pytest.raises(CheckpointError):
        await wait
    memory.full = False
    assert (await wait).is_terminal
    assert len(memory.recorded) == 2


async def test_it_is_loaded_once_and_not_before_the_wait_starts():
    memory = Memory()
    wait = waiting(memory)
    await asyncio.sleep(1)
    assert memory.loads == 0
    await wait
    assert memory.loads == 1


async def test_a_failed_record_is_raised_and_retried_with_the_next_transition():
    memory = Memory()
    wait = waiting(memory)
    first = await anext(wait)
    memory.full = True
    with pytest.raises(CheckpointError):
        await anext(wait)
    memory.full = False
    rest = [t async for t in wait]
    assert memory.recorded == [first, *rest]


async def test_a_cancelled_load_is_repeated():
    memory = Memory()
    wait = waiting(memory)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(wait), 0.005)
    assert (await anext(wait)).previous is None
    assert memory.loads == 1


async def test_many_waits_record_each_of_their_batches():
    memory, transport = Memory(), FleetTransport()
    stream = many(memory, transport)
    first = [await anext(stream) for _ in range(7)]
    await stream.aclose()
    rest = [t async for t in many(memory, transport)]
    seen = Counter((t.batch_id, t.current) for t in [*first, *rest])
    assert set(seen) == {(batch_id, status) for batch_id in IDS for status in ("queued", "running", "succeeded")}
    assert seen.total() == len(seen) + 1


async def test_awaiting_many_records_everything_that_is_pending():
    memory = Memory()
    stream = many(memory, FleetTransport())
    first = await anext(stream)
    assert len(await stream) == len(IDS)
    assert memory.recorded[0] is first
    assert [t async for t in many(memory, FleetTransport())] == []
    assert len(await many(memory, FleetTransport())) == len(IDS)


async def given_by(waits: BatchesWait, most: int = 99) -> list[UUID]:
    """The batches given as completed, the last one of so many only looked at."""
    given = []
    async for wait in waits.as_completed():
        given.append(wait.batch_id)
        if len(given) == most:
            break
    return given


@pytest.mark.parametrize("taken", range(1, 6))
async def test_as_completed_repeats_only_the_batch_at_which_it_was_cut(taken):
    memory = Memory()
    first = await given_by(many(memory, FleetTransport()), taken)
    rest = await given_by(many(memory, FleetTransport()))
    assert Counter(first + rest) == Counter([*IDS, first[-1]])
    assert await given_by(many(memory, FleetTransport())) == []


async def test_as_completed_records_a_batch_when_the_consumer_comes_back_for_the_next():
    memory = Memory()
    completed = many(memory, FleetTransport()).as_completed()
    first = await anext(completed)
    assert memory.recorded == []
    memory.full = True
    with pytest.raises(CheckpointError):
        await anext(completed)
    memory.full = False
    second = await anext(completed)
    assert {t.batch_id for t in memory.recorded} == {first.batch_id}
    assert second is not first


async def test_as_completed_delivers_a_failed_wait_in_every_run():
    memory = Memory()
    for given in (IDS, IDS[:1]):
        transport = FleetTransport(failing={IDS[0]: AuthenticationError(401)})
        assert set(await given_by(many(memory, transport))) == set(given)


async def test_as_completed_delivers_a_failed_wait_whose_batch_an_earlier_run_finished():
    memory = Memory()
    await many(memory, FleetTransport())
    transport = FleetTransport(failing={IDS[0]: AuthenticationError(401)})
    transport.seen.add(IDS[0])
    assert await given_by(many(memory, transport)) == [IDS[0]]


async def test_as_completed_delivers_a_batch_again_whose_wait_failed_after_its_items_had_ended():
    memory = Memory()
    transport = FleetTransport({IDS[0]: [(0.0, "succeeded"), (99.0, "succeeded")]}, {IDS[0]: AuthenticationError(401)})
    assert set(await given_by(many(memory, transport))) == set(IDS)
    assert await given_by(many(memory, FleetTransport())) == [IDS[0]]


async def test_as_completed_delivers_a_finished_batch_that_has_a_new_item():
    memory = Memory()
    await many(memory, FleetTransport())
    memory.recorded = [
        replace(one, item=replace(one.item, id=UUID(int=7))) if one.batch_id == IDS[0] else one
        for one in memory.recorded
    ]
    assert await given_by(many(memory, FleetTransport())) == [IDS[0]]


async def test_coming_back_for_a_batch_records_the_transition_before_it():
    memory = Memory()
    stream = many(memory, FleetTransport())
    first = await anext(stream)
    await anext(stream.as_completed())
    assert memory.recorded == [first]


async def test_as_completed_delivers_what_ended_in_this_run_in_every_iteration():
    waits = many(Memory(), FleetTransport())
    assert await given_by(waits) == await given_by(waits)


@pytest.mark.parametrize(
    "later",
    [
        pytest.param([(0.0, "running"), (1.0, "succeeded")], id="an item changed"),
        pytest.param([(0.0, "running")], id="an item has never ended"),
    ],
)
async def test_as_completed_delivers_a_batch_that_no_run_has_seen_end(later):
    """The first run took a transition, the second one sees the end."""
    memory = Memory()
    scripts = {key: [(0.0, "running"), (5.0, "succeeded")] for key in IDS}
    stream = many(memory, FleetTransport(scripts))
    for _ in IDS:
        await anext(stream)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 1)
    await stream.aclose()
    assert len(memory.recorded) == len(IDS)
    assert set(await given_by(many(memory, FleetTransport(dict.fromkeys(IDS, later))))) == set(IDS)


class Hanging(Memory):
    """Never comes back for some batches."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def load(self, batch_id: UUID) -> Batch | None:
        self.asked.set()
        if batch_id != IDS[-1]:
            await asyncio.get_running_loop().create_future()
        return None


class TestLoading:
    """Of a checkpoint in the first step: row 155."""

    async def test_is_cut_by_the_timeout(self):
        started = asyncio.get_running_loop().time()
        transport = perform(SCRIPT)
        wait = waiting(Hanging(), transport, timeout=5)
        with pytest.raises(WaitTimeoutError, match=r"in 5\.0 s \(checkpoint\.load did not return\)") as caught:
            await wait
        assert asyncio.get_running_loop().time() - started == pytest.approx(5, abs=0.01)
        assert (caught.value.batch_id, caught.value.batch, transport.polled_at) == (BATCH_ID, None, [])
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_counts_towards_the_timeout(self):
        class Slow(Memory):
            async def load(self, batch_id: UUID) -> Batch | None:
                await asyncio.sleep(3)
                return None

        wait = waiting(Slow(), perform([[(0.0, "queued"), (99.0, "succeeded")]]), timeout=5)
        with pytest.raises(WaitTimeoutError):
            await wait
        assert wait.stats.elapsed == pytest.approx(5, abs=0.01)

    @pytest.mark.parametrize("answer", [None, LookupError("cut")])
    async def test_is_cut_by_the_timeout_even_if_the_checkpoint_swallows_the_cancellation(self, answer):
        class Stubborn(Memory):
            async def load(self, batch_id: UUID) -> Batch | None:
                try:
                    await asyncio.sleep(99)
                except asyncio.CancelledError:
                    if answer is not None:
                        raise answer from None
                return None

        transport = perform(SCRIPT)
        with pytest.raises(WaitTimeoutError):
            await waiting(Stubborn(), transport, timeout=5)
        assert transport.polled_at == []
        assert asyncio.current_task().cancelling() == 0

    async def test_raises_a_timeout_of_its_own_unchanged(self):
        class Late(Memory):
            async def load(self, batch_id: UUID) -> Batch | None:
                async with asyncio.timeout(1):
                    await asyncio.sleep(99)

        with pytest.raises(TimeoutError) as caught:
            await waiting(Late(), timeout=5)
        assert not isinstance(caught.value, WaitTimeoutError)

    async def test_may_take_as_long_as_a_request_with_a_timeout_of_zero(self):
        wait = waiting(Hanging(), timeout=0)
        with pytest.raises(WaitTimeoutError, match=r"in 30\.0 s"):
            await wait
        assert wait.stats.elapsed == pytest.approx(30, abs=0.01)
        assert (await waiting(Memory(), perform([[(0.0, "succeeded")]]), timeout=0)).is_terminal

    async def test_does_not_restart_the_timeout_when_it_is_repeated(self):
        wait = waiting(Hanging(), timeout=5)
        for _ in range(4):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(wait), 1)
        assert not wait.done()
        with pytest.raises(WaitTimeoutError):
            await wait
        assert wait.stats.elapsed == pytest.approx(5, abs=0.01)

    async def test_that_hangs_takes_no_place_among_the_polls_in_flight(self):
        """Four of the five hang in the checkpoint, and there is room for four polls at a time."""
        waits = many(Hanging(), FleetTransport(), timeout=500)
        async for wait in waits.as_completed():
            assert wait.batch_id == IDS[-1]
            break
        assert wait.stats.elapsed < 10
        with pytest.raises(ExceptionGroup, match="4 of 5") as caught:
            await waits
        assert {type(error) for error in caught.value.exceptions} == {WaitTimeoutError}
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_is_followed_by_a_bounded_number_of_polls_with_a_timeout_of_zero(self):
        """Their deadline has passed by then, and yet each of them is to be made."""
        transport = FleetTransport({batch_id: [(0.0, "succeeded")] for batch_id in IDS}, roundtrip=1)
        await many(Memory(), transport, timeout=0)
        starts = [now for now, _ in transport.polls]
        assert len(starts) == len(IDS)
        assert sum(start < starts[0] + 1 for start in starts) == 4

    async def test_refuses_anything_but_a_batch(self):
        class Odd(Memory):
            async def load(self, batch_id: UUID) -> Any:
                return {"items": []}

        with pytest.raises(ConfigurationError, match=r"what checkpoint\.load returns must be a Batch, not a dict"):
            await waiting(Odd())

    @pytest.mark.looptime(False)
    async def test_ends_when_the_session_is_closed(self, emulator, session):
        memory = Hanging()
        task = asyncio.create_task(session.wait_for_batch(emulator.create_batch(), checkpoint=memory))
        await memory.asked.wait()
        await session.close()
        with pytest.raises(SessionClosedError):
            await task


async def test_since_and_checkpoint_cannot_be_combined(session):
    with pytest.raises(ConfigurationError, match="checkpoint"):
        session.wait_for_batch(BATCH_ID, since=Batch(id=BATCH_ID), checkpoint=Memory())
    with pytest.raises(ConfigurationError, match="checkpoint"):
        session.wait_for_batches([], since=[Batch(id=BATCH_ID)], checkpoint=Memory())
