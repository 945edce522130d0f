"""Feed items that have ended into a queue with workers: `python examples/stream_to_queue.py BATCH_ID...`.

The queue is bounded: slow workers slow polling, so nothing piles up. A worker that fails ends everything. A batch that
fails is reported once all others have ended.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from runflow_async import ItemTransition, RunflowSession

if TYPE_CHECKING:
    from collections.abc import Iterable

WORKERS = 4


async def work(transition: ItemTransition) -> None:
    """Process an item that has ended; this example prints it."""
    print(transition.batch_id, transition.item.client_ref, transition.current)


async def empty(ended: asyncio.Queue[ItemTransition]) -> None:
    """Process one item after the other until cancelled."""
    while True:
        await work(await ended.get())
        ended.task_done()


async def main(batch_ids: Iterable[str]) -> int:
    """Return the exit status: 1 if a batch could not be awaited."""
    ended: asyncio.Queue[ItemTransition] = asyncio.Queue(maxsize=100)
    status = 0
    async with RunflowSession() as session, asyncio.TaskGroup() as group:
        workers = [group.create_task(empty(ended)) for _ in range(WORKERS)]
        try:
            async for transition in session.wait_for_batches(batch_ids):
                if transition.is_terminal:
                    await ended.put(transition)
        except ExceptionGroup as failures:
            print(*failures.exceptions, sep="\n", file=sys.stderr)
            status = 1
        await ended.join()
        for worker in workers:
            worker.cancel()
    return status


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
