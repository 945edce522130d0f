"""One shard, as its consumer knows it: its batches, where it runs, and how to reach it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runflow_async._waits.options import WaitOptions
from runflow_async.distributed.config import SessionConfig
from runflow_async.distributed.messages import Stop, encode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from runflow_async.distributed.channels import Channel
    from runflow_async.distributed.messages import Order

__all__ = ["ShardPlan", "ShardRecord", "choose_moves"]


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


class ShardRecord:
    """The state of a shard, as its consumer knows it.

    Attributes:
        number: number of the shard.
        unfinished: its batches that have not ended.
        life: identifies its current run; None while there is none.
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
        self.life: str | None = None
        self.worker: str | None = None
        self.orders: Channel | None = None
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

    def is_stranded(self, workers: Sequence[str]) -> bool:
        """Whether Dask makes its task wait forever for a worker that is gone, even if it was only preferred."""
        return self.preferred is not None and not {self.preferred, self.worker} & {*workers}


def choose_moves(
    running: Sequence[ShardRecord], workers: Sequence[str], willing: Sequence[str]
) -> dict[ShardRecord, str]:
    """Return the shards to move so that the workers have equally many, each with its new worker."""
    counts = Counter({worker: 0 for worker in workers})  # noqa: C420  # a Counter of them would count each once
    counts.update(shard.worker for shard in running if shard.worker)
    most, highest = counts.most_common(1)[0]
    fewest = min(willing, key=counts.__getitem__)
    # Send an idle worker one shard first: it may be busy with other tasks.
    count = (highest - counts[fewest]) // 2 if counts[fewest] else min(1, highest // 2)
    return dict.fromkeys([shard for shard in running if shard.worker == most][:count], fewest)
