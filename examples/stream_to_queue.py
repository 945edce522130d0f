"""Stream the ends of all items into a queue that workers empty: `python examples/stream_to_queue.py BATCH_ID...`.

The queue is bounded: workers that do not keep up slow the polls down, and nothing piles up.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from runflow_async import ItemTransition, RunflowSession

if TYPE_CHECKING:
    from collections.abc import Iterable

WORKERS = 4


async def produce(
    session: RunflowSession, batch_ids: Iterable[str], ended: asyncio.Queue[ItemTransition | None]
) -> None:
    """Put every item that has ended into the queue, and then one None for each worker."""
    try:
        async for transition in session.wait_for_batches(batch_ids):
            if transition.is_terminal:
                await ended.put(transition)
    finally:
        for _ in range(WORKERS):
            await ended.put(None)


async def consume(ended: asyncio.Queue[ItemTransition | None]) -> int:
    """Do something with each; here, print it."""
    count = 0
    while (transition := await ended.get()) is not None:
        print(transition.batch_id, transition.item.client_ref, transition.current)
        count += 1
    return count


async def main(batch_ids: Iterable[str]) -> int:
    """Return how many items ended."""
    ended: asyncio.Queue[ItemTransition | None] = asyncio.Queue(maxsize=100)
    async with RunflowSession() as session, asyncio.TaskGroup() as group:
        workers = [group.create_task(consume(ended)) for _ in range(WORKERS)]
        group.create_task(produce(session, batch_ids, ended))
    return sum(worker.result() for worker in workers)


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1:])), "items ended")
