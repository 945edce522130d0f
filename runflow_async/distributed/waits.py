"""The faces of waits that run on Dask: merged transitions, one result, waits as they complete.

Decides what is told and when it is over; the shards, and what becomes of them, are the coordinator's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Generator, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from runflow_async.distributed.coordinator import Coordinator, ShardPlan
from runflow_async.distributed.messages import Known, read_ended
from runflow_async.errors import WaitClosedError
from runflow_async.models import Batch, BatchItemHandle, WaitStats
from runflow_async.scopes import Scope
from runflow_async.transitions import ItemTransition

if TYPE_CHECKING:
    from types import TracebackType
    from uuid import UUID

    from distributed import Client

    from runflow_async.distributed.messages import Ended, News

__all__ = ["DistributedWait", "RemoteWait"]

MOST_UNTOLD = 20_000
"""Transitions that wait to be taken; while there are so many, the shards are not listened to, and so poll no more."""


class RemoteWait:
    """One batch, waited for on some worker; to be looked at.

    Attributes:
        batch_id: the batch.
    """

    def __init__(self, batch_id: UUID, since: Batch | None) -> None:
        self.batch_id = batch_id
        self._items = {item.id: item for item in (since.items if since else None) or []}
        self._ended: Ended | None = None
        self._outcome: Batch | Exception | None = None

    def __repr__(self) -> str:
        state = "waiting" if self._ended is None else "done" if self._ended.error is None else "failed"
        return f"<RemoteWait {self.batch_id} {state}>"

    @property
    def delivered(self) -> Batch:
        """What has been yielded so far, item by item; `since=` takes it up from there."""
        return Batch(id=self.batch_id, items=sorted(self._items.values(), key=lambda item: item.sequence_index))

    @property
    def stats(self) -> WaitStats:
        """What the wait cost on the worker on which it ended; zeros before that."""
        return WaitStats() if self._ended is None else self._ended.stats

    def done(self) -> bool:
        """Whether the wait has ended, well or badly. Transitions may still be there to be iterated."""
        return self._ended is not None

    def result(self) -> Batch:
        """The last batch.

        Raises:
            asyncio.InvalidStateError: before the wait has ended.
            Exception: the one that the wait ended with.
        """
        outcome = self._read()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def exception(self) -> Exception | None:
        """The error that the wait ended with, or None if it ended well.

        Raises:
            asyncio.InvalidStateError: before the wait has ended.
        """
        outcome = self._read()
        return outcome if isinstance(outcome, Exception) else None

    def take(self, transition: ItemTransition) -> None:
        """Note what was yielded."""
        self._items[transition.item.id] = transition.item

    def end(self, ended: Ended) -> None:
        """Note how it ended."""
        self._ended = ended

    def known(self, untold: Iterable[ItemTransition]) -> Known:
        """What is known of its items, with what came and was not yielded yet."""
        items: dict[UUID, BatchItemHandle] = self._items | {one.item.id: one.item for one in untold}
        return Known(self.batch_id, list(items.values()))

    def _read(self) -> Batch | Exception:
        if self._outcome is None:
            if self._ended is None:
                raise asyncio.InvalidStateError(f"the wait for batch {self.batch_id} has not ended yet")
            self._outcome = read_ended(self._ended)
        return self._outcome


class DistributedWait(Awaitable[list[Batch]], AsyncIterator[ItemTransition]):
    """Many batches, waited for on a Dask cluster; made by `wait_for_batches`.

    Iterated, it yields the transitions of all batches as they come, each item's in order and none twice. Awaited, it
    returns the last batches in input order. The shards run from the first step on until all has ended, `aclose()`, or
    a cancellation, which all return only when the shards have stopped; going on after a cancellation starts them anew
    from what was yielded. A slow consumer slows the polls.

    When all have ended and some failed, both raise an `ExceptionGroup` of the failures, each with its `batch_id`; what
    succeeded stays readable in `waits`.

    Attributes:
        ended: the waits that have ended, in the order in which that was heard.

    Args:
        client: of Dask, asynchronous.
        plan: what the shards have in common.
        order: the batches as they were given.
        shards: how many groups to make of them.
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
        self._coordinator: Coordinator | None = None
        self._error: Exception | None = None
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._closed = False
        self._scope = Scope(set(), "the wait for batches", lambda: None)

    def __repr__(self) -> str:
        return f"<DistributedWait of {len(self._waits)} batches, {self._unfinished} unfinished>"

    @property
    def waits(self) -> Mapping[UUID, RemoteWait]:
        """The wait of every batch, by its id."""
        return MappingProxyType(self._waits)

    def as_completed(self) -> RemoteCompletions:
        """Iterate the waits as they end, good or bad; `wait.result()` raises what went wrong."""
        return RemoteCompletions(self)

    async def __anext__(self) -> ItemTransition:
        self._scope.check_free()
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
        """Wait until so many batches have ended, by default all, without telling their transitions."""
        self._scope.check_free()
        while True:
            while self._untold:
                transition = self._untold.popleft()
                self._waits[transition.batch_id].take(transition)
            self._room.set()
            if not self._unfinished or (ended is not None and len(self.ended) >= ended):
                return
            await self._until_news()

    async def aclose(self) -> None:
        """End it for good; the shards have stopped when this returns."""
        self._closed = True
        await self._scope.interrupt(WaitClosedError("this wait for batches was closed"))
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
                raise WaitClosedError("this wait for batches was closed")
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
        self._error = None
        self._coordinator = Coordinator(
            self._client,
            self._plan,
            self._groups(),
            known=self._known,
            take=self._take,
            fail=self._fail,
        )
        await self._coordinator.start()

    async def _stop(self) -> None:
        coordinator, self._coordinator = self._coordinator, None
        if coordinator is not None:
            await asyncio.shield(asyncio.ensure_future(coordinator.stop()))

    def _groups(self) -> list[list[UUID]]:
        unfinished = [batch_id for batch_id, wait in self._waits.items() if not wait.done()]
        return [group for number in range(self._shards) if (group := unfinished[number :: self._shards])]

    def _known(self, batch_ids: set[UUID]) -> list[Known]:
        untold: dict[UUID, list[ItemTransition]] = {batch_id: [] for batch_id in batch_ids}
        for transition in self._untold:
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
        while len(self._untold) > MOST_UNTOLD:
            self._room.clear()
            await self._room.wait()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._news.set()

    def _raise_failures(self) -> None:
        failures = [error for wait in self._waits.values() if (error := wait.exception()) is not None]
        if failures:
            raise ExceptionGroup(f"{len(failures)} of {len(self._waits)} batches could not be awaited", failures)


class RemoteCompletions(AsyncIterator[RemoteWait]):
    """The waits of a `DistributedWait` in the order in which they end."""

    def __init__(self, waits: DistributedWait) -> None:
        self._waits = waits
        self._given = 0

    async def __anext__(self) -> RemoteWait:
        await self._waits.settle(self._given + 1)
        if self._given == len(self._waits.ended):
            raise StopAsyncIteration
        self._given += 1
        return self._waits.ended[self._given - 1]
