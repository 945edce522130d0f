"""One shard, as its consumer knows it: its batches, where it runs, and how to reach it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct

from runflow_async._waits.options import WaitOptions
from runflow_async.distributed.config import SessionConfig
from runflow_async.distributed.messages import Stop, encode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from uuid import UUID

    from runflow_async.distributed.channels import ConsumerChannel
    from runflow_async.distributed.messages import Known, News, Order

__all__ = ["Consumer", "ShardPlan", "ShardRecord"]


class ShardPlan(Struct, frozen=True):
    """The settings that all shards share.

    Attributes:
        config: creates their sessions.
        options: of their waits.
        max_rate: requests per second of all shards together, or None.
    """

    config: SessionConfig
    options: WaitOptions
    max_rate: float | None


class Consumer(NamedTuple):
    """Whoever delivers the transitions.

    Attributes:
        known: returns what is known of a shard's unfinished batches when it starts afresh.
        take: processes news; returns once there is room for more.
        fail: called with the error that ends everything.
    """

    known: Callable[[set[UUID]], list[Known]]
    take: Callable[[News], Awaitable[None]]
    fail: Callable[[Exception], None]


class ShardRecord:
    """The state of a shard, as its consumer knows it.

    Attributes:
        number: number of the shard.
        unfinished: its batches that have not ended.
        run: identifies its current run; None while there is none.
        worker: the worker of that run.
        orders: the queue to that run.
        future: its task.
        moving_to: the worker on which it will start afresh after it has stopped.
        preferred: the worker that its task was meant for.
        submissions: how often its task was submitted.
        failures: how often its task failed since the last message from it.
    """

    def __init__(self, number: int, batch_ids: Sequence[UUID]) -> None:
        self.number = number
        self.unfinished = set(batch_ids)
        self.run: str | None = None
        self.worker: str | None = None
        self.orders: ConsumerChannel | None = None
        self.future: Any = None
        self.moving_to: str | None = None
        self.preferred: str | None = None
        self.submissions = 0
        self.failures = 0

    async def order(self, order: Order) -> None:
        """Send it an order, if it runs."""
        if self.orders is not None:
            await self.orders.put(encode(order))

    async def close_orders(self) -> None:
        """Stop the current run, if any, and let the scheduler forget the queue."""
        try:
            await self.order(Stop())
        finally:
            self.release_orders()

    def release_orders(self) -> None:
        """Let the scheduler forget the queue, for both ends."""
        orders, self.orders = self.orders, None
        if orders is not None:
            orders.close()
            orders.close()

    async def settled(self) -> None:
        """Wait until its task has ended, however it ends."""
        with suppress(Exception):
            await self.future

    def is_stranded(self, workers: Sequence[str]) -> bool:
        """Whether Dask makes its task wait forever for a worker that is gone, even if it was only preferred."""
        return self.preferred is not None and not {self.preferred, self.worker} & {*workers}
