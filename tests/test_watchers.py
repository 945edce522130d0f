"""Waits of one session for the same batch share its polls, and nothing else."""

from __future__ import annotations

import asyncio
import gc
import math
import random
import traceback
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import pytest

from runflow_async import (
    AuthenticationError,
    OutageError,
    RateLimitError,
    RunflowSession,
    ServerError,
    SessionClosedError,
    TransportError,
    WaitTimeoutError,
)
from runflow_async._http.replies import Reply
from runflow_async._http.throttle import Throttle
from runflow_async._http.turns import Turns
from runflow_async._waits.fleet import BatchesWait
from runflow_async.emulator import faults
from tests.rig import eventually
from tests.virtual import BATCH_ID, VirtualTransport, body, perform, play

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from runflow_async import Batch, BatchWait

pytestmark = pytest.mark.looptime

SIX_SECONDS = [[(0.0, "queued"), (1.0 + 0.5 * n, "running"), (2.0 + n, "succeeded")] for n in range(5)]
RUNNING, SUCCEEDED = body("running", ["running"]), body("succeeded", ["succeeded"])


async def transitions_of(wait: BatchWait) -> list[tuple[int, str | None, str]]:
    return [(one.item.sequence_index, one.previous, one.current) async for one in wait]


def now() -> float:
    return asyncio.get_running_loop().time()


async def one_iteration() -> None:
    await asyncio.sleep(0)


def slow(answer=lambda _now, number: SUCCEEDED if number else RUNNING, roundtrip: float = 5.0) -> VirtualTransport:
    return VirtualTransport(answer, roundtrip)


async def in_its_request(*waits: BatchWait) -> list[asyncio.Task]:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.sleep(1)
    return tasks


class PeculiarError(Exception):
    """It is made of other arguments than its `args`."""

    def __init__(self, number: int, *, why: str) -> None:
        super().__init__(f"{number}: {why}")
        self.why = why


class FormattingError(Exception):
    """It would format its message twice if it were made of it."""

    def __init__(self, number: object) -> None:
        super().__init__(f"number {number}")


class UncopyableError(Exception):
    def __new__(cls, *args: object) -> Self:
        if cls.made:
            raise TypeError("there is only one")
        cls.made = True
        return super().__new__(cls, *args)

    made = False


UNUSUAL = [KeyError("x"), FileNotFoundError(2, "gone", "a.txt"), PeculiarError(3, why="no"), FormattingError(3)]


class TestWatchersOfOneBatch:
    @pytest.mark.parametrize("take", [transitions_of, asyncio.ensure_future], ids=["iterated", "awaited"])
    async def test_cost_hardly_more_requests_than_one(self, take):
        """The default schedule draws its intervals; ten minutes of them even out."""
        ten_minutes = [[(100 * at, status) for at, status in timeline] for timeline in SIX_SECONDS]
        random.seed(3)
        alone, together = perform(ten_minutes), perform(ten_minutes)
        await take(alone.wait())
        await asyncio.gather(*(take(together.wait()) for _ in range(50)))
        assert len(together.polled_at) <= 1.2 * len(alone.polled_at)

    async def test_each_get_every_transition_once(self):
        transport = perform(SIX_SECONDS)
        watchers = [transport.wait(interval=0.7) for _ in range(20)]
        streams = await asyncio.gather(*map(transitions_of, watchers))
        assert all(stream == streams[0] for stream in streams)
        assert len(streams[0]) == len(set(streams[0])) >= 10
        assert {watcher.result().status_code for watcher in watchers} == {"succeeded"}

    async def test_each_go_on_from_their_own_since(self):
        transport = perform([[(0.0, "queued"), (2.0, "running"), (6.0, "succeeded")]])
        first = transport.wait(interval=1)
        async for transition in first:
            if transition.current == "running":
                break
        second, third = transport.wait(interval=1, since=first.delivered), transport.wait(interval=1)
        told = await asyncio.gather(*map(transitions_of, (first, second, third)))
        assert told == [[(0, "running", "succeeded")]] * 2 + [[(0, None, "running"), (0, "running", "succeeded")]]

    async def test_account_for_every_request_between_them(self):
        transport = perform(SIX_SECONDS, ended=6.0)
        watchers = [transport.wait(interval=0.5 + 0.3 * n) for n in range(4)]
        await asyncio.gather(*watchers)
        stats = [watcher.stats for watcher in watchers]
        assert sum(one.requests for one in stats) == len(transport.polled_at)
        assert [one.requests for one in stats] == [one.polls - one.shared for one in stats]

    async def test_are_polled_at_the_pace_of_the_most_eager(self):
        transport = perform([[(0.0, "running"), (100.0, "succeeded")]])
        await asyncio.gather(transport.wait(interval=60), transport.wait(interval=10))
        assert transport.polled_at == [10.0 * n for n in range(11)]

    async def test_that_come_later_join_the_request_in_flight(self):
        transport = slow(roundtrip=5.0)
        (first,) = await in_its_request(transport.wait(interval=1))
        second = asyncio.ensure_future(transport.wait(interval=1))
        assert await first == await second
        assert transport.polled_at == [0.0, 6.0]

    async def test_end_each_by_its_own_until(self):
        transport = perform([[(0.0, "queued"), (2.0, "running"), (9.0, "succeeded")]])
        early = transport.wait(interval=1, until=lambda batch: batch.items[0].status_code == "running")
        late = transport.wait(interval=1)
        assert [batch.status_code for batch in await asyncio.gather(early, late)] == ["running", "succeeded"]
        assert len(transport.polled_at) == 10

    async def test_wake_a_fleet_that_sleeps(self):
        transport = perform([[(0.0, "queued"), (5.0, "running"), (10.0, "succeeded")]])
        fleet = BatchesWait(lambda batch_id: transport.run(batch_id, interval=600), transport.lifetime.scope("it"), 10)
        fleet.add(BATCH_ID)

        async def follow() -> list[tuple[str, float]]:
            return [(transition.current, now()) async for transition in fleet]

        seen, _ = await asyncio.gather(follow(), transport.wait(interval=1))
        assert seen == [("queued", 0), ("running", 5), ("succeeded", 10)]

    async def test_observe_a_transition_at_the_same_instant(self):
        transport = perform([[(0.0, "running"), (5.0, "succeeded")]])

        async def instants(wait: BatchWait) -> list[datetime]:
            return [transition.observed_at async for transition in wait]

        first, second = await asyncio.gather(*(instants(transport.wait(interval=1)) for _ in range(2)))
        assert first == second

    async def test_do_not_use_up_each_others_polls_for_items_that_lag_behind(self):
        def answer(seconds: float, _number: int) -> bytes:
            return body("succeeded", ["succeeded" if seconds >= 2 else "running"])

        transport = VirtualTransport(answer)

        async def wait(after: float) -> Batch:
            await asyncio.sleep(after)
            return await transport.wait()

        batches = await asyncio.gather(*(wait(0.05 * number) for number in range(5)))
        assert [batch.items[0].status_code for batch in batches] == ["succeeded"] * 5


class TestAWatcherThatLeaves:
    async def test_in_a_request_leaves_it_to_the_others(self):
        transport = slow()
        first, second, third = await in_its_request(*(transport.wait(interval=1) for _ in range(3)))
        first.cancel()
        await asyncio.sleep(1)
        third.cancel()
        assert (await second).is_terminal
        assert transport.polled_at == [0.0, 6.0]

    async def test_as_the_last_one_cancels_the_request(self):
        cut = []

        async def get(*_: object, **__: object) -> None:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                cut.append(asyncio.get_running_loop().time())
                raise

        transport = VirtualTransport(lambda *_: RUNNING)
        transport.get = get
        tasks = await in_its_request(transport.wait(), transport.wait())
        for number, task in enumerate(tasks):
            assert len(cut) == 0
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert len(cut) == number
        assert asyncio.all_tasks() == {asyncio.current_task()}

    @pytest.mark.parametrize("how", ["cancelled", "out of time"])
    async def test_as_the_last_one_leaves_when_the_request_is_gone(self, how):
        gone = []

        async def get(*_: object, sent: Callable[[], None], **__: object) -> None:
            sent()
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(0.01)  # as a connection takes to close
                gone.append(now())

        transport = VirtualTransport(lambda *_: RUNNING)
        transport.get = get
        tasks = await in_its_request(*(transport.wait(timeout=2) for _ in range(2)))
        for task in tasks if how == "cancelled" else ():
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert len(gone) == 1

    async def test_before_its_request_began_leaves_the_batch_to_others(self):
        """The task of a poll is cancelled before its first step."""
        transport = slow()
        first = asyncio.ensure_future(transport.wait(interval=1))
        asyncio.get_running_loop().call_later(2, first.cancel)
        await asyncio.sleep(1)
        with pytest.raises(WaitTimeoutError):
            await transport.wait(timeout=1)
        assert (await transport.wait(interval=1, timeout=60)).is_terminal

    async def test_by_being_closed_at_its_first_step_leaves_the_batch_to_others(self):
        transport = play(RUNNING, SUCCEEDED)
        first, second = transport.wait(interval=1), transport.wait(interval=1, timeout=50)
        step = first.__anext__()
        step.send(None)
        step.close()
        assert (await second).is_terminal

    async def test_and_is_dropped_leaves_the_response_to_the_one_that_stays(self):
        transport = slow()
        dropped = transport.wait(interval=1)
        (staying,) = await in_its_request(transport.wait(interval=1))
        del dropped
        assert (await staying).is_terminal
        assert transport.polled_at == [0.0, 6.0]

    async def test_who_made_the_request_for_itself_alone_is_followed_by_another_one(self):
        transport = slow()
        (first,) = await in_its_request(transport.wait(interval=1))
        (second,) = await in_its_request(transport.wait(interval=1))
        first.cancel()
        assert (await second).is_terminal
        assert [round(at) for at in transport.polled_at] == [0, 2]

    async def test_may_come_back_and_gets_what_it_missed(self):
        transport = slow()
        watcher = transport.wait(interval=1)
        first, second = await in_its_request(watcher, transport.wait(interval=1))
        first.cancel()
        await second
        assert (await watcher).is_terminal
        assert await transitions_of(watcher) == [(0, None, "succeeded")]
        assert transport.polled_at == [0.0, 6.0]

    async def test_while_it_waits_for_its_turn_to_decode_an_offered_response_keeps_it(self):
        transport = perform([[(0.0, "running"), (10.0, "succeeded")]])
        watcher, other = (transport.wait(interval=600) for _ in range(2))
        task, _ = await in_its_request(watcher, other)
        await asyncio.sleep(14)
        crowd = [asyncio.ensure_future(transport.lifetime.take_turn()) for _ in range(50)]
        other.nudge()
        while not watcher._run.polling.subscription.has_offer:
            await one_iteration()
        await one_iteration()  # it takes the offer
        task.cancel()
        await asyncio.gather(*crowd)
        assert (await watcher).is_terminal
        assert now() < 20

    async def test_closed_in_a_request_closes_nobody_else(self):
        transport = slow()
        watcher = transport.wait(interval=1)
        closed, second = await in_its_request(watcher, transport.wait(interval=1))
        await watcher.aclose()
        assert (await second).is_terminal
        assert type(closed.exception()).__name__ == "WaitClosedError"


class TestASlowWatcher:
    async def test_slows_nobody_down(self):
        transport = perform(SIX_SECONDS)

        async def dawdle(wait: BatchWait) -> list[str]:
            seen = []
            async for transition in wait:
                seen.append(transition.current)
                await asyncio.sleep(30)
            return seen

        dawdling = asyncio.ensure_future(dawdle(transport.wait(interval=1)))
        await transport.wait(interval=1)
        assert asyncio.get_running_loop().time() < 8
        assert (await dawdling).count("succeeded") == 5

    async def test_that_comes_back_late_polls_at_once_after_what_it_was_offered(self):
        transport = perform([[(0.0, "queued"), (10.0, "running"), (300.0, "succeeded")]])
        watcher = transport.wait(interval=5)
        assert (await anext(watcher)).current == "queued"
        with pytest.raises(WaitTimeoutError):
            await transport.wait(interval=5, timeout=12)
        await asyncio.sleep(200)
        assert (await anext(watcher)).current == "running"
        before = len(transport.polled_at)
        await asyncio.wait([asyncio.ensure_future(watcher)], timeout=1)
        assert len(transport.polled_at) == before + 1
        await watcher.aclose()


class TestTimeIsEachWatchersOwn:
    async def test_a_last_poll_drawn_forward_is_made_whatever_others_poll(self):
        transport = perform([[(0.0, "running"), (75.0, "succeeded")]])
        patient = asyncio.ensure_future(transport.wait(interval=60, timeout=100))
        await asyncio.sleep(65)
        with pytest.raises(WaitTimeoutError):
            await transport.wait(timeout=0)
        assert (await patient).is_terminal

    async def test_an_outage_does_not_begin_before_the_wait_does(self):
        transport = play(ServerError(503), roundtrip=25.0)
        first = asyncio.ensure_future(transport.wait())
        await asyncio.sleep(24)
        with pytest.raises(OutageError):
            await transport.wait(max_outage=20)
        assert now() == pytest.approx(44, abs=0.1)
        first.cancel()

    async def test_the_limit_of_the_one_that_polls_is_no_failure_for_one_that_joins(self):
        async def get(_path: str, *, sent: Callable[[], None], limit: float, longest: float, **_: object) -> Reply:
            sent()
            seconds = min(limit - now(), longest, 5)
            await asyncio.sleep(seconds)
            if seconds < 5:
                raise TransportError("no answer in time") from TimeoutError()
            return Reply(SUCCEEDED, None, 5.0, None)

        transport = slow()
        transport.get = get
        hasty = asyncio.ensure_future(transport.wait(timeout=3))
        await asyncio.sleep(2.5)
        patient = transport.wait(max_outage=30)
        await patient
        await asyncio.gather(hasty, return_exceptions=True)
        assert patient.stats.retries == 0

    async def test_the_limit_of_the_one_that_polls_first_does_not_cut_the_request_of_all(self):
        transport = play(SUCCEEDED, roundtrip=5.0)
        hasty, patient = await in_its_request(transport.wait(timeout=3), transport.wait())
        with pytest.raises(WaitTimeoutError):
            await hasty
        await patient
        assert (transport.polled_at, now()) == ([0.0], pytest.approx(5.0))

    @pytest.mark.slow
    @pytest.mark.looptime(False)
    @pytest.mark.parametrize("watchers", [1, 2])
    async def test_what_queues_in_our_own_pool_uses_up_no_time_of_a_request(self, emulator, watchers):
        emulator.latency = 0.1
        ids = [emulator.create_batch(items=1, duration=0.01, seed=number) for number in range(12)]
        async with RunflowSession(emulator.api_key, base_url=emulator.url, max_connections=1) as session:
            waits = [session.wait_for_batch(one, max_outage=0.5) for one in ids for _ in range(watchers)]
            await asyncio.gather(*waits)
        assert {wait.stats.retries for wait in waits} == {0}

    async def test_what_others_saw_before_a_deadline_counts_after_it(self):
        transport = perform([[(0.0, "queued"), (10.0, "succeeded")]])
        late = transport.wait(interval=5, timeout=20)
        await anext(late)
        await transport.wait(interval=5)
        await asyncio.sleep(100)
        assert (await late).is_terminal

    async def test_an_outage_shorter_than_any_timer_does_not_spin(self):
        transport = play(RUNNING, SUCCEEDED, roundtrip=5)
        send = transport.get

        async def get(path: str, **keywords: Any) -> Reply:
            await asyncio.sleep(3)  # for its turn
            return await send(path, **keywords)

        transport.get = get
        (patient,) = await in_its_request(transport.wait(interval=1))
        hasty = transport.wait(max_outage=0.0005, timeout=2)
        hasty.nudge()
        with pytest.raises((WaitTimeoutError, OutageError)):
            await hasty
        assert (await patient).is_terminal

    async def test_a_deadline_in_a_shared_request(self):
        transport = slow(roundtrip=20.0)
        hasty, patient = await in_its_request(transport.wait(timeout=4), transport.wait(interval=1))
        with pytest.raises(WaitTimeoutError):
            await hasty
        assert asyncio.get_running_loop().time() == pytest.approx(4, abs=0.01)
        assert (await patient).is_terminal
        assert len(transport.polled_at) == 2

    @pytest.mark.parametrize("first", [True, False], ids=["of the one that polls", "of one that joins"])
    async def test_an_outage_in_a_shared_request(self, first):
        transport = slow(roundtrip=25.0)
        waits = [transport.wait(max_outage=3), transport.wait(interval=1)]
        hasty, patient = await in_its_request(*(waits if first else reversed(waits)))
        if not first:
            hasty, patient = patient, hasty
        with pytest.raises(OutageError):
            await hasty
        assert asyncio.get_running_loop().time() <= 3.1
        assert (await patient).is_terminal
        assert len(transport.polled_at) == 2

    async def test_a_timeout_of_0_is_one_poll_also_if_it_is_shared(self):
        transport = slow()
        once, other = await in_its_request(transport.wait(timeout=0), transport.wait(interval=1))
        with pytest.raises(WaitTimeoutError, match="running"):
            await once
        assert transport.polled_at == [0.0]
        await other


class TestAHoldOfTheServer:
    """A `Retry-After` is about the batch, or about the whole session, and not about the wait that it came to."""

    @pytest.mark.parametrize("held", [Reply(RUNNING, 60.0, 0.0, None), ServerError(500, retry_after=60.0)])
    async def test_binds_waits_that_begin_later(self, held):
        transport = play(held, SUCCEEDED)
        with suppress(WaitTimeoutError, ServerError):
            await transport.wait(timeout=5)
        await transport.wait()
        assert transport.polled_at == [0.0, 60.0]

    async def test_binds_waits_that_were_made_earlier_but_begin_later(self):
        transport = play(Reply(RUNNING, 60.0, 0.0, None), SUCCEEDED)
        late = transport.wait()
        with pytest.raises(WaitTimeoutError):
            await transport.wait(timeout=5)
        await late
        assert transport.polled_at == [0.0, 60.0]

    async def test_binds_waits_that_slept_through_the_failure_that_brought_it(self):
        transport = play(RUNNING, ServerError(500, retry_after=60.0), SUCCEEDED)
        await asyncio.gather(transport.wait(interval=10), transport.wait(interval=12))
        assert transport.polled_at[:2] == [0.0, 10.0]
        assert 70 <= transport.polled_at[2] <= 76

    async def test_that_is_over_binds_nobody(self):
        transport = play(Reply(RUNNING, 60.0, 0.0, None), SUCCEEDED)
        with pytest.raises(WaitTimeoutError):
            await transport.wait(timeout=5)
        await asyncio.sleep(100)
        await transport.wait()
        assert transport.polled_at == [0.0, 105.0]

    @pytest.mark.parametrize("timeout", [0, 20])
    async def test_longer_than_a_wait_that_begins_later_has_time_ends_it_at_once(self, timeout):
        transport = play(Reply(RUNNING, 60.0, 0.0, None), SUCCEEDED)
        with pytest.raises(WaitTimeoutError):
            await transport.wait(timeout=10)
        with pytest.raises(RateLimitError, match=r"holds every poll of this batch for 50\.0 s more") as caught:
            await transport.wait(timeout=timeout)
        assert (now(), caught.value.retry_after) == (pytest.approx(10), pytest.approx(50))
        assert transport.polled_at == [0.0]

    async def test_is_kept_by_a_nudge(self):
        transport = play(Reply(RUNNING, 60.0, 0.0, None), SUCCEEDED)
        with pytest.raises(WaitTimeoutError):
            await transport.wait(timeout=5)
        wait = transport.wait()
        (task,) = await in_its_request(wait)
        wait.nudge()
        await task
        assert transport.polled_at == [0.0, 60.0]

    async def test_leaves_its_place_in_a_fleet_to_other_batches(self):
        transport = VirtualTransport(lambda *_: Reply(RUNNING, 60.0, 0.0, None))
        with pytest.raises(WaitTimeoutError):
            await transport.wait(timeout=5)
        transport.answer = lambda *_: SUCCEEDED.replace(str(BATCH_ID).encode(), str(asked[-1]).encode())
        asked: list[UUID] = []
        send = transport.get

        async def get(path: str, **keywords: Any) -> Reply:
            asked.append(UUID(path[-36:]))
            return await send(path, **keywords)

        transport.get = get
        fleet = BatchesWait(transport.run, transport.lifetime.scope("it"), 1)
        for batch_id in (BATCH_ID, UUID(int=1)):
            fleet.add(batch_id)
        ended = [(wait.batch_id, now()) async for wait in fleet.as_completed()]
        assert ended == [(UUID(int=1), pytest.approx(5)), (BATCH_ID, pytest.approx(60))]

    async def test_of_a_batch_that_has_ended_binds_nobody(self):
        transport = play(Reply(SUCCEEDED, 60.0, 0.0, None))
        await transport.wait()
        await transport.wait()
        assert now() < 1

    async def test_is_forgotten_when_it_is_over(self):
        def answer(*_: object) -> Reply:
            return Reply(RUNNING.replace(str(BATCH_ID).encode(), str(asked).encode()), 60.0, 0.0, None)

        transport = VirtualTransport(answer)
        for number in range(10):
            asked = UUID(int=number)
            with pytest.raises(WaitTimeoutError):
                await transport.wait(asked, timeout=25)
        assert len(transport.sharing._held) <= 3


class HeldQueue:
    """A transport whose requests queue for as long as a `Retry-After` holds them."""

    def __init__(self) -> None:
        self.transport = play(SUCCEEDED)
        self.throttle, self.slots = Throttle(None), 2
        self.turns = turns = Turns(self.throttle, self.slots)
        send = self.transport.get

        async def get(path: str, *, limit: float, deadline: float, on_hold: Any, **keywords: Any) -> Reply:
            await turns.take(limit, deadline, on_hold)
            try:
                return await send(path, limit=limit, **keywords)
            finally:
                turns.give_back()

        self.transport.get = get

    def hold(self, seconds: float) -> None:
        self.throttle.slow_down(now(), now(), seconds)


class TestAHoldOfAllRequests:
    @pytest.mark.parametrize("watchers", [1, 2])
    async def test_ends_one_that_joins_a_queueing_poll_at_once_if_it_has_less_time(self, watchers):
        queue = HeldQueue()
        queue.hold(100)
        patient = [queue.transport.wait() for _ in range(watchers)]
        tasks = await in_its_request(*patient)
        with pytest.raises(RateLimitError, match="holds every request of this session for 99") as caught:
            await queue.transport.wait(timeout=20)
        assert (now(), caught.value.retry_after) == (pytest.approx(1), pytest.approx(99))
        await asyncio.gather(*tasks)
        assert queue.transport.polled_at == [0.0]
        assert {(wait.stats.retries, wait.stats.polls) for wait in patient} == {(0, 1)}

    @pytest.mark.parametrize("watchers", [1, 2])
    async def test_ends_one_that_has_joined_as_soon_as_it_is_known(self, watchers):
        queue = HeldQueue()
        queue.hold(5)
        patient = [queue.transport.wait() for _ in range(watchers)]
        hasty = queue.transport.wait(timeout=20)
        *tasks, last = await in_its_request(*patient, hasty)
        queue.hold(100)
        with pytest.raises(RateLimitError, match="holds every request"):
            await last
        assert now() == pytest.approx(1)
        await asyncio.gather(*tasks)
        assert {wait.stats.retries for wait in patient} == {0}

    async def test_ends_one_that_has_polled_for_others_too_and_leaves_them_to_queue(self):
        queue = HeldQueue()
        queue.hold(5)
        (last,) = await in_its_request(queue.transport.wait(timeout=20))
        patient = queue.transport.wait()
        (task,) = await in_its_request(patient)
        queue.hold(100)
        with pytest.raises(RateLimitError):
            await last
        await task
        assert patient.stats.retries == 0
        assert queue.transport.polled_at == [0.0]

    async def test_is_like_any_other_queue_if_the_one_that_polls_runs_out_of_time(self):
        queue = HeldQueue()
        for _ in range(queue.slots):
            await queue.turns.take(math.inf, math.inf)
        (last,) = await in_its_request(queue.transport.wait(timeout=3))
        patient = queue.transport.wait()
        (task,) = await in_its_request(patient)
        with pytest.raises(WaitTimeoutError):
            await last
        queue.turns.give_back()
        await task
        assert patient.stats.retries == 0

    async def test_that_ends_all_who_wait_ends_the_poll(self):
        queue = HeldQueue()
        queue.hold(5)
        tasks = await in_its_request(*(queue.transport.wait(timeout=20) for _ in range(3)))
        queue.hold(100)
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(error) for error in errors} == {RateLimitError}
        assert len(set(map(id, errors))) == 3
        assert asyncio.all_tasks() == {asyncio.current_task()}


class TestAFailure:
    async def test_that_a_retry_fixes_is_retried_once_for_all(self):
        transport = play(ServerError(503), ServerError(503), RUNNING, SUCCEEDED, roundtrip=0.1)
        watchers = [transport.wait(interval=1) for _ in range(20)]
        await asyncio.gather(*watchers)
        assert len(transport.polled_at) == 4
        assert {watcher.stats.retries for watcher in watchers} == {2}

    async def test_that_stays_costs_hardly_more_requests_than_one_wait_would(self):
        async def requests(watchers: int) -> int:
            transport = play(ServerError(503), roundtrip=0.1)
            waits = [transport.wait(max_outage=120) for _ in range(watchers)]
            errors = await asyncio.gather(*waits, return_exceptions=True)
            assert [type(error) for error in errors] == [OutageError] * watchers
            return len(transport.polled_at)

        assert await requests(30) <= 2 * await requests(1)

    async def test_that_stays_costs_those_who_come_later_hardly_more_than_their_first_attempt(self):
        async def requests(watchers: int) -> int:
            transport = play(ServerError(503), roundtrip=0.1)

            async def watch(number: int) -> None:
                await asyncio.sleep(1.3 * number)
                with pytest.raises(OutageError):
                    await transport.wait(max_outage=120)

            await asyncio.gather(*map(watch, range(watchers)))
            return len(transport.polled_at)

        random.seed(3)
        assert await requests(20) <= 20 + 5 * await requests(1)

    async def test_that_is_final_is_an_error_of_its_own_for_each(self):
        transport = play(AuthenticationError(401), roundtrip=0.1)
        watchers = [transport.wait() for _ in range(3)]
        errors = await asyncio.gather(*watchers, return_exceptions=True)
        assert [type(error) for error in errors] == [AuthenticationError] * 3
        assert len(set(map(id, errors))) == 3
        assert [error.stats for error in errors] == [watcher.stats for watcher in watchers]
        assert sum(error.stats.requests for error in errors) == len(transport.polled_at) == 1

    async def test_does_not_disturb_a_watcher_that_sleeps(self):
        transport = play(RUNNING, ServerError(503), SUCCEEDED)
        sleeper, eager = transport.wait(interval=100), transport.wait(interval=10)
        await asyncio.gather(sleeper, eager)
        assert (sleeper.stats.retries, eager.stats.retries) == (0, 1)

    async def test_that_nobody_was_there_to_use_does_not_replace_an_attempt(self):
        def answer(seconds: float, _number: int) -> bytes:
            if seconds < 40:
                raise ServerError(503)
            return SUCCEEDED

        transport = VirtualTransport(answer)
        watcher = transport.wait(max_outage=60)
        task = asyncio.ensure_future(watcher)
        await asyncio.sleep(0.0001)
        task.cancel()
        with pytest.raises(OutageError):
            await transport.wait(max_outage=30)
        await asyncio.sleep(100)
        assert (await watcher).is_terminal

    @pytest.mark.parametrize("raised", UNUSUAL, ids=[type(error).__name__ for error in UNUSUAL])
    async def test_of_the_users_own_code_is_an_exception_of_its_own_for_each(self, raised):
        def middleware(*_: object) -> bytes:
            raise raised

        transport = VirtualTransport(middleware)
        errors = await asyncio.gather(*(transport.wait() for _ in range(3)), return_exceptions=True)
        assert len(transport.polled_at) == 1
        assert len(set(map(id, errors))) == 3
        for error in errors:
            assert (type(error), str(error), error.args) == (type(raised), str(raised), raised.args)
            assert vars(error) == vars(raised)
            assert [frame.name for frame in traceback.extract_tb(error.__traceback__)].count("middleware") == 1

    async def test_of_the_users_own_code_that_cannot_be_copied_is_the_same_for_all(self):
        raised = UncopyableError("broken", asyncio.Lock())

        def middleware(*_: object) -> bytes:
            raise raised

        transport = VirtualTransport(middleware)
        errors = await asyncio.gather(*(transport.wait() for _ in range(2)), return_exceptions=True)
        assert errors == [raised] * 2

    async def test_replaces_no_response_that_a_retrying_watcher_has_not_used_yet(self):
        def answer(seconds: float, _number: int) -> bytes:
            if 5 <= seconds < 10:
                return RUNNING
            raise ServerError(503)

        transport = VirtualTransport(answer)
        watcher = transport.wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(watcher), 0.0001)
        for _ in range(2):
            await asyncio.sleep(6)
            with pytest.raises((WaitTimeoutError, ServerError)):
                await transport.wait(timeout=0)
        assert (await anext(watcher)).current == "running"
        assert len(transport.polled_at) == 3

    async def test_keeps_its_cause_for_each(self):
        cause = OSError("reset")

        def answer(*_: object) -> bytes:
            raise TransportError("cut") from cause

        transport = VirtualTransport(answer)
        errors = await asyncio.gather(*(transport.wait(max_outage=3) for _ in range(2)), return_exceptions=True)
        assert [error.__cause__.__cause__ for error in errors] == [cause] * 2


class TestFreedByReferences:
    @pytest.fixture(autouse=True)
    def uncollected(self) -> Iterator[None]:
        gc.collect()
        gc.disable()
        yield
        gc.enable()

    async def test_is_a_poll_with_its_wait(self):
        wait = play(RUNNING, SUCCEEDED).wait(interval=1)
        await wait
        alive = weakref.ref(wait._run.polling.subscription.latest_poll)
        del wait
        assert alive() is None

    async def test_is_a_wait_that_was_a_task_with_it(self):
        wait = play(SUCCEEDED).wait()
        alive = weakref.ref(wait)
        task = asyncio.create_task(wait)
        await task
        del task, wait
        await asyncio.sleep(0)
        assert alive() is None

    @pytest.mark.parametrize("watchers", [1, 3])
    async def test_is_a_wait_that_is_given_up_while_its_polls_fail(self, watchers):
        def answer(*_: object) -> bytes:
            raise ServerError(503)

        transport = VirtualTransport(answer)
        waits = [transport.wait() for _ in range(watchers)]
        tasks = [asyncio.create_task(wait) for wait in waits]
        await asyncio.sleep(20)
        assert [wait.outage is not None for wait in waits] == [True] * watchers
        alive = [weakref.ref(wait._run) for wait in waits]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        del waits, tasks, task
        await asyncio.sleep(0)
        assert [run() for run in alive] == [None] * watchers


class TestANudge:
    async def test_counts_though_a_poll_that_an_earlier_one_wanted_has_not_been_used_yet(self):
        """That poll ended before the second nudge, so it cannot show what the nudge is about."""
        transport = perform([[(0.0, "queued"), (20.0, "succeeded")]])
        slow_reader, other = transport.wait(interval=600), transport.wait(interval=600)
        assert (await anext(slow_reader)).current == "queued"
        (task,) = await in_its_request(other)
        slow_reader.nudge()
        other.nudge()
        await asyncio.sleep(30)
        slow_reader.nudge()
        assert (await slow_reader).is_terminal
        assert now() < 40
        await task

    async def test_that_nothing_has_begun_since_is_one_with_the_next(self):
        transport = perform([[(0.0, "queued"), (20.0, "succeeded")]])
        wait, other = transport.wait(interval=600), transport.wait(interval=600)
        tasks = await in_its_request(wait, other)
        await asyncio.sleep(30)
        changes = []
        wait._run.watch(lambda: changes.append(now()))
        for _ in range(100):
            wait.nudge()
        assert len(changes) == 1
        await asyncio.gather(*tasks)
        assert len(transport.polled_at) == 2

    async def test_in_a_shared_request_is_one_more_poll(self):
        transport = VirtualTransport(lambda _now, number: SUCCEEDED if number > 1 else RUNNING, 5.0)
        waits = [transport.wait(interval=600) for _ in range(3)]
        tasks = await in_its_request(*waits)
        for wait in waits:
            wait.nudge()
        await asyncio.sleep(12)
        assert transport.polled_at == [0.0, 5.0]
        for wait in waits:
            wait.nudge()
        await asyncio.gather(*tasks)
        assert transport.polled_at == [0.0, 5.0, 13.0]

    async def test_of_one_watcher_is_news_for_all(self):
        transport = perform([[(0.0, "running"), (50.0, "succeeded")]])
        waits = [transport.wait(interval=600) for _ in range(3)]
        tasks = await in_its_request(*waits)
        await asyncio.sleep(60)
        waits[0].nudge()
        await asyncio.gather(*tasks)
        assert len(transport.polled_at) == 2


@pytest.mark.looptime(False)
class TestOverSockets:
    async def test_watchers_of_a_session_that_is_closed_leave_nothing_behind(self, emulator, session):
        batch_id = emulator.create_batch(duration=99)
        emulator.faults.append(faults.hang())
        tasks = [asyncio.ensure_future(session.wait_for_batch(batch_id)) for _ in range(5)]
        await eventually(lambda: emulator.requests)
        await session.close()
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(error) for error in errors] == [SessionClosedError] * 5
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("poll ")]

    @pytest.mark.slow
    async def test_two_fleets_and_a_wait_share_the_polls_of_their_batches(self, emulator, session):
        ids = [emulator.create_batch(items=4, duration=1.0, seed=n) for n in range(5)]
        alone = [emulator.create_batch(items=4, duration=1.0, seed=n) for n in range(5)]
        await session.wait_for_batches(alone, interval=0.2)
        cost = len(emulator.requests)
        fleets = [session.wait_for_batches(ids, interval=0.2) for _ in range(2)]
        results = await asyncio.gather(*fleets, session.wait_for_batch(ids[0], interval=0.2))
        assert results[0] == results[1]
        assert results[2] == results[0][0]
        assert len(emulator.requests) - cost <= 1.5 * cost
