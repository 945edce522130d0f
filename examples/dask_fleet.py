"""Follow many batches on a Dask cluster of this machine, against an emulated server: `python examples/dask_fleet.py`.

One worker is killed halfway; every transition is still delivered, once. To use your own cluster, pass its address to
`Client` and set RUNFLOW_API_KEY in the environment of its workers.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
from collections import Counter
from typing import Any

from distributed import Client, LocalCluster

from runflow_async.distributed import wait_for_batches
from runflow_async.emulator import Emulator


def make_cluster(workers: int) -> Any:
    """Single-threaded processes that are restarted when they die; Dask annotates them only in part."""
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        asynchronous=True,
        dashboard_address=":0",
        silence_logs=logging.CRITICAL,
    )


async def main(batches: int, workers: int, seconds: float) -> Counter[str]:
    """Print the progress about every second; return how many items ended in each status."""
    async with Emulator(seed=1) as emulator:
        # The workers inherit this environment, so the key does not pass through the scheduler.
        os.environ |= {"RUNFLOW_API_KEY": emulator.api_key, "RUNFLOW_BASE_URL": emulator.url}
        async with make_cluster(workers) as cluster, Client(cluster, asynchronous=True) as client:
            batch_ids = [emulator.create_batch(items=8, duration=seconds, fail=0.1) for _ in range(batches)]
            waits = wait_for_batches(client, batch_ids, max_rate=200.0, timeout=300)
            ended: Counter[str] = Counter()
            began = reported_at = asyncio.get_running_loop().time()
            victim: int | None = next(iter(cluster.workers.values())).pid  # of its nanny
            async for transition in waits:
                if transition.is_terminal:
                    ended[transition.current] += 1
                if victim is not None and 2 * ended.total() > 8 * batches:
                    print("killing a worker")
                    os.kill(victim, signal.SIGKILL)
                    victim = None
                now = asyncio.get_running_loop().time()
                if now > reported_at + 1:
                    reported_at = now
                    print(f"{now - began:5.1f} s  {dict(ended)}, {len(waits.ended)} of {batches} batches ended")
            print(f"in the end  {dict(ended)}, {len(waits.ended)} of {batches} batches ended")
            return ended


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds that the batches take")
    options = parser.parse_args()
    asyncio.run(main(options.batches, options.workers, options.seconds))
