"""What one wait uses of a Dask cluster: tasks and queues under a name of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from runflow_async.distributed.channels import ConsumerChannel
from runflow_async.distributed.shard import run_shard

if TYPE_CHECKING:
    from collections.abc import Iterable

    from distributed import Client

    from runflow_async.distributed.records import ShardPlan, ShardRecord

__all__ = ["Cluster"]


class Cluster:
    """Submits shards and opens queues.

    Args:
        client: an asynchronous Dask client.
        plan: the settings that all shards share.
    """

    def __init__(self, client: Client, plan: ShardPlan) -> None:
        self._client: Any = client  # annotated in part
        self._plan = plan
        self._name = f"runflow-{uuid4().hex[:12]}"

    @property
    def reports(self) -> ConsumerChannel:
        """The queue of what all shards report."""
        return ConsumerChannel(self._client, self._name)

    def orders(self, run: str) -> ConsumerChannel:
        """Return the queue of the orders to one run of a shard."""
        return ConsumerChannel(self._client, f"{self._name}-{run}")

    def submit(self, shard: ShardRecord) -> None:
        """Submit a shard, to the worker that it should move to if there is one."""
        shard.submissions += 1
        key = f"{self._name}-{shard.number}-{shard.submissions}"
        shard.preferred, shard.moving_to = shard.moving_to, None
        where = {"workers": [shard.preferred], "allow_other_workers": True} if shard.preferred else {}
        shard.future = self._client.submit(
            run_shard,
            self._name,
            shard.number,
            key,
            self._plan.config,
            self._plan.options,
            paced=self._plan.max_rate is not None,
            key=key,
            pure=False,
            **where,
        )

    async def cancel(self, shards: Iterable[ShardRecord]) -> None:
        """Cancel the tasks of some shards; Dask runs none of them again."""
        await self._client.cancel([shard.future for shard in shards if shard.future is not None], force=True)

    async def workers(self) -> list[str]:
        """Return the addresses of all workers."""
        return list(await self._client.nthreads())
