"""Follow batches in taskiq workers: `taskiq worker taskiq_worker:broker`, then `await follow_batch.kiq(batch_id)`.

One session for each worker process. A task that is delivered again, because its worker was killed, goes on where that
worker was.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import Annotated

from taskiq import Context, InMemoryBroker, TaskiqDepends, TaskiqEvents, TaskiqState

from runflow_async import ItemTransition, RunflowSession
from runflow_async.checkpoints import SQLiteCheckpoints

broker = InMemoryBroker()  # in production one that redelivers, such as RedisStreamBroker or AioPikaBroker


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def start(state: TaskiqState) -> None:
    """Open what the tasks of this process share."""
    state.stack = AsyncExitStack()
    state.session = await state.stack.enter_async_context(RunflowSession())
    checkpoints = SQLiteCheckpoints(os.environ["RUNFLOW_CHECKPOINTS"])
    state.checkpoints = await state.stack.enter_async_context(checkpoints)


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def stop(state: TaskiqState) -> None:
    """Write what is left and close."""
    await state.stack.aclose()


@broker.task
async def follow_batch(batch_id: str, context: Annotated[Context, TaskiqDepends()]) -> str | None:
    """Handle each transition of a batch; return the status it ended with."""
    session: RunflowSession = context.state.session
    wait = session.wait_for_batch(batch_id, timeout=None, checkpoint=context.state.checkpoints)
    async for transition in wait:
        await handle(transition)
    return (await wait).status_code


async def handle(transition: ItemTransition) -> None:
    """Do your work; this example prints."""
    print(transition.item.client_ref, transition.current)
