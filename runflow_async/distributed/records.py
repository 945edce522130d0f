"""One shard, as its consumer knows it: what it has to do, where it runs, and how to speak to it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runflow_async.distributed.config import SessionConfig
from runflow_async.distributed.messages import Stop, encode
from runflow_async.distributed.shard import WaitKeywords
from runflow_async.errors import WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from runflow_async.distributed.channels import Channel
    from runflow_async.distributed.messages import Order

__all__ = ["ShardPlan", "ShardRecord", "choose_moves", "no_worker_in_time"]


class ShardPlan(Struct, frozen=True, kw_only=True):
    """What all shards have in common.

    Attributes:
        config: makes their sessions.
        keywords: of their waits.
        timeout: seconds of each wait, or None.
        max_rate: requests per second of all together, or None.
    """

    config: SessionConfig
    keywords: WaitKeywords
    timeout: float | None
    max_rate: float | None


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
        """Stop whoever still listens, and let the scheduler forget the queue."""
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
        """Whether Dask lets its task wait for ever: a worker that was preferred, however loosely, and that is gone."""
        return self.preferred is not None and not {self.preferred, self.worker} & {*workers}


def choose_moves(
    running: Sequence[ShardRecord], workers: Sequence[str], willing: Sequence[str]
) -> dict[ShardRecord, str]:
    """The shards that have to move so that the workers have equally many, each with its new worker."""
    counts = Counter({worker: 0 for worker in workers})  # noqa: C420  # a Counter of them would count each once
    counts.update(shard.worker for shard in running if shard.worker)
    most, highest = counts.most_common(1)[0]
    fewest = min(willing, key=counts.__getitem__)
    # To a worker that has none one goes ahead, for it may have other things to do.
    count = (highest - counts[fewest]) // 2 if counts[fewest] else min(1, highest // 2)
    return dict.fromkeys([shard for shard in running if shard.worker == most][:count], fewest)


def no_worker_in_time(batch_id: UUID) -> WaitTimeoutError:
    """The error of a batch that nobody could wait for to the end."""
    return WaitTimeoutError(
        f"batch {batch_id} may be still running; there was no worker to wait for it when the timeout was over: wait "
        "again, with workers and a longer timeout",
        batch_id=batch_id,
    )
