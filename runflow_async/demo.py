"""Three batches of an emulated server, followed concurrently over real HTTP, with every transition printed."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from runflow_async import RunflowSession, wait_adaptive
from runflow_async.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from uuid import UUID

    from runflow_async import BatchWait

__all__ = ["DEMO_INTERVAL", "DEMO_SECONDS", "demo_batches", "run_demo"]

DEMO_SECONDS = 8.0
"""Seconds that the longest of the batches takes."""
DEMO_INTERVAL = wait_adaptive(max=1.0)
"""A schedule that polls more often than the default."""


@asynccontextmanager
async def demo_batches(duration: float = DEMO_SECONDS) -> AsyncGenerator[tuple[RunflowSession, dict[UUID, str]]]:
    """Run an emulator with three batches of at most `duration` seconds; yield a session and the names by batch id."""
    async with (
        Emulator(seed=7) as emulator,
        RunflowSession(emulator.api_key, base_url=emulator.url) as session,
    ):
        yield (
            session,
            {
                emulator.create_batch(items=24, duration=duration * 0.6): "portraits",
                emulator.create_batch(items=24, duration=duration * 0.75, fail=0.25): "products",
                emulator.create_batch(items=24, duration=duration, stragglers=3): "clips",
            },
        )


async def run_demo(duration: float = DEMO_SECONDS) -> None:
    """Print the demo line by line; it ends a little after `duration` seconds."""
    async with demo_batches(duration) as (session, names):
        waits = session.wait_for_batches(names, timeout=60, interval=DEMO_INTERVAL)
        async for transition in waits:
            elapsed = waits.waits[transition.batch_id].stats.elapsed
            label = transition.item.client_ref or f"item {transition.item.sequence_index}"
            print(
                f"{elapsed:6.2f} s  {names[transition.batch_id]:<9}  {label:<10}  "
                f"{transition.previous or '(new)':<11} -> {transition.current}",
                flush=True,
            )
        print()
        for batch_id, name in names.items():
            print(_outcome_text(name, waits.waits[batch_id]), flush=True)


def _outcome_text(name: str, wait: BatchWait) -> str:
    batch, stats = wait.result(), wait.stats
    ends = Counter(item.status_code for item in batch.items or [])
    counts = ", ".join(f"{count} {status}" for status, count in sorted(ends.items()))
    return (
        f"{name:<9}  {batch.status_code or 'unknown':<17}  {counts}; "
        f"{stats.transitions} transitions in {stats.elapsed:.1f} s with {stats.polls} polls"
    )
