"""The public object for waits on Dask: merged transitions, one result, waits as they complete.

Decides what is delivered and when it is over. The coordinator manages the shards.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Generator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from msgspec.structs import replace

from runflow_async._lifetime import Lifetime
from runflow_async._waits.completions import Completions, raise_failures
from runflow_async._waits.unused import WarnsIfUnused
from runflow_async.distributed.coordinator import Coordinator
from runflow_async.distributed.remote import RemoteWait
from runflow_async.errors import WaitClosedError
from runflow_async.models import Batch, ItemTransition

if TYPE_CHECKING:
    from types import TracebackType
    from uuid import UUID

    from distributed import Client

    from runflow_async.distributed.messages import Known, News
    from runflow_async.distributed.records import ShardPlan

__all__ = ["DistributedWait"]

WRONG_LOOP = "the client belongs to another event loop; wait for batches on that one"

MOST_UNTOLD = 20_000
"""Number of untaken transitions at which the consumer stops receiving, so that the shards stop polling."""


class DistributedWait(WarnsIfUnused, Awaitable[list[Batch]], AsyncIterator[ItemTransition]):
    """Many batches that are waited for on a Dask cluster; made by `wait_for_batches`.

    Iterating yields the transitions of all batches as they arrive, each item's in order and each once. Awaiting returns
    the final batches in input order. The shards run from the first step until every batch has ended, `aclose()`, or a
    cancellation. All of these return only when the shards have stopped. After a cancellation you can continue: the
    shards start afresh from what was yielded. A slow consumer slows polling.

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
        self, client: Client, plan: ShardPlan, order: Sequence[UUID], shards: int, since: Mapping[UUID, Batch]
    ) -> None:
        self._client = client
        self._plan = plan
        self._order = order
        self._shards = shards
        self._waits = {batch_id: RemoteWait(batch_id, since.get(batch_id)) for batch_id in order}
        self._unfinished = len(self._waits)
        self.ended: list[RemoteWait] = []
        self._untold: deque[ItemTransition] = deque()
        self._set_aside: dict[tuple[UUID, UUID], ItemTransition] = {}
        self._coordinator: Coordinator | None = None
        self._stopping: asyncio.Future[None] | None = None
        self._deadline: float | None = None
        self._error: Exception | None = None
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._closed = False
        self._scope = Lifetime(_loop(client), WRONG_LOOP).scope("the wait for batches")

    def __repr__(self) -> str:
        return f"<DistributedWait of {len(self._waits)} batches, {self._unfinished} unfinished>"

    @property
    def waits(self) -> Mapping[UUID, RemoteWait]:
        """The wait of every batch, by its id."""
        return MappingProxyType(self._waits)

    def as_completed(self) -> Completions[RemoteWait]:
        """Iterate the waits as they end, successfully or not; `wait.result()` raises the error of a failed one."""
        return Completions(self)

    async def __anext__(self) -> ItemTransition:
        self.note_use()
        self._scope.check_free()
        self._untold.extendleft(reversed(self._set_aside.values()))
        self._set_aside.clear()
        while not self._closed:
            if self._untold:
                transition = self._untold.popleft()
                self._waits[transition.batch_id].take(transition)
                self._room.set()
                return transition
            if not self._unfinished:
                await self._stop()
                self._raise_failures()
                break
            try:
                await self._until_news()
            except WaitClosedError:
                break
        raise StopAsyncIteration

    def __await__(self) -> Generator[None, None, list[Batch]]:
        return self._complete().__await__()

    async def _complete(self) -> list[Batch]:
        await self.settle()
        await self._stop()
        self._raise_failures()
        return [self._waits[batch_id].result() for batch_id in self._order]

    async def settle(self, ended: int | None = None) -> None:
        """Wait until this many batches have ended, by default all, without delivering their transitions."""
        self.note_use()
        self._scope.check_free()
        while True:
            while self._untold:
                self._put_aside(self._untold.popleft())
            self._room.set()
            if not self._unfinished or (ended is not None and len(self.ended) >= ended):
                return
            await self._until_news()

    def _put_aside(self, transition: ItemTransition) -> None:
        """Keep a transition for a later iteration, merged with one kept for the same item."""
        key = (transition.batch_id, transition.item.id)
        earlier = self._set_aside.pop(key, transition)
        if earlier.previous != transition.current:
            self._set_aside[key] = replace(transition, previous=earlier.previous)

    async def aclose(self) -> None:
        """End the wait for good; the shards have stopped when this returns."""
        self.note_use()
        self._closed = True
        await self._scope.interrupt(WaitClosedError())
        await self._stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _until_news(self) -> None:
        with self._scope:
            if self._closed:
                raise WaitClosedError
            try:
                self._news.clear()
                await self._start()
                if self._error is None:
                    await self._news.wait()
            except BaseException:
                await self._stop()
                raise
            if self._error is not None:
                await self._stop()
                raise self._error

    async def _start(self) -> None:
        if self._coordinator is not None:
            return
        await self._stop()
        self._error = None
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._plan.timeout
        self._coordinator = Coordinator(
            self._client,
            self._plan,
            self._groups(),
            deadline=self._deadline,
            known=self._known,
            take=self._take,
            fail=self._fail,
        )
        await self._coordinator.start()

    async def _stop(self) -> None:
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
        untold: dict[UUID, list[ItemTransition]] = {batch_id: [] for batch_id in batch_ids}
        for transition in (*self._set_aside.values(), *self._untold):
            if transition.batch_id in untold:
                untold[transition.batch_id].append(transition)
        return [self._waits[batch_id].known(transitions) for batch_id, transitions in untold.items()]

    async def _take(self, news: News) -> None:
        self._untold.extend(news.transitions)
        for ended in news.ended:
            wait = self._waits[ended.batch_id]
            if not wait.done():
                wait.end(ended)
                self.ended.append(wait)
                self._unfinished -= 1
        self._news.set()
        if not self._unfinished:
            self._begin_to_stop()
        while len(self._untold) > MOST_UNTOLD and self._coordinator is not None:
            self._room.clear()
            await self._room.wait()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._news.set()

    def _raise_failures(self) -> None:
        raise_failures([wait.exception() for wait in self._waits.values()])


def _loop(client: Any) -> asyncio.AbstractEventLoop:
    loop: asyncio.AbstractEventLoop = client.loop.asyncio_loop
    return loop
