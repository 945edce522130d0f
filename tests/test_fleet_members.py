"""A fleet and its members: closed, used elsewhere, and taken by one face after the other."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from runflow_async import AuthenticationError, WaitClosedError
from tests.test_fleet import IDS, FleetTransport
from tests.virtual import ISOLATED

if TYPE_CHECKING:
    from uuid import UUID

pytestmark = ISOLATED

ENDLESS = {batch_id: [(0.0, "queued"), (1e6, "succeeded")] for batch_id in IDS}


async def collect(aiterator) -> list:
    return [one async for one in aiterator]


async def within(seconds: float, awaitable):
    """The outcome, or the error; what hangs is a failure of its own."""
    async with asyncio.timeout(seconds):
        return await awaitable


class TestClosed:
    """Row 149."""

    @pytest.fixture
    async def fleet(self):
        fleet = FleetTransport(ENDLESS).fleet(interval=3600, timeout=None)
        await anext(fleet)
        return fleet

    async def test_awaited_it_raises_at_once(self, fleet):
        await fleet.aclose()
        with pytest.raises(WaitClosedError):
            await within(1, fleet)

    async def test_taken_as_completed_it_raises_at_once(self, fleet):
        completed = fleet.as_completed()
        await fleet.aclose()
        for _ in range(2):
            with pytest.raises(WaitClosedError):
                await within(1, anext(completed))

    async def test_iterated_it_is_over(self, fleet):
        await fleet.aclose()
        assert await within(1, collect(fleet)) == []

    @pytest.mark.parametrize("take", [lambda fleet: fleet, lambda fleet: anext(fleet.as_completed())])
    async def test_a_task_that_is_pending_gets_the_error(self, fleet, take):
        pending = asyncio.ensure_future(take(fleet))
        await asyncio.sleep(10)
        await fleet.aclose()
        with pytest.raises(WaitClosedError):
            await within(1, pending)

    async def test_all_of_its_members_closed_it_raises_at_once(self, fleet):
        for wait in fleet.waits.values():
            await wait.aclose()
        with pytest.raises(WaitClosedError):
            await within(1, fleet)

    async def test_each_closed_member_is_given_as_completed(self, fleet):
        pending = asyncio.ensure_future(collect(fleet.as_completed()))
        await asyncio.sleep(1)
        for wait in fleet.waits.values():
            await wait.aclose()
        assert await within(1, pending) == list(fleet.waits.values())

    async def test_some_members_closed_are_failures_among_the_others(self):
        fleet = FleetTransport().fleet(interval=1)
        await anext(fleet)
        await fleet.waits[IDS[1]].aclose()
        with pytest.raises(ExceptionGroup, match="1 of 5") as caught:
            await within(60, fleet)
        assert [error.batch_id for error in caught.value.exceptions] == [IDS[1]]

    async def test_after_its_end_it_still_gives_the_batches(self):
        fleet = FleetTransport().fleet(interval=1)
        batches = await fleet
        await fleet.aclose()
        assert await within(1, fleet) == batches
        assert await within(1, collect(fleet.as_completed())) == fleet.ended

    async def test_what_had_ended_before_is_still_given_as_completed(self):
        fleet = FleetTransport(ENDLESS | {IDS[2]: [(0.0, "succeeded")]}).fleet(interval=1)
        await within(9, anext(fleet.as_completed()))
        await fleet.aclose()
        completed = fleet.as_completed()
        assert (await anext(completed)).batch_id == IDS[2]
        with pytest.raises(WaitClosedError):
            await within(1, anext(completed))


class TestAMemberUsedElsewhere:
    """Row 150."""

    @pytest.mark.parametrize("use", [lambda wait: wait, collect], ids=["awaited", "iterated"])
    @pytest.mark.parametrize("take", [lambda fleet: fleet, collect, lambda fleet: collect(fleet.as_completed())])
    async def test_that_ended_after_a_break_is_no_longer_waited_for(self, use, take):
        fleet = FleetTransport().fleet(interval=1)
        async for _ in fleet:
            break
        for batch_id in IDS:
            await within(60, use(fleet.waits[batch_id]))
        await within(60, take(fleet))
        assert len(fleet.ended) == len(IDS)

    async def test_that_failed_elsewhere_is_one_of_the_failures(self):
        fleet = FleetTransport(failing={IDS[0]: AuthenticationError(401)}).fleet(interval=1)
        async for _ in fleet:
            break
        with pytest.raises(AuthenticationError):
            await fleet.waits[IDS[0]]
        with pytest.raises(ExceptionGroup, match="1 of 5"):
            await within(60, fleet)

    async def test_its_end_in_another_task_ends_the_fleet(self):
        """The other task takes its step while the fleet sleeps, which sees the end at once."""
        fleet = FleetTransport({IDS[0]: [(0.0, "queued"), (5.0, "succeeded")]}).fleet(IDS[:1], interval=600)
        pending = asyncio.ensure_future(fleet)
        await asyncio.sleep(6)
        wait = fleet.waits[IDS[0]]
        wait._run.polling.agenda.due = asyncio.get_running_loop().time()  # as for a poll of its own
        await wait._run.step()
        batches = await within(1, pending)
        assert batches == [wait.result()]

    async def test_its_transitions_of_a_poll_elsewhere_are_delivered(self):
        fleet = FleetTransport().fleet(IDS[:1], interval=1)
        await anext(fleet)
        await fleet.waits[IDS[0]]
        got = await within(60, collect(fleet))
        assert [(t.previous, t.current) for t in got] == [("queued", "succeeded")]

    @pytest.mark.parametrize("roundtrip", [0.01, 30.0], ids=["between its polls", "in its request"])
    @pytest.mark.parametrize("take", [lambda fleet: fleet, collect, lambda fleet: collect(fleet.as_completed())])
    async def test_at_the_same_time_is_an_error_of_one_of_them(self, take, roundtrip):
        transport = FleetTransport(ENDLESS, roundtrip=roundtrip)
        fleet = transport.fleet(IDS[:1], interval=2)
        own = asyncio.ensure_future(fleet.waits[IDS[0]])
        await asyncio.sleep(1)
        with pytest.raises(RuntimeError, match="two tasks"):
            await within(60, take(fleet))
        assert len(transport.polls) <= 2
        own.cancel()
        with suppress(asyncio.CancelledError):
            await own

    async def test_at_the_same_time_does_not_spoil_the_fleet(self):
        fleet = FleetTransport().fleet(interval=1)
        own = asyncio.ensure_future(fleet.waits[IDS[0]])
        await asyncio.sleep(0.5)
        with pytest.raises(RuntimeError, match="two tasks"):
            await fleet
        await own
        assert [batch.id for batch in await within(60, fleet)] == IDS

    async def test_a_cancellation_that_nobody_asked_for_ends_its_wait(self):
        """Such as of `until`; to poll again at once would flood the server."""

        def until(_batch):
            raise asyncio.CancelledError

        transport = FleetTransport(ENDLESS)
        with pytest.raises(ExceptionGroup) as caught:
            await within(60, transport.fleet(IDS[:1], until=until))
        assert isinstance(caught.value.exceptions[0].__cause__, asyncio.CancelledError)
        assert len(transport.polls) == 1


async def cut(awaitable, seconds=1.7) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await awaitable


class Consumer:
    """Takes a fleet by one face after the other, and keeps the transitions that it gets."""

    def __init__(self, fleet) -> None:
        self.fleet = fleet
        self.got = []

    async def awaits(self) -> None:
        await cut(self.fleet)

    async def takes_one_completed(self) -> None:
        with suppress(StopAsyncIteration):
            await cut(anext(self.fleet.as_completed()))

    async def takes_all_completed(self) -> None:
        await cut(collect(self.fleet.as_completed()))

    async def iterates(self) -> None:
        async def take() -> None:
            async for transition in self.fleet:
                self.got.append(transition)  # what came before it was cut is the point

        await cut(take())

    async def iterates_some(self) -> None:
        async for transition in self.fleet:
            self.got.append(transition)
            if len(self.got) % 3 == 0:
                break

    async def awaits_a_member(self) -> None:
        await cut(self.fleet.waits[IDS[1]])

    async def iterates_a_member(self) -> None:
        async def take() -> None:
            async for transition in self.fleet.waits[IDS[0]]:
                self.got.append(transition)  # as above

        await cut(take())


FACES = [name for name in vars(Consumer) if not name.startswith("_")]


@pytest.mark.parametrize("length", [2, pytest.param(3, marks=pytest.mark.slow)])
async def test_in_every_order_of_its_faces_each_transition_is_delivered_once(length):
    """Row 151: whatever was cut or left before, an iteration delivers what came in meanwhile."""
    for faces in itertools.product(FACES, repeat=length):
        await check_order(faces)


async def check_order(faces) -> None:
    scripts = {batch_id: [(0.0, "queued"), (n + 0.9, "running"), (n + 1.8, "failed")] for n, batch_id in enumerate(IDS)}
    fleet = FleetTransport(scripts).fleet(interval=0.5)
    consumer = Consumer(fleet)
    for face in faces:
        await within(60, getattr(consumer, face)())
    consumer.got += await within(60, collect(fleet))
    known: dict[UUID, str | None] = dict.fromkeys(IDS)
    for transition in consumer.got:
        assert transition.previous == known[transition.batch_id], faces
        assert transition.previous != transition.current, faces
        known[transition.batch_id] = transition.current
    assert set(known.values()) == {"failed"}, faces
    assert [wait.delivered.items[0].status_code for wait in fleet.waits.values()] == ["failed"] * len(IDS), faces
