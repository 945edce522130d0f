"""Message queues that the Dask scheduler keeps between a consumer and its shards.

Both ends call the scheduler over the connection that they have. When a `distributed.Queue` is awaited, it counts itself
twice, so the scheduler would never forget it. It also needs a `Client`, and a worker that fails to connect one keeps it
and gives it to every later task.
"""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["Channel", "ConsumerChannel"]


class Channel:
    """A first-in, first-out queue of bytes: the end of a shard.

    Args:
        scheduler: an interface to the scheduler.
        name: name of the queue.
    """

    def __init__(self, scheduler: Any, name: str) -> None:
        self._scheduler = scheduler
        self._name = name

    async def open(self, *, most: int = 0) -> None:
        """Open the queue. The first to open it sets how many messages it can hold; 0 means any number.

        The consumer closes it for its shard, because a worker may die before it could.
        """
        await self._scheduler.queue_create(name=self._name, maxsize=most)

    async def put(self, message: bytes) -> None:
        """Add a message as soon as there is room for it."""
        await self._scheduler.queue_put(name=self._name, data=message, timeout=None)

    async def get(self) -> bytes:
        """Take the next message. A cancelled call may lose the message it has taken."""
        record = await self._scheduler.queue_get(name=self._name, timeout=None, batch=False)
        message: bytes = record["value"]
        return message

    async def get_waiting(self) -> list[bytes]:
        """Take all messages that are waiting."""
        records = await self._scheduler.queue_get(name=self._name, timeout=None, batch=True)
        return [record["value"] for record in records]


class ConsumerChannel(Channel):
    """The consumer's end of a queue.

    Args:
        client: an asynchronous Dask client.
        name: name of the queue.
    """

    def __init__(self, client: Any, name: str) -> None:
        super().__init__(client.scheduler, name)
        self._client = client

    async def open(self, *, most: int = 0) -> None:
        """Open the queue, as for a shard. A cancelled call closes it again."""
        opening = asyncio.ensure_future(super().open(most=most))
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            # Not before it exists, or the scheduler would never forget it.
            opening.add_done_callback(lambda _: self.close())
            raise

    def close(self) -> None:
        """Release the queue; the scheduler forgets a queue that nobody holds, and ignores one that is unknown."""
        if self._client.status == "running":
            self._client._send_to_scheduler({"op": "queue_release", "name": self._name})  # noqa: SLF001  # as Queue does
