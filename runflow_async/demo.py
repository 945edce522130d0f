"""Three batches of an emulated server, awaited concurrently over real HTTP, with every transition printed."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from runflow_async.emulator import Emulator
from runflow_async.session import RunflowSession
from runflow_async.waits import wait_adaptive

if TYPE_CHECKING:
    from runflow_async.waiting import BatchWait

__all__ = ["run_demo"]


async def run_demo(duration: float = 8.0) -> None:
    """Run the demo; ends by itself a little after `duration` seconds."""
    async with (
        Emulator(seed=7) as emulator,
        RunflowSession(emulator.api_key, base_url=emulator.url) as session,
    ):
        batches = {
            "portraits": emulator.create_batch(items=24, duration=duration * 0.6),
            "products": emulator.create_batch(items=24, duration=duration * 0.75, fail=0.25),
            "clips": emulator.create_batch(items=24, duration=duration, stragglers=3),
        }
        lively = wait_adaptive(max=1.0)
        waits = {
            name: session.wait_for_batch(batch_id, timeout=60, interval=lively) for name, batch_id in batches.items()
        }
        async with asyncio.TaskGroup() as group:
            for name, wait in waits.items():
                group.create_task(_follow(name, wait))
        print()
        for name, wait in waits.items():
            print(_summarise(name, wait))


async def _follow(name: str, wait: BatchWait) -> None:
    async for transition in wait:
        label = transition.item.client_ref or f"item {transition.item.sequence_index}"
        print(
            f"{wait.stats.elapsed:6.2f} s  {name:<9}  {label:<10}  "
            f"{transition.previous or '(new)':<11} -> {transition.current}"
        )


def _summarise(name: str, wait: BatchWait) -> str:
    batch, stats = wait.result(), wait.stats
    ends = Counter(item.status_code for item in batch.items or [])
    counts = ", ".join(f"{count} {status}" for status, count in sorted(ends.items()))
    return (
        f"{name:<9}  {batch.status_code or 'unknown':<17}  {counts}; "
        f"{stats.transitions} transitions in {stats.elapsed:.1f} s with {stats.polls} polls"
    )
