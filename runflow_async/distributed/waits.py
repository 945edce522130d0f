"""The public object for waits on Dask: merged transitions, one result, waits as they complete.

Decides what is delivered and when it is over. The coordinator manages the shards.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from runflow_async._lifetime import Lifetime
from runflow_async._waits.many import ManyWaits
from runflow_async.distributed.coordinator import Coordinator
from runflow_async.distributed.records import Consumer
from runflow_async.distributed.remote import RemoteRecord, RemoteWait

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from distributed import Client

    from runflow_async.distributed.messages import Known, News
    from runflow_async.distributed.records import ShardPlan
    from runflow_async.models import Batch, ItemTransition

__all__ = ["DistributedWait"]

WRONG_LOOP = "the client belongs to another event loop; wait for batches on that one"

MOST_PENDING = 20_000
"""Number of pending transitions at which the consumer stops receiving, so that the shards stop polling."""


class DistributedWait(ManyWaits[RemoteWait]):
    """Many batches that are waited for on a Dask cluster; made by `wait_for_batches`.

    Iterating yields the transitions of all batches as they arrive, each item's in order and each once. Awaiting returns
    the final batches in input order. The shards run from the first step until every batch has ended, `aclose()`, or a
    cancellation. All of these return only when the shards have stopped. After a cancellation you can continue: the
    shards start afresh from what was delivered. A slow consumer slows polling.

    If some waits failed, awaiting and iterating raise an `ExceptionGroup` at the end, with each failure's `batch_id`.
    The batches that succeeded remain available in `waits`.

    Attributes:
        ended: the waits that have ended, in the order in which the consumer learned of it.

    Args:
        client: an asynchronous Dask client.
        plan: the settings that all shards share.
        order: the batches in input order.
        shards: number of groups into which they are divided.
        since: snapshots seen earlier.
    """

    def __init__(
        self,
        client: Client,
        plan: ShardPlan,
        order: Sequence[UUID],
        shards: int,
        since: Mapping[UUID, Batch],
    ) -> None:
        scope = Lifetime(_loop(client), WRONG_LOOP).scope("the wait for batches")
        super().__init__(scope, "wait_for_batches()", lambda: client.status == "closed")
        self._order.extend(order)
        self._records = {batch_id: RemoteRecord(batch_id, since.get(batch_id)) for batch_id in order}
        self._waits |= {batch_id: RemoteWait(record) for batch_id, record in self._records.items()}
        self._client = client
        self._plan = plan
        self._shards = shards
        self._pending: deque[ItemTransition] = deque()
        self._set_aside: dict[tuple[UUID, UUID], ItemTransition] = {}
        self._coordinator: Coordinator | None = None
        self._stopping: asyncio.Future[None] | None = None
        self._deadline: float | None = None
        self._error: Exception | None = None
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    def _deliver(self) -> None:
        self._pending.extendleft(reversed(self._set_aside.values()))
        self._set_aside.clear()

    def _hold_back(self) -> None:
        while self._pending:
            self._put_aside(self._pending.popleft())
        self._room.set()

    def _put_aside(self, transition: ItemTransition) -> None:
        """Keep a transition for a later iteration, merged with one kept for the same item."""
        key = (transition.batch_id, transition.item.id)
        earlier = self._set_aside.pop(key, transition)
        if earlier.previous != transition.current:
            self._set_aside[key] = replace(transition, previous=earlier.previous)

    def _next_transition(self) -> ItemTransition | None:
        if not self._pending:
            return None
        transition = self._pending.popleft()
        self._records[transition.batch_id].deliver(transition)
        self._room.set()
        return transition

    def _next_transitions(self) -> list[ItemTransition]:
        transitions: list[ItemTransition] = []
        while self._pending and (not transitions or _is_same_response(transitions[0], self._pending[0])):
            transitions.append(self._pending.popleft())
        for transition in transitions:
            self._records[transition.batch_id].deliver(transition)
        self._room.set()
        return transitions

    async def _until_news(self) -> None:
        self._news.clear()
        await self._start()
        if self._error is None:
            await self._news.wait()
        if self._error is not None:
            raise self._error

    async def _start(self) -> None:
        if self._coordinator is not None:
            return
        await self._halt()
        self._error = None
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._plan.options.timeout
        self._coordinator = Coordinator(
            self._client,
            self._plan,
            self._groups(),
            deadline=self._deadline,
            consumer=Consumer(self._known, self._take, self._fail),
        )
        await self._coordinator.start()

    async def _halt(self) -> None:
        self._begin_to_stop()
        if self._stopping is not None:
            await asyncio.shield(self._stopping)

    def _begin_to_stop(self) -> None:
        coordinator, self._coordinator = self._coordinator, None
        if coordinator is not None:
            self._stopping = asyncio.ensure_future(coordinator.stop())
            self._room.set()  # for a receiver that is waiting to finish

    def _groups(self) -> list[list[UUID]]:
        unfinished = [batch_id for batch_id, wait in self._waits.items() if not wait.done()]
        return [group for number in range(self._shards) if (group := unfinished[number :: self._shards])]

    def _known(self, batch_ids: set[UUID]) -> list[Known]:
        pending: dict[UUID, list[ItemTransition]] = {batch_id: [] for batch_id in batch_ids}
        for transition in (*self._set_aside.values(), *self._pending):
            if transition.batch_id in pending:
                pending[transition.batch_id].append(transition)
        return [self._records[batch_id].known(transitions) for batch_id, transitions in pending.items()]

    async def _take(self, news: News) -> None:
        self._pending.extend(news.transitions)
        for ended in news.ended:
            record = self._records[ended.batch_id]
            if record.ended is None:
                record.ended = ended
                self.ended.append(self._waits[ended.batch_id])
        self._news.set()
        if self._is_over:
            self._begin_to_stop()
        while len(self._pending) > MOST_PENDING and self._coordinator is not None:
            self._room.clear()
            await self._room.wait()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._news.set()


def _is_same_response(one: ItemTransition, other: ItemTransition) -> bool:
    return one.batch_id == other.batch_id and one.observed_at == other.observed_at


def _loop(client: Any) -> asyncio.AbstractEventLoop:
    loop: asyncio.AbstractEventLoop = client.loop.asyncio_loop
    return loop
