"""Many waits as one: merged transitions, one result, and polls that are spread.

Decides which wait is polled next and what is told; what a poll is and what it costs is the wait's own affair. The
caller's task keeps the timetable, so that nothing is polled once nobody iterates any more; only the requests under way
are tasks.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from runflow_async.agenda import SLACK
from runflow_async.errors import WaitClosedError
from runflow_async.models import Batch
from runflow_async.timetable import Timetable
from runflow_async.transitions import ItemTransition

if TYPE_CHECKING:
    from types import TracebackType
    from uuid import UUID

    from runflow_async.scopes import Scope
    from runflow_async.waiting import BatchWait

__all__ = ["BatchesWait", "Completions", "raise_failures"]

Ended = TypeVar("Ended")

CLOSED = "this wait for batches was closed"
PROMPT = 20
"""First polls that are made at once; those of further batches are spread."""
SPREAD = 0.002
"""Seconds by which each further batch widens the span of the first polls."""
WIDEST = 10.0
"""Seconds; the longest span of the first polls, which is also the longest default interval."""


class BatchesWait(Awaitable[list[Batch]], AsyncIterator[ItemTransition]):
    """Many batches, awaited or iterated; made by `RunflowSession.wait_for_batches`.

    Iterated, it yields the transitions of all batches as they come, those of one answer in `sequence_index` order.
    Awaited, it returns the last batches in input order. Polls are made only while somebody awaits or iterates: after a
    `break` those under way end, and no further ones start. A cancelled `anext` leaves it whole. A slow consumer slows
    the polls; one answer per batch is the most that ever waits to be told.

    When all have ended and some failed, both raise an `ExceptionGroup` of the failures, each with its `batch_id`; what
    succeeded stays readable in `waits`.

    Attributes:
        ended: the waits that have ended, in the order in which they did.

    Args:
        make_wait: makes the wait for one batch.
        scope: one task at a time is in here.
        max_flights: polls under way at the same time.
    """

    def __init__(self, make_wait: Callable[[UUID | str], BatchWait], scope: Scope, max_flights: int) -> None:
        self._make_wait = make_wait
        self._scope = scope
        self._max_flights = max_flights
        self._waits: dict[UUID, BatchWait] = {}
        self._order: list[UUID] = []
        self._timetable = Timetable()
        self._flights: set[asyncio.Task[None]] = set()
        self._busy: set[UUID] = set()
        self._untold: deque[UUID] = deque()
        self._unfinished = 0
        self.ended: list[BatchWait] = []
        self._new: list[UUID] = []
        self._alarm: asyncio.Future[None] | None = None
        self._streaming = False
        self._taken_from: BatchWait | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<BatchesWait of {len(self._waits)} batches, {self._unfinished} unfinished>"

    @property
    def waits(self) -> Mapping[UUID, BatchWait]:
        """The wait of every batch, by its id; to be looked at, not to be awaited."""
        return MappingProxyType(self._waits)

    def add(self, batch_id: UUID | str) -> BatchWait:
        """Wait for one more batch, also while this runs; a batch that is here already keeps its wait.

        Raises:
            ConfigurationError: if `batch_id` is no UUID.
            WaitClosedError: if this was closed.
        """
        wait = self._make_wait(batch_id)
        if self._closed:
            raise WaitClosedError(CLOSED, batch_id=wait.batch_id)
        self._order.append(wait.batch_id)
        if wait.batch_id not in self._waits:
            self._waits[wait.batch_id] = wait
            self._unfinished += 1
            self._new.append(wait.batch_id)
            wait.watch(lambda: self._schedule(wait.batch_id))
            self._ring()
        return self._waits[wait.batch_id]

    def as_completed(self) -> Completions[BatchWait]:
        """Iterate the waits as they end, good or bad; `wait.result()` raises what went wrong."""
        return Completions(self)

    async def __anext__(self) -> ItemTransition:
        self._scope.check_free()
        self._streaming = True
        if self._taken_from is not None:
            self._taken_from.record_taken()
            self._taken_from = None
        while not self._closed:
            transition = self._next_transition()
            if transition is not None:
                return transition
            if not self._unfinished:
                self._raise_failures()
                break
            try:
                await self._turn()
            except WaitClosedError:
                break
        raise StopAsyncIteration

    def __await__(self) -> Generator[Any, Any, list[Batch]]:
        return self._complete().__await__()

    async def _complete(self) -> list[Batch]:
        await self.settle()
        self._raise_failures()
        return [self._waits[batch_id].result() for batch_id in self._order]

    async def settle(self, ended: int | None = None) -> None:
        """Poll until so many batches have ended, by default all, without telling their transitions."""
        self._scope.check_free()
        self._streaming = False
        self._reschedule_untold()
        while self._unfinished and (ended is None or len(self.ended) < ended):
            await self._turn()

    async def aclose(self) -> None:
        """End it for good: polls under way are cancelled and have left when this returns."""
        self._closed = True
        await self._scope.interrupt(WaitClosedError(CLOSED))
        await self._land_all()
        for wait in self._waits.values():
            await wait.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _next_transition(self) -> ItemTransition | None:
        while self._untold:
            batch_id = self._untold[0]
            wait = self._waits[batch_id]
            transition = wait.take_transition()
            if transition is not None:
                self._taken_from = wait
                return transition
            self._forget_untold()
        return None

    def _forget_untold(self) -> None:
        batch_id = self._untold.popleft()
        self._busy.discard(batch_id)
        self._schedule(batch_id)

    def _reschedule_untold(self) -> None:
        while self._untold:
            self._waits[self._untold[0]].postpone()
            self._forget_untold()

    def _raise_failures(self) -> None:
        raise_failures([wait.exception() for wait in self._waits.values()])

    async def _turn(self) -> None:
        """Start the polls that are due, and return when one was answered or something changed."""
        with self._scope:
            try:
                self._take_in_new()
                self._start_due()
                await self._until_something_happens()
            except asyncio.CancelledError:
                await self._land_all()
                raise

    def _take_in_new(self) -> None:
        now = asyncio.get_running_loop().time()
        span = min(WIDEST, SPREAD * len(self._new))
        for number, batch_id in enumerate(self._new):
            late = 0.0 if number < PROMPT else random.uniform(0, span)  # noqa: S311  # spreads, hides nothing
            self._timetable.enter(batch_id, now + late)
        self._new.clear()

    def _schedule(self, batch_id: UUID) -> None:
        """Enter the next poll of a wait, unless one is under way or its last answer has not been told yet."""
        wait = self._waits[batch_id]
        if batch_id not in self._busy and not wait.done():
            self._timetable.enter(batch_id, wait.next_at)
            self._ring()

    def _start_due(self) -> None:
        now = asyncio.get_running_loop().time()
        while len(self._flights) < self._max_flights and self._timetable.next_at <= now + SLACK:
            self._start(self._timetable.pop())

    def _start(self, batch_id: UUID) -> None:
        self._busy.add(batch_id)
        flight = asyncio.create_task(self._waits[batch_id].step())
        self._flights.add(flight)
        flight.add_done_callback(partial(self._land, batch_id))

    def _land(self, batch_id: UUID, flight: asyncio.Task[None]) -> None:
        self._flights.discard(flight)
        self._busy.discard(batch_id)
        if not flight.cancelled():
            flight.exception()  # the wait keeps it
        wait = self._waits[batch_id]
        if wait.done():
            self._unfinished -= 1
            self.ended.append(wait)
        if self._streaming and wait.has_untold:
            self._busy.add(batch_id)
            self._untold.append(batch_id)
        else:
            wait.postpone()
            self._schedule(batch_id)
        self._ring()

    async def _land_all(self) -> None:
        for flight in self._flights:
            flight.cancel()
        await asyncio.gather(*self._flights, return_exceptions=True)

    async def _until_something_happens(self) -> None:
        loop = asyncio.get_running_loop()
        self._alarm = alarm = loop.create_future()
        due = math.inf if len(self._flights) >= self._max_flights else self._timetable.next_at
        timer = loop.call_at(due, self._ring) if due < math.inf else None
        try:
            await alarm
        finally:
            self._alarm = None
            if timer is not None:
                timer.cancel()

    def _ring(self) -> None:
        if self._alarm is not None and not self._alarm.done():
            self._alarm.set_result(None)


class Completable(Protocol[Ended]):
    """Many waits that end one after the other."""

    ended: list[Ended]

    async def settle(self, ended: int | None = None) -> None:
        """Return once so many have ended, by default all."""


class Completions(AsyncIterator[Ended]):
    """The waits of many in the order in which they end."""

    def __init__(self, waits: Completable[Ended]) -> None:
        self._waits = waits
        self._given = 0

    async def __anext__(self) -> Ended:
        await self._waits.settle(self._given + 1)
        if self._given == len(self._waits.ended):
            raise StopAsyncIteration
        self._given += 1
        return self._waits.ended[self._given - 1]


def raise_failures(errors: Sequence[Exception | None]) -> None:
    """Raise the errors of those waits that have one together, if there are any."""
    failures = [error for error in errors if error is not None]
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(errors)} batches could not be awaited", failures)
