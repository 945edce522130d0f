"""One shard, as its consumer knows it: what it has to do, where it runs, and how to speak to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runflow_async.distributed.messages import Stop, encode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from runflow_async.distributed.channels import Channel
    from runflow_async.distributed.messages import Order

__all__ = ["ShardRecord"]


class ShardRecord:
    """What is known of a shard.

    Attributes:
        number: of the shard.
        unfinished: its batches that have not ended.
        life: names its present run; None while there is none.
        worker: where that is.
        orders: how to speak to it.
        future: its task.
        moving_to: the worker on which it is to begin anew, once it has stopped.
        preferred: the worker on which its task was to run.
        submissions: how often its task was submitted.
        failures: how often that failed, without a word since.
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
        """Tell it something, if there is anybody to tell."""
        if self.orders is not None:
            await self.orders.put(encode(order))

    async def close_orders(self) -> None:
        """Stop whoever still listens, and let the scheduler forget the queue, for both ends."""
        orders, self.orders = self.orders, None
        if orders is not None:
            await orders.put(encode(Stop()))
            orders.close()
            orders.close()

    def is_stranded(self, workers: Sequence[str]) -> bool:
        """Whether Dask lets its task wait for ever: a worker that was preferred, however loosely, and that is gone."""
        return self.preferred is not None and not {self.preferred, self.worker} & {*workers}
