"""Message queues that the Dask scheduler keeps between a consumer and its shards."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from distributed import Queue

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Channel", "WorkerChannel"]


class _Queue(Queue):
    """Dask's queue, but counted once by the scheduler: awaiting it opens it again, so it would never be forgotten."""

    def _maybe_start(self) -> None:
        if not hasattr(self, "_started"):
            super()._maybe_start()  # type: ignore[no-untyped-call]


class Channel:
    """A first-in, first-out queue of bytes: the consumer's end, made by `open`.

    Args:
        queue: the Dask queue.
    """

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    @classmethod
    async def open(cls, client: Client, name: str, *, most: int = 0) -> Self:
        """Open the queue of this name. The first to open it sets how many messages it can hold; 0 means any number."""
        queue: Any = _Queue(name, client=client, maxsize=most)  # type: ignore[no-untyped-call]
        creating = asyncio.ensure_future(queue)
        try:
            return cls(await asyncio.shield(creating))
        except asyncio.CancelledError:

            def let_go(created: asyncio.Future[Any]) -> None:
                if not created.cancelled() and created.exception() is None:
                    queue.close()

            creating.add_done_callback(let_go)  # not before it exists, or the scheduler would never forget it
            raise

    async def put(self, message: bytes) -> None:
        """Add a message as soon as there is room for it."""
        await self._queue.put(message)

    async def get(self) -> bytes:
        """Take the next message. A cancelled call may lose the message it has taken."""
        message: bytes = await self._queue.get()
        return message

    async def get_waiting(self) -> list[bytes]:
        """Take all messages that are waiting."""
        messages: list[bytes] = await self._queue.get(batch=True)
        return messages

    def close(self) -> None:
        """Release a queue that was opened; the scheduler forgets a queue that nobody holds."""
        self._queue.close()


class WorkerChannel:
    """A shard's end of a queue, over its worker's own connection to the scheduler.

    A `Client` on the worker is no alternative: if it fails while connecting, the worker keeps it and gives it to every
    later task.

    Args:
        scheduler: the worker's interface to the scheduler.
        name: name of the queue.
    """

    def __init__(self, scheduler: Any, name: str) -> None:
        self._scheduler = scheduler
        self._name = name

    async def open(self) -> None:
        """Open the queue. Its consumer closes it for us, because a worker may die before it could."""
        await self._scheduler.queue_create(name=self._name, maxsize=0)

    async def put(self, message: bytes) -> None:
        """Add a message as soon as there is room for it."""
        await self._scheduler.queue_put(name=self._name, data=message, timeout=None)

    async def get(self) -> bytes:
        """Take the next message. A cancelled call may lose the message it has taken."""
        record = await self._scheduler.queue_get(name=self._name, timeout=None, batch=False)
        message: bytes = record["value"]
        return message
