"""Nudges, room in a fleet, and what a dropped wait leaves behind."""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
import weakref
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from runflow_async import WaitTimeoutError
from runflow_async._waits.registry import Registry
from runflow_async._waits.run import Run
from runflow_async.emulator import faults
from tests.test_fleet import FleetTransport
from tests.virtual import ISOLATED

if TYPE_CHECKING:
    from types import FrameType

    from runflow_async import BatchWait

IDS = [UUID(int=number + 1) for number in range(40)]
ENDLESS = {batch_id: [(0.0, "queued"), (1e6, "succeeded")] for batch_id in IDS}


class HoldingTransport(FleetTransport):
    """Good answers of all batches but the first ask not to be polled for a while."""

    async def get(self, path, **keywords):
        reply = await super().get(path, **keywords)
        if not path.endswith(str(IDS[0])):
            reply.retry_after = 100.0
        return reply


@pytest.fixture
async def polling():
    """Iterates fleets in tasks of their own, which end with the test."""
    tasks = []

    def start(fleet) -> asyncio.Task:
        async def take() -> None:
            async for _ in fleet:
                pass

        tasks.append(asyncio.ensure_future(take()))
        return tasks[-1]

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@ISOLATED
class TestWhatIsNotDueTakesNoRoom:
    """Row 152."""

    async def test_batches_that_the_server_holds_are_nudged_and_the_others_keep_their_pace(self, polling):
        transport = HoldingTransport(ENDLESS, roundtrip=0.0)
        fleet = transport.fleet(IDS, max_flights=4, interval=1, timeout=None)
        polling(fleet)
        await asyncio.sleep(10.5)
        for batch_id in IDS[1:]:
            assert fleet.waits[batch_id].nudge()
        before = len(transport.polls)
        await asyncio.sleep(10)
        assert Counter(batch_id for _, batch_id in transport.polls[before:]) == {IDS[0]: 10}

    async def test_a_nudged_batch_is_polled_as_soon_as_the_server_allows(self, polling):
        transport = HoldingTransport(ENDLESS, roundtrip=0.0)
        fleet = transport.fleet(IDS[:2], interval=3600, timeout=None)
        polling(fleet)
        await asyncio.sleep(10)
        assert fleet.waits[IDS[1]].next_poll_at == pytest.approx(asyncio.get_running_loop().time() + 3590)
        fleet.waits[IDS[1]].nudge()
        assert fleet.waits[IDS[1]].next_poll_at == pytest.approx(asyncio.get_running_loop().time() + 90)
        await asyncio.sleep(91)
        assert [round(now) for now, batch_id in transport.polls if batch_id == IDS[1]] == [0, 100]

    async def test_a_timeout_holds_though_there_is_no_room_for_a_poll(self, polling):
        """All the room is taken by requests that last; the waits that were due meanwhile end when their time is up."""
        transport = FleetTransport(ENDLESS, roundtrip=0.0)
        fleet = transport.fleet(IDS, max_flights=4, interval=1, timeout=20)
        polling(fleet)
        await asyncio.sleep(5)
        transport.roundtrip = 1000.0
        await asyncio.sleep(14.9)
        assert not fleet.ended
        await asyncio.sleep(0.5)  # the first polls were spread over 80 ms
        in_flight = 4
        assert len(fleet.ended) == len(IDS) - in_flight
        assert {type(wait.exception()) for wait in fleet.ended} == {WaitTimeoutError}


@ISOLATED
class TestNudges:
    """Row 153."""

    async def test_in_a_storm_are_one_poll_and_leave_nothing(self, polling):
        transport = FleetTransport(ENDLESS, roundtrip=0.1)
        fleet = transport.fleet(IDS, interval=60, timeout=None)
        polling(fleet)
        await asyncio.sleep(10)
        before = len(transport.polls)
        for _ in range(100):
            for wait in fleet.waits.values():
                wait.nudge()
        assert len(fleet._rota._polls._heap) <= 2 * len(IDS)
        await asyncio.sleep(1)
        assert Counter(batch_id for _, batch_id in transport.polls[before:]) == dict.fromkeys(IDS, 1)

    async def test_while_nobody_polls_leave_nothing_either(self):
        transport = FleetTransport(ENDLESS)
        fleet = transport.fleet(IDS, interval=60, timeout=None)
        async for _ in fleet:
            break
        await asyncio.sleep(1)
        for _ in range(100):
            for wait in fleet.waits.values():
                wait.nudge()
            await asyncio.sleep(0.01)
        assert len(fleet._rota._polls._heap) <= 2 * len(IDS)

    async def test_during_a_poll_are_one_more_poll(self, polling):
        transport = FleetTransport(ENDLESS, roundtrip=5.0)
        fleet = transport.fleet(IDS[:1], interval=60, timeout=None)
        polling(fleet)
        await asyncio.sleep(2)
        for _ in range(100):
            fleet.waits[IDS[0]].nudge()
        await asyncio.sleep(50)
        assert [round(now) for now, _ in transport.polls] == [0, 5]


async def test_a_nudge_reaches_every_wait_for_the_batch_and_no_other(emulator, session):
    mine, other = emulator.create_batch(duration=99), emulator.create_batch(duration=99)
    waits = [session.wait_for_batch(batch_id, interval=60) for batch_id in (mine, mine, other)]
    fleet = session.wait_for_batches([mine], interval=60)
    for wait in (*waits, fleet):
        await anext(wait)
    due = [wait.next_poll_at for wait in (*waits, fleet.waits[mine])]
    assert session.nudge(mine) is True
    later = [wait.next_poll_at for wait in (*waits, fleet.waits[mine])]
    assert [new < old for new, old in zip(later, due, strict=True)] == [True, True, False, True]


async def test_a_nudge_costs_nothing_for_the_waits_of_other_batches(emulator, session, monkeypatch):
    """It finds the waits by their batch, and does not look through those of others."""
    waits = [session.wait_for_batch(UUID(int=number % 3)) for number in range(30)]
    nudged = []
    monkeypatch.setattr(Run, "nudge", lambda run: nudged.append(run.batch_id) or True)
    session.nudge(UUID(int=1))
    assert nudged == [UUID(int=1)] * 10
    for wait in waits:
        wait.close()


class TestFreedMeanwhile:
    """The collector may free a wait between any two steps of the registry's own."""

    class Freeing:
        """Drops what it holds as soon as a function of the registry has run so many lines."""

        def __init__(self, held: list[BatchWait], lines: int) -> None:
            self.held = held
            self.lines = lines

        def __call__(self, frame: FrameType, _event: str, _argument: object) -> Any:
            if not frame.f_code.co_filename.endswith("registry.py") or frame.f_code.co_name == "_forget":
                return None
            self.lines -= 1
            if self.lines == 0:
                self.held.clear()
            return self

    @pytest.fixture
    def traced(self):
        before = sys.gettrace()
        yield lambda held, lines: sys.settrace(self.Freeing(held, lines))
        sys.settrace(before)

    @pytest.mark.parametrize("lines", range(1, 9))
    async def test_others_of_its_batch_are_looked_up(self, traced, lines):
        transport, registry = FleetTransport(), Registry()
        kept, held = [transport.run(IDS[0]) for _ in range(3)], [transport.run(IDS[0]) for _ in range(3)]
        for pair in zip(held, kept, strict=True):
            for run in pair:
                registry.add(run)
        del pair, run
        traced(held, lines)
        assert set(kept) <= set(registry.runs(IDS[0]))

    @pytest.mark.parametrize("lines", range(1, 9))
    async def test_another_one_of_its_batch_is_added(self, traced, lines):
        transport, registry = FleetTransport(), Registry()
        held, kept = [transport.run(IDS[0])], transport.run(IDS[0])
        registry.add(held[0])
        traced(held, lines)
        registry.add(kept)
        assert registry.runs(IDS[0])[-1] is kept


@pytest.fixture
def uncollected():
    """The cycle collector does nothing, so that only what no cycle holds is freed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
class TestDropped:
    """What nobody holds is freed at once, and a nudge says that nobody waits."""

    @pytest.fixture
    async def batch_id(self, emulator) -> UUID:
        return emulator.create_batch(items=2, duration=99)

    async def test_before_its_first_step(self, session, batch_id):
        for make in (lambda: session.wait_for_batch(batch_id), lambda: session.wait_for_batches([batch_id])):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # an error, or a record, would hold it
                held = weakref.ref(make())
            assert held() is None
            assert session.nudge(batch_id) is False
            assert not session._waits._sharing.registry._entries

    async def test_a_wait_after_a_break(self, session, batch_id):
        wait = session.wait_for_batch(batch_id)
        async for _ in wait:
            break
        held = [weakref.ref(one) for one in (wait, wait._run)]
        assert session.nudge(batch_id) is True
        del wait
        assert [one() for one in held] == [None, None]
        assert session.nudge(batch_id) is False

    async def test_a_fleet_after_a_break(self, session, batch_id):
        fleet = session.wait_for_batches([batch_id])
        async for _ in fleet:
            break
        held = [weakref.ref(one) for one in (fleet, fleet.waits[batch_id])]
        assert session.nudge(batch_id) is True
        del fleet
        assert [one() for one in held] == [None, None]
        assert session.nudge(batch_id) is False

    async def test_a_fleet_one_of_whose_waits_is_still_held(self, emulator, session):
        """That one goes on alone."""
        batch_id = emulator.create_scripted_batch([[(0.0, "queued"), (0.1, "succeeded")]])
        fleet = session.wait_for_batches([batch_id], interval=60)
        async for _ in fleet:
            break
        wait, held = fleet.waits[batch_id], weakref.ref(fleet)
        del fleet
        assert held() is None
        pending = asyncio.ensure_future(wait)
        await asyncio.sleep(0.15)
        assert session.nudge(batch_id) is True
        assert (await pending).is_terminal

    async def test_a_fleet_whose_as_completed_was_cancelled(self, session, batch_id):
        fleet = session.wait_for_batches([batch_id])
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await anext(fleet.as_completed())
        held = weakref.ref(fleet)
        del fleet
        async with asyncio.timeout(10):
            while held() is not None:  # noqa: ASYNC110  # asyncio keeps the cancellation for a moment
                await asyncio.sleep(0.001)
        assert session.nudge(batch_id) is False

    async def test_a_fleet_with_polls_under_way_cancels_them(self, emulator, session, batch_id):
        slow = emulator.create_batch(duration=99)
        emulator.faults.append(faults.hang(times=1))
        fleet = session.wait_for_batches([slow])
        first = asyncio.ensure_future(anext(fleet))
        while not emulator.requests:  # noqa: ASYNC110  # it hangs
            await asyncio.sleep(0.001)
        fleet.add(batch_id)
        await first
        held = weakref.ref(fleet)
        del fleet, first
        assert held() is None
        async with asyncio.timeout(10):
            while session.nudge(slow):  # noqa: ASYNC110  # the cancelled request leaves
                await asyncio.sleep(0.001)
