"""Workers that die, come and go: processes of their own, some of them killed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from distributed import Client, LocalCluster

from runflow_async.distributed import wait_for_batches
from tests.distributed.test_waits import chained
from tests.rig import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.slow

STEPS = [(0.0, "queued"), (2.0, "running"), (6.0, "succeeded")]


@pytest.fixture
async def cluster() -> AsyncIterator[LocalCluster]:
    async with LocalCluster(
        n_workers=2, threads_per_worker=1, asynchronous=True, dashboard_address=":0", silence_logs="ERROR"
    ) as cluster:
        yield cluster


async def kill_workers(client: Client, count: int) -> None:
    processes = await client.run(os.getpid)
    for process in list(processes.values())[:count]:
        os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize("deaths", [1, 2], ids=["one of two workers", "all workers"])
async def test_workers_that_die_cost_time_but_no_transition_and_tell_none_twice(client, emulator, deaths):
    batch_ids = [emulator.create_scripted_batch([STEPS] * 3) for _ in range(40)]
    seen = []
    async for transition in wait_for_batches(client, batch_ids, interval=0.2, timeout=60):
        seen.append(transition)
        if len(seen) == 150:
            await kill_workers(client, deaths)
    assert list(chained(seen).values()) == ["succeeded"] * 120


async def test_a_worker_that_is_killed_again_and_again_gets_no_shard_lost(client, emulator):
    batch_ids = [emulator.create_scripted_batch([[(0.0, "queued"), (20.0, "succeeded")]]) for _ in range(8)]
    waiting = wait_for_batches(client, batch_ids, interval=0.2, timeout=90)
    seen = [await anext(waiting) for _ in batch_ids]

    async def keep_killing() -> None:
        for _ in range(5):  # more often than Dask lets a task's workers die
            await kill_workers(client, 2)
            await asyncio.sleep(3)

    killing = asyncio.create_task(keep_killing())
    seen += [transition async for transition in waiting]
    await killing
    assert list(chained(seen).values()) == ["succeeded"] * 8


async def test_workers_that_join_get_shards_and_those_that_leave_give_theirs_back(client, cluster, emulator):
    batch_ids = [emulator.create_scripted_batch([[(0.0, "running")]]) for _ in range(64)]
    async with wait_for_batches(client, batch_ids, shards=8, interval=0.1) as waiting:

        async def consume() -> None:
            async for _ in waiting:
                pass

        consuming = asyncio.create_task(consume())

        def spread() -> list[int]:
            shards = waiting._coordinator._shards if waiting._coordinator else []
            return sorted(Counter(shard.worker for shard in shards if shard.life and not shard.moving_to).values())

        await eventually(lambda: spread() == [4, 4])
        cluster.scale(4)
        await eventually(lambda: spread() == [2, 2, 2, 2])
        cluster.scale(1)
        await eventually(lambda: spread() == [8])
        consuming.cancel()
        await asyncio.gather(consuming, return_exceptions=True)
