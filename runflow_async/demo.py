"""Three batches of an emulated server: created, followed concurrently and saved, over real HTTP."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from runflow_async import RunflowSession, wait_adaptive
from runflow_async.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from uuid import UUID

    from runflow_async import BatchWait
    from runflow_async.emulator import BatchPlan

__all__ = ["DEMO_INTERVAL", "DEMO_SECONDS", "demo_batches", "run_demo", "save_demo"]

DEMO_SECONDS = 8.0
"""Seconds that the longest of the batches takes."""
ITEMS = 24
"""Items of each batch."""
DEMO_INTERVAL = wait_adaptive(max=1.0)
"""A schedule that polls more often than the default."""


@asynccontextmanager
async def demo_batches(duration: float = DEMO_SECONDS) -> AsyncGenerator[tuple[RunflowSession, dict[UUID, str]]]:
    """Create three batches of at most `duration` seconds in an emulator; yield a session and the names by batch id."""
    plans: dict[str, BatchPlan] = {
        "portraits": {"duration": duration * 0.6},
        "products": {"duration": duration * 0.75, "fail": 0.25},
        "clips": {"duration": duration, "stragglers": 3},
    }
    async with (
        Emulator(seed=7) as emulator,
        RunflowSession(emulator.api_key, base_url=emulator.url) as session,
    ):
        names: dict[UUID, str] = {}
        for name, plan in plans.items():
            emulator.plan_created(**plan)
            inputs = [{"prompt": f"{name}, number {number}"} for number in range(ITEMS)]
            refs = [f"{name}-{number}" for number in range(ITEMS)]
            wait = await session.create_batch("demo/upscale", inputs, client_refs=refs)
            names[wait.batch_id] = name
        yield session, names


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
        print(await save_demo(session, names), flush=True)


async def save_demo(session: RunflowSession, names: Iterable[UUID]) -> str:
    """Save the outputs of the batches in a new folder, and return a line that tells where."""
    folder = tempfile.mkdtemp(prefix="runflow-demo-")
    saved = [await session.save_outputs(batch_id, folder) for batch_id in names]
    return f"saved {sum(len(one.files) for one in saved)} files in {folder}"


def _outcome_text(name: str, wait: BatchWait) -> str:
    batch, stats = wait.result(), wait.stats
    ends = Counter(item.status_code for item in batch.items or [])
    counts = ", ".join(f"{count} {status}" for status, count in sorted(ends.items()))
    return (
        f"{name:<9}  {batch.status_code or 'unknown':<17}  {counts}; "
        f"{stats.transitions} transitions in {stats.elapsed:.1f} s with {stats.polls} polls"
    )
