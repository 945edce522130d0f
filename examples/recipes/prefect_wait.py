"""Wait for a batch in a Prefect flow: a task that is retried goes on where it failed."""

from __future__ import annotations

import asyncio
import os

from prefect import flow, task

from runflow_async import ItemTransition, RunflowSession
from runflow_async.checkpoints import SQLiteCheckpoints


@task(retries=3, retry_delay_seconds=10)
async def follow_batch(batch_id: str) -> str | None:
    """Handle each transition of a batch; return the status it ended with."""
    async with RunflowSession() as session, SQLiteCheckpoints(os.environ["RUNFLOW_CHECKPOINTS"]) as checkpoints:
        wait = session.wait_for_batch(batch_id, timeout=None, checkpoint=checkpoints)
        async for transition in wait:
            await handle(transition)
        return (await wait).status_code


async def handle(transition: ItemTransition) -> None:
    """Do your work; this example prints."""
    print(transition.item.client_ref, transition.current)


@flow
async def follow_batches(batch_ids: list[str]) -> list[str | None]:
    """Follow batches at the same time; return their statuses."""
    return await asyncio.gather(*(follow_batch(batch_id) for batch_id in batch_ids))
