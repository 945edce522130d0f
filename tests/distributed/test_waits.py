"""The faces of a wait on Dask are those of the local one; on workers in this process."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from itertools import pairwise
from uuid import UUID

import pytest

from runflow_async import (
    NotFoundError,
    OutageError,
    PermissionDeniedError,
    ShardError,
    TransportError,
    WaitClosedError,
    WaitTimeoutError,
)
from runflow_async._http.throttle import Throttle
from runflow_async.distributed import SessionConfig, coordinator, shard, wait_for_batches, waits
from runflow_async.emulator import faults
from tests.rig import eventually, refused_port

STEPS = [(0.0, "queued"), (0.3, "running"), (0.6, "succeeded")]
NEVER = [[(0.0, "running")]]


async def busy_for(emulator, seconds: float) -> int:
    """How many requests come within this time."""
    before = len(emulator.requests)
    await asyncio.sleep(seconds)
    return len(emulator.requests) - before


async def no_requests_come(emulator) -> None:
    """Return once none has come for a while."""
    async with asyncio.timeout(60):
        while await busy_for(emulator, 0.3):
            pass


def chained(transitions) -> dict:
    """The last status of every item; each transition has to begin where the one before it ended."""
    last: dict = {}
    for transition in transitions:
        assert last.get(transition.item.id) == transition.previous
        last[transition.item.id] = transition.current
    return last


async def test_iterated_it_yields_each_transition_once_and_in_order(client, emulator):
    batch_ids = [emulator.create_scripted_batch([STEPS] * 3) for _ in range(10)]
    seen = [transition async for transition in wait_for_batches(client, batch_ids, shards=4, interval=0.05)]
    assert len(seen) == 3 * 3 * 10
    assert list(chained(seen).values()) == ["succeeded"] * 30


async def test_in_lists_it_yields_each_transition_once_and_those_of_a_response_together(client, emulator):
    batch_ids = [emulator.create_scripted_batch([STEPS] * 3) for _ in range(10)]
    waiting = wait_for_batches(client, batch_ids, shards=2, interval=0.05)
    seen = [await anext(waiting)]
    lists = [transitions async for transitions in waiting.batched()]
    assert all(len({(one.batch_id, one.observed_at) for one in transitions}) == 1 for transitions in lists)
    assert list(chained(seen + [one for transitions in lists for one in transitions]).values()) == ["succeeded"] * 30
    assert len(lists) <= 1 + 3 * 10


async def test_awaited_it_returns_the_last_batches_in_input_order(client, emulator):
    batch_ids = [emulator.create_scripted_batch([STEPS]) for _ in range(5)]
    batch_ids.append(batch_ids[0])
    batches = await wait_for_batches(client, batch_ids, interval=0.05)
    assert [batch.id for batch in batches] == batch_ids
    assert {batch.status_code for batch in batches} == {"succeeded"}
    assert batches[0].items_succeeded == 1


async def test_awaited_again_it_returns_the_same(client, emulator):
    waiting = wait_for_batches(client, [emulator.create_scripted_batch([STEPS])], interval=0.05)
    assert await waiting == await waiting


async def test_without_batches_it_is_over_at_once(client):
    assert await wait_for_batches(client, []) == []


@pytest.mark.slow
async def test_as_completed_gives_each_wait_as_it_ends(client, emulator):
    late = emulator.create_scripted_batch([[(0.0, "running"), (1.0, "failed")]])
    early = emulator.create_scripted_batch([STEPS])
    refused = emulator.create_scripted_batch([STEPS])
    emulator.faults.append(faults.status(403, batch_id=refused))
    waiting = wait_for_batches(client, [late, early, refused], interval=0.05)
    ended = [wait async for wait in waiting.as_completed()]
    assert [wait.batch_id for wait in ended] == [refused, early, late]
    assert isinstance(ended[0].exception(), PermissionDeniedError)
    assert [wait.result().status_code for wait in ended[1:]] == ["succeeded", "failed"]
    assert ended[1].stats.polls >= 2


@pytest.mark.slow
async def test_one_failure_ends_that_batch_alone_and_is_told_at_the_end(client, emulator):
    batch_ids = [emulator.create_scripted_batch([STEPS]) for _ in range(3)]
    emulator.faults.append(faults.status(403, batch_id=batch_ids[1]))
    waiting = wait_for_batches(client, batch_ids, interval=0.05)
    with pytest.raises(ExceptionGroup, match="1 of 3 batches") as caught:
        await waiting
    (error,) = caught.value.exceptions
    assert isinstance(error, PermissionDeniedError)
    assert error.batch_id == batch_ids[1]
    assert waiting.waits[batch_ids[0]].result().status_code == "succeeded"


async def test_a_timeout_is_each_batchs_own(client, emulator):
    with pytest.raises(ExceptionGroup) as caught:
        await wait_for_batches(client, [emulator.create_scripted_batch(NEVER)], timeout=0.3, interval=0.1)
    assert caught.group_contains(WaitTimeoutError)


@pytest.mark.slow
async def test_a_timeout_holds_without_any_worker(client, cluster, emulator, monkeypatch):
    monkeypatch.setattr(coordinator, "OVERDUE_SECONDS", 0.2)
    batch_ids = [emulator.create_scripted_batch(NEVER) for _ in range(3)]
    waiting = wait_for_batches(client, batch_ids, timeout=1.5, interval=0.1)
    await anext(waiting)
    cluster.scale(0)
    with pytest.raises(ExceptionGroup) as caught:
        await waiting
    assert {error.batch_id for error in caught.value.exceptions} == set(batch_ids)
    assert caught.group_contains(WaitTimeoutError, match="no worker was waiting for it")


@pytest.mark.slow
async def test_an_unknown_batch_is_not_found(client):
    with pytest.raises(ExceptionGroup) as caught:
        await wait_for_batches(client, ["8c1f2a4e-6f0b-4c57-9d53-1b0c7f3f2a10"])
    assert caught.group_contains(NotFoundError)


async def test_an_outage_is_told_with_its_cause_but_nothing_of_other_libraries(client):
    with refused_port() as port:
        config = SessionConfig(base_url=f"http://127.0.0.1:{port}")
        with pytest.raises(ExceptionGroup) as caught:
            await wait_for_batches(client, [UUID(int=1)], session=config, max_outage=0.2)
    (error,) = caught.value.exceptions
    assert isinstance(error, OutageError)
    assert isinstance(error.__cause__, TransportError)
    assert error.__cause__.__cause__ is None
    assert error.batch_id == UUID(int=1)


class UnpicklableError(Exception):
    def __reduce__(self) -> str:
        raise TypeError("no")


def fail_badly(_batch) -> bool:
    raise UnpicklableError("so it is")


async def test_an_error_that_cannot_be_pickled_is_told_by_its_text(client, emulator):
    batch_id = emulator.create_scripted_batch(NEVER)
    with pytest.raises(ExceptionGroup) as caught:
        await wait_for_batches(client, [batch_id], until=fail_badly)
    (error,) = caught.value.exceptions
    assert str(error) == f"batch {error.batch_id}: UnpicklableError: so it is"
    assert error.batch_id == batch_id


class TwoArgumentsError(Exception):
    """Pickles, and cannot be read again."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")


def fail_with_two(_batch) -> bool:
    raise TwoArgumentsError(7, "so it is")


async def test_an_error_that_cannot_be_read_again_spoils_no_other_batch(client, emulator):
    good, bad = (emulator.create_scripted_batch(script) for script in ([[(0.0, "succeeded")]], NEVER))
    waiting = wait_for_batches(client, [good, bad], until=fail_with_two)
    with pytest.raises(ExceptionGroup, match="1 of 2") as caught:
        await waiting
    (error,) = caught.value.exceptions
    assert str(error) == f"batch {error.batch_id}: TwoArgumentsError: 7: so it is"
    assert waiting.waits[good].result().status_code == "succeeded"


def is_running(batch) -> bool:
    return batch.status_code == "running"


async def test_until_ends_it_early_on_the_worker(client, emulator):
    (batch,) = await wait_for_batches(client, [emulator.create_scripted_batch(NEVER)], until=is_running)
    assert batch.status_code == "running"


def fail(_batch) -> bool:
    raise ArithmeticError("so it is")


async def test_an_error_of_until_comes_out(client, emulator):
    with pytest.raises(ExceptionGroup) as caught:
        await wait_for_batches(client, [emulator.create_scripted_batch(NEVER)], until=fail)
    assert caught.group_contains(ArithmeticError, match="so it is")


@pytest.mark.slow
async def test_cancelled_while_awaited_it_delivers_what_came_meanwhile_once_iterated(client, emulator):
    """Row 151: as a single wait does, each item's changes as one, also of batches that have ended."""
    ended = emulator.create_scripted_batch([STEPS] * 3)
    going_on = emulator.create_scripted_batch([[(0.0, "queued"), (0.3, "running"), (3.0, "succeeded")]] * 3)
    waiting = wait_for_batches(client, [ended, going_on], interval=0.05)
    seen = [await anext(waiting) for _ in range(2)]
    async for wait in waiting.as_completed():
        assert wait.batch_id == ended
        break
    pending = asyncio.create_task(waiting._settle())
    await eventually(lambda: any(one.current == "running" for one in waiting._set_aside.values()))
    pending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pending
    seen += [transition async for transition in waiting]
    assert list(chained(seen).values()) == ["succeeded"] * 6


async def test_awaited_to_its_end_it_can_still_be_iterated(client, emulator):
    waiting = wait_for_batches(client, [emulator.create_scripted_batch([STEPS] * 3)], interval=0.05)
    (batch,) = await waiting
    assert [wait.delivered.items for wait in waiting.waits.values()] == [[]]
    seen = [transition async for transition in waiting]
    assert [(one.previous, one.current) for one in seen] == [(None, "succeeded")] * 3
    assert [item.sequence_index for item in batch.items] == [one.item.sequence_index for one in seen]


async def test_closed_it_raises_at_once_when_awaited_or_taken_as_completed(client, emulator):
    """Row 149."""
    waiting = wait_for_batches(client, [emulator.create_scripted_batch(NEVER)], interval=0.05)
    await anext(waiting)
    pending = asyncio.create_task(anext(waiting.as_completed()))
    await asyncio.sleep(0)
    await waiting.aclose()
    async with asyncio.timeout(30):
        for late in (pending, anext(waiting.as_completed()), waiting):
            with pytest.raises(WaitClosedError):
                await late


async def test_dropped_before_its_first_step_or_after_its_end_it_is_freed_at_once(client, emulator):
    gc.collect()
    gc.disable()
    try:
        with pytest.warns(RuntimeWarning, match="never awaited"):
            held = weakref.ref(wait_for_batches(client, [emulator.create_scripted_batch(NEVER)]))
        assert held() is None
        waiting = wait_for_batches(client, [emulator.create_scripted_batch([[(0.0, "succeeded")]])])
        await waiting
        held = weakref.ref(waiting)
        del waiting
        await eventually(lambda: held() is None)
    finally:
        gc.enable()


def end_as_if_all_were_well(batch) -> bool:
    raise StopAsyncIteration(batch.status_code)


def find_it_closed(_batch) -> bool:
    raise WaitClosedError


@pytest.mark.parametrize(
    ("until", "said"),
    [
        (end_as_if_all_were_well, "RuntimeError: until raised StopAsyncIteration"),
        (find_it_closed, "WaitClosedError: batch {}: the wait for batches was closed: start another one to continue"),
    ],
)
async def test_an_iteration_never_ends_as_if_all_were_well(client, emulator, until, said):
    batch_id = emulator.create_scripted_batch(NEVER)
    with pytest.raises(ExceptionGroup) as caught:
        async for _ in wait_for_batches(client, [batch_id], until=until):
            pass
    (error,) = caught.value.exceptions
    assert f"{type(error).__name__}: {error}" == said.format(batch_id)


async def test_delivered_lets_another_one_go_on_where_it_was_cut(client, emulator):
    batch_ids = [emulator.create_scripted_batch([STEPS] * 2) for _ in range(4)]
    seen = []
    async with wait_for_batches(client, batch_ids, interval=0.05) as first:
        async for transition in first:
            seen.append(transition)
            if len(seen) == 11:
                break
    since = [wait.delivered for wait in first.waits.values()]
    seen += [transition async for transition in wait_for_batches(client, batch_ids, interval=0.05, since=since)]
    assert list(chained(seen).values()) == ["succeeded"] * 8


class TestStopped:
    async def test_by_a_cancellation_the_shards_poll_no_more_when_control_returns(self, client, emulator):
        waiting = wait_for_batches(client, [emulator.create_scripted_batch(NEVER)], interval=0.05)

        async def consume() -> None:
            async for _ in waiting:
                pass

        task = asyncio.create_task(consume())
        await eventually(lambda: len(emulator.requests) > 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await busy_for(emulator, 0.3) == 0

    @pytest.mark.slow
    async def test_by_a_cancellation_it_goes_on_from_what_was_yielded(self, client, emulator):
        batch_ids = [emulator.create_scripted_batch([[*STEPS[:2], (1.2, "succeeded")]]) for _ in range(4)]
        waiting = wait_for_batches(client, batch_ids, interval=0.05)
        seen = []
        for _ in range(200):
            try:
                async with asyncio.timeout(0.25):
                    seen.append(await anext(waiting))
            except TimeoutError:
                continue
            except StopAsyncIteration:
                break
        assert list(chained(seen).values()) == ["succeeded"] * 4

    async def test_by_aclose_it_is_over(self, client, emulator):
        waiting = wait_for_batches(client, [emulator.create_scripted_batch(NEVER)], interval=0.05)
        await anext(waiting)
        await waiting.aclose()
        assert await busy_for(emulator, 0.3) == 0
        assert [transition async for transition in waiting] == []

    async def test_by_aclose_of_another_task_the_pending_step_ends(self, client, emulator):
        waiting = wait_for_batches(client, [emulator.create_scripted_batch(NEVER)], interval=0.05)
        await anext(waiting)
        pending = asyncio.create_task(anext(waiting, "over"))
        await asyncio.sleep(0.1)
        await waiting.aclose()
        assert await pending == "over"

    async def test_by_its_end_it_leaves_no_task_and_no_queue_at_the_scheduler(self, client, cluster, emulator):
        await wait_for_batches(client, [emulator.create_scripted_batch([STEPS]) for _ in range(4)], interval=0.05)
        await eventually(lambda: not cluster.scheduler.tasks)
        await eventually(lambda: not cluster.scheduler.extensions["queues"].queues)

    @pytest.mark.slow
    @pytest.mark.parametrize("after", [0.001, 0.005, 0.02, 0.05, 0.08, 0.15, 0.4])
    async def test_by_a_cancellation_at_any_moment_it_leaves_nothing_either(self, client, cluster, emulator, after):
        waiting = wait_for_batches(client, [emulator.create_scripted_batch(NEVER) for _ in range(20)], interval=0.05)
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(after):
                await waiting
        assert loop.time() - began < 20  # nothing of Dask times out in less than 30
        await eventually(lambda: not cluster.scheduler.tasks)
        await eventually(lambda: not cluster.scheduler.extensions["queues"].queues)
        assert await busy_for(emulator, 0.2) == 0

    @pytest.mark.slow
    @pytest.mark.parametrize("after", [0.05, 0.7])
    async def test_by_a_cancellation_it_leaves_no_queue_that_is_made_only_later(self, client, cluster, emulator, after):
        handlers = cluster.scheduler.handlers
        create = handlers["queue_create"]

        async def create_late(**keywords):
            await asyncio.sleep(1)
            create(**keywords)

        handlers["queue_create"] = create_late
        waiting = wait_for_batches(client, [emulator.create_scripted_batch(NEVER) for _ in range(20)], interval=0.05)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(after):
                await waiting
        await asyncio.sleep(2)
        await eventually(lambda: not cluster.scheduler.tasks)
        await eventually(lambda: not cluster.scheduler.extensions["queues"].queues)

    async def test_by_its_end_though_nobody_takes_what_is_left(self, client, cluster, emulator):
        waiting = wait_for_batches(client, [emulator.create_scripted_batch([STEPS])], interval=0.05)
        await anext(waiting)
        await eventually(lambda: not cluster.scheduler.tasks)
        await eventually(lambda: not cluster.scheduler.extensions["queues"].queues)
        assert [transition.current async for transition in waiting][-1] == "succeeded"

    async def test_by_aclose_while_a_cancellation_stops_them(self, client, cluster, emulator):
        waiting = wait_for_batches(client, [emulator.create_scripted_batch(NEVER)], interval=0.05)
        await anext(waiting)
        task = asyncio.create_task(anext(waiting))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.sleep(0)
        await waiting.aclose()
        assert await busy_for(emulator, 0.3) == 0
        await asyncio.gather(task, return_exceptions=True)
        assert not cluster.scheduler.extensions["queues"].queues

    async def test_again_and_again_they_leave_no_request_at_the_scheduler(self, client, emulator):
        batch_id = emulator.create_scripted_batch([[(0.0, "succeeded")]])
        await wait_for_batches(client, [batch_id])
        before = len(asyncio.all_tasks())
        for _ in range(5):
            await wait_for_batches(client, [batch_id])
        await eventually(lambda: len(asyncio.all_tasks()) <= before + 2)

    @pytest.mark.slow
    async def test_by_a_consumer_that_is_gone_a_shard_ends_by_itself(self, client, emulator, monkeypatch):
        monkeypatch.setattr(shard, "CONSUMER_TIMEOUT_SECONDS", 0.5)
        waiting = wait_for_batches(client, [emulator.create_scripted_batch(NEVER)], interval=0.05)
        await anext(waiting)
        for task in (waiting._coordinator._receiving, waiting._coordinator._keeping):
            task.cancel()
        await no_requests_come(emulator)
        await waiting.aclose()


async def test_two_tasks_cannot_use_it_at_the_same_time(client, emulator):
    async with wait_for_batches(client, [emulator.create_scripted_batch(NEVER)], interval=0.05) as waiting:
        await anext(waiting)
        pending = asyncio.create_task(anext(waiting, "over"))
        await asyncio.sleep(0.1)
        with pytest.raises(RuntimeError, match="two tasks at the same time"):
            await anext(waiting)
    assert await pending == "over"


@pytest.mark.slow
async def test_a_slow_consumer_slows_the_polls(client, emulator, monkeypatch):
    for module in (shard, waits):
        monkeypatch.setattr(module, "MOST_PENDING", 20)
    lively = [[(0.0, "queued"), *((n / 50, f"step {n}") for n in range(1, 500))]] * 10
    batch_id = emulator.create_scripted_batch(lively)
    async with wait_for_batches(client, [batch_id], interval=0.02) as waiting:
        taken = [await anext(waiting)]
        await eventually(lambda: len(waiting._pending) > 20)
        await no_requests_come(emulator)
        assert len(waiting._pending) < 200
        taken += [await anext(waiting) for _ in range(400)]
    assert len(chained(taken)) == 10


class TestPace:
    @pytest.mark.slow
    async def test_all_workers_together_keep_to_max_rate(self, client, emulator):
        batch_ids = [emulator.create_scripted_batch(NEVER) for _ in range(60)]
        with pytest.raises(ExceptionGroup):
            await wait_for_batches(client, batch_ids, shards=4, max_rate=40.0, interval=0.1, timeout=4)
        came = [request.received_at for request in emulator.requests]
        busiest = max(sum(start <= at < start + 1 for at in came) for start in came)
        assert 20 <= busiest <= 40

    @pytest.mark.slow
    async def test_may_be_less_than_one_request_per_second(self, client, emulator):
        batch_ids = [emulator.create_scripted_batch(NEVER) for _ in range(4)]
        with pytest.raises(ExceptionGroup):
            await wait_for_batches(client, batch_ids, max_rate=0.9, interval=0.1, timeout=2.5)
        assert 1 <= len(emulator.requests) <= 3

    @pytest.mark.slow
    async def test_a_429_that_one_shard_gets_holds_all(self, client, emulator):
        batch_ids = [emulator.create_scripted_batch(NEVER) for _ in range(8)]
        async with wait_for_batches(client, batch_ids, shards=8, interval=0.05) as waiting:
            for _ in batch_ids:
                await anext(waiting)
            emulator.faults.append(faults.status(429, batch_id=batch_ids[0], headers={"Retry-After": "1"}))
            await eventually(lambda: any(request.status == 429 for request in emulator.requests))
            waiter = asyncio.create_task(anext(waiting, None))
            refused = next(request.received_at for request in emulator.requests if request.status == 429)
            await asyncio.sleep(1.5)
            waiter.cancel()
            await asyncio.gather(waiter, return_exceptions=True)
        came = [request.received_at for request in emulator.requests if request.received_at >= refused]
        assert max(later - earlier for earlier, later in pairwise(came)) > 0.7

    async def test_a_429_without_a_header_is_told_to_every_other_shard(self, client, emulator, monkeypatch):
        slowed = set()
        slow_down = Throttle.slow_down
        monkeypatch.setattr(
            Throttle, "slow_down", lambda throttle, *rest: (slowed.add(throttle), slow_down(throttle, *rest))
        )
        batch_ids = [emulator.create_scripted_batch(NEVER) for _ in range(4)]
        async with wait_for_batches(client, batch_ids, shards=4, interval=0.05) as waiting:
            for _ in batch_ids:
                await anext(waiting)
            emulator.faults.append(faults.status(429, batch_id=batch_ids[0]))
            await eventually(lambda: len(slowed) == 4)

    async def test_what_a_shard_had_is_lent_anew_as_soon_as_it_has_ended(self, client, emulator):
        ended, other = (emulator.create_scripted_batch(script) for script in ([[(0.0, "succeeded")]], NEVER))
        async with wait_for_batches(client, [ended, other], shards=2, max_rate=40.0, interval=0.05) as waiting:
            async for wait in waiting.as_completed():
                assert wait.batch_id == ended
                break
            loans = waiting._coordinator._budget._loans
            await eventually(lambda: len(loans) == 1)  # long before the loan is over
            await eventually(lambda: next(iter(loans.values()))[-1].rate > 30)


@pytest.mark.slow
async def test_a_worker_that_is_busy_otherwise_has_no_shards_moved_back_and_forth(client, cluster, emulator):
    batch_ids = [emulator.create_scripted_batch(NEVER) for _ in range(16)]
    busy = client.submit(time.sleep, 8, workers=[cluster.workers[0].address], pure=False)
    async with wait_for_batches(client, batch_ids, shards=8, interval=0.1) as waiting:
        await anext(waiting)
        await asyncio.sleep(6)
        submissions = sum(shard.submissions for shard in waiting._coordinator._shards)
    assert submissions <= 8 + 4
    await busy


@pytest.mark.slow
async def test_a_shard_that_fails_again_and_again_is_given_up(client, emulator, monkeypatch):
    calls = []

    def fail(_config) -> None:
        calls.append(1)
        raise ArithmeticError("so it is")

    monkeypatch.setattr(shard, "open_session", fail)
    with pytest.raises(ShardError, match="ArithmeticError: so it is") as caught:
        await wait_for_batches(client, [emulator.create_scripted_batch(NEVER)])
    assert len(calls) == 3
    assert caught.value.worker is not None


@pytest.mark.slow
async def test_a_server_that_comes_back_is_polled_again(client, emulator):
    emulator.faults.append(faults.status(503, times=2))
    (batch,) = await wait_for_batches(client, [emulator.create_scripted_batch([STEPS])], interval=0.05)
    assert batch.status_code == "succeeded"
