"""Workers that join, leave and are killed, each a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from typing import TYPE_CHECKING

import dask
import pytest
from distributed import Client, LocalCluster

from runflow_async.distributed import wait_for_batches
from runflow_async.emulator import Emulator
from tests.distributed.test_waits import chained
from tests.rig import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runflow_async import ItemTransition
    from runflow_async.distributed import DistributedWait

pytestmark = pytest.mark.slow

STEPS = [(0.0, "queued"), (2.0, "running"), (6.0, "succeeded")]


class Clock:
    """The emulator's clock, which stands still until a test moves it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def emulator(clock) -> AsyncIterator[Emulator]:
    async with Emulator(seed=1, clock=clock) as emulator:
        yield emulator


@pytest.fixture
async def cluster(unmeasured) -> AsyncIterator[LocalCluster]:
    # What a local cluster misses for 15 s, on a busy machine or killed again at that moment, it does not start again.
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"}):
        async with LocalCluster(
            n_workers=2, threads_per_worker=1, asynchronous=True, dashboard_address=":0", silence_logs="ERROR"
        ) as cluster:
            yield cluster


async def kill_workers(client: Client, count: int) -> None:
    processes = await client.run(os.getpid)
    for process in list(processes.values())[:count]:
        os.kill(process, signal.SIGKILL)


async def collect(waiting: DistributedWait) -> list[ItemTransition]:
    return [transition async for transition in waiting]


async def started_anew(client: Client, waiting: DistributedWait, runs: set[str | None]) -> set[str | None]:
    """Return the names of the shards' runs, once all of them run and none as before."""
    workers: set[str] = set()

    def current() -> set[str | None]:
        return {shard.run for shard in waiting._coordinator._shards if shard.worker in workers}

    while len(current() - {None} - runs) < len(waiting._coordinator._shards):
        workers = set(await client.nthreads())
        await asyncio.sleep(0.05)
    return current()


@pytest.mark.parametrize("deaths", [1, 2], ids=["one of two workers", "all workers"])
async def test_after_workers_died_every_transition_is_delivered_once(client, emulator, clock, deaths):
    batch_ids = [emulator.create_scripted_batch([STEPS] * 3) for _ in range(40)]
    waiting = wait_for_batches(client, batch_ids, interval=0.2, timeout=None)
    seen = []
    async for transition in waiting:
        seen.append(transition)
        if len(seen) == 120:
            clock.now = 2.0
        elif len(seen) == 150:
            await kill_workers(client, deaths)
        elif len(seen) == 240:
            clock.now = 6.0
    assert list(chained(seen).values()) == ["succeeded"] * 120


async def test_after_workers_were_killed_repeatedly_no_shard_is_lost(client, emulator, clock):
    """More often than Dask lets a task's workers die."""
    batch_ids = [emulator.create_scripted_batch([STEPS]) for _ in range(8)]
    waiting = wait_for_batches(client, batch_ids, interval=0.2, timeout=None)
    seen = [await anext(waiting) for _ in batch_ids]
    collecting = asyncio.create_task(collect(waiting))
    runs: set[str | None] = set()
    for _ in range(5):
        runs |= await started_anew(client, waiting, runs)
        await kill_workers(client, 2)
    clock.now = 6.0
    seen += await collecting
    assert list(chained(seen).values()) == ["succeeded"] * 8


async def test_shards_move_to_workers_that_join_and_from_those_that_leave(client, cluster, emulator):
    batch_ids = [emulator.create_scripted_batch([[(0.0, "running")]]) for _ in range(64)]
    async with wait_for_batches(client, batch_ids, shards=8, interval=0.1) as waiting:

        async def consume() -> None:
            async for _ in waiting:
                pass

        consuming = asyncio.create_task(consume())

        def spread() -> list[int]:
            shards = waiting._coordinator._shards if waiting._coordinator else []
            return sorted(Counter(shard.worker for shard in shards if shard.run and not shard.moving_to).values())

        await eventually(lambda: spread() == [4, 4])
        cluster.scale(4)
        await eventually(lambda: spread() == [2, 2, 2, 2])
        cluster.scale(1)
        await eventually(lambda: spread() == [8])
        consuming.cancel()
        await asyncio.gather(consuming, return_exceptions=True)
