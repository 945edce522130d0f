"""Many waits as one: merged transitions, one result, and polls that are spread.

Decides which wait is polled next and what is delivered; what a poll is and what it costs is the wait's own affair. The
caller's task keeps the timetable, so that nothing is polled once nobody iterates any more; only the requests under way
are tasks. Whoever polls, nudges or closes a wait, the fleet looks at it again and puts it where it belongs.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakMethod, finalize

from runflow_async._arguments import parse_batch_id
from runflow_async._waits.agenda import SLACK
from runflow_async._waits.alarm import Alarm
from runflow_async._waits.completions import Completions, raise_failures
from runflow_async._waits.flights import Flights
from runflow_async._waits.rota import Rota
from runflow_async._waits.unused import WarnsIfUnused
from runflow_async.errors import WaitClosedError
from runflow_async.models import Batch, ItemTransition

if TYPE_CHECKING:
    from types import TracebackType
    from uuid import UUID

    from runflow_async._lifetime import Scope
    from runflow_async._waits.one import BatchWait

__all__ = ["BatchesWait"]


class BatchesWait(WarnsIfUnused, Awaitable[list[Batch]], AsyncIterator[ItemTransition]):
    """Many batches, awaited or iterated; made by `RunflowSession.wait_for_batches`.

    Iterated, it yields the transitions of all batches as they come, those of one answer in `sequence_index` order.
    Awaited, it returns the last batches in input order. Polls are made only while somebody awaits or iterates: after a
    `break` those under way end, and no further ones start. A cancelled `anext` leaves it whole. A slow consumer slows
    the polls; one answer per batch is the most that ever waits to be told.

    When all have ended and some failed, both raise an `ExceptionGroup` of the failures, each with its `batch_id`; what
    succeeded stays readable in `waits`. Closed before that, it raises `WaitClosedError` when awaited; an iteration is
    over. A wait that another task uses at the same time is a `RuntimeError`.

    Attributes:
        ended: the waits that have ended, in the order in which they did.

    Args:
        make_wait: makes the wait for one batch.
        scope: one task at a time is in here.
        max_flights: polls under way at the same time.
    """

    def __init__(self, make_wait: Callable[[UUID], BatchWait], scope: Scope, max_flights: int) -> None:
        self._make_wait = make_wait
        self._scope = scope
        self._flights = Flights(max_flights, self._landed)
        finalize(self, self._flights.abandon).atexit = False
        self._weakly_changed = WeakMethod(self._changed)
        self._waits: dict[UUID, BatchWait] = {}
        self._order: list[UUID] = []
        self._unfinished: set[BatchWait] = set()
        self.ended: list[BatchWait] = []
        self._rota = Rota()
        self._untold: OrderedDict[BatchWait, None] = OrderedDict()
        self._faults: list[BaseException] = []
        self._alarm = Alarm()
        self._streaming = False
        self._taken_from: BatchWait | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<BatchesWait of {len(self._waits)} batches, {len(self._unfinished)} unfinished>"

    @property
    def waits(self) -> Mapping[UUID, BatchWait]:
        """The wait of every batch, by its id; to be looked at, not to be awaited meanwhile."""
        return MappingProxyType(self._waits)

    def add(self, batch_id: UUID | str) -> BatchWait:
        """Wait for one more batch, also while this runs; a batch that is here already keeps its wait.

        Raises:
            ConfigurationError: if `batch_id` is no UUID.
            WaitClosedError: if this was closed.
        """
        asked = parse_batch_id(batch_id)
        if self._closed:
            raise WaitClosedError
        self._order.append(asked)
        if asked not in self._waits:
            self._waits[asked] = wait = self._make_wait(asked)
            self._unfinished.add(wait)
            self._rota.add(wait)
            wait.watch(partial(_call_alive, self._weakly_changed, asked))
            self._alarm.ring()
        return self._waits[asked]

    def as_completed(self) -> Completions[BatchWait]:
        """Iterate the waits as they end, good or bad; `wait.result()` raises what went wrong.

        With a checkpoint, one that ended well is recorded when the loop comes back for the next one, and is not given
        again in a later run; nothing of it may differ, and all of its items must have ended.
        """
        return Completions(self, hand_over=lambda wait: wait.hand_over(), is_old=lambda wait: wait.was_handed_over)

    async def __anext__(self) -> ItemTransition:
        self.note_use()
        self._scope.check_free()
        self._stream()
        self._record_taken()
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
        batches = [self._waits[batch_id].result() for batch_id in self._order]
        for wait in self._waits.values():
            wait.hand_over()
        return batches

    async def settle(self, ended: int | None = None) -> None:
        """Poll until so many batches have ended, by default all, without telling their transitions."""
        self.note_use()
        self._scope.check_free()
        self._record_taken()
        self._streaming = False
        for wait in tuple(self._untold):
            self._place(wait)
        while self._unfinished and (ended is None or len(self.ended) < ended):
            await self._turn()

    async def aclose(self) -> None:
        """End it for good: polls under way are cancelled and have left when this returns."""
        self.note_use()
        self._closed = True
        await self._scope.interrupt(WaitClosedError())
        await self._flights.stop()
        for wait in self._waits.values():
            await wait.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _stream(self) -> None:
        if not self._streaming:
            self._streaming = True
            for wait in self._waits.values():  # what came in while nobody iterated
                if wait.has_pending and wait not in self._flights:
                    self._place(wait)

    def _next_transition(self) -> ItemTransition | None:
        while self._untold:
            wait = next(iter(self._untold))
            transition = wait.take_transition()
            if transition is not None:
                self._taken_from = wait
                return transition
            self._place(wait)
        return None

    def _record_taken(self) -> None:
        if self._taken_from is not None:
            self._taken_from.record_taken()
            self._taken_from = None

    def _raise_failures(self) -> None:
        waits = self._waits.values()
        if waits and all(wait.was_closed for wait in waits):
            raise WaitClosedError
        raise_failures([wait.exception() for wait in waits])

    async def _turn(self) -> None:
        """Start the polls that are due, and return when one was answered or something changed."""
        with self._scope:
            if self._closed:
                raise WaitClosedError
            self._faults.clear()
            try:
                self._rota.spread_new(asyncio.get_running_loop().time())
                self._start_due()
                await self._until_something_happens()
            except BaseException:
                await self._flights.stop()
                raise

    def _start_due(self) -> None:
        reached = asyncio.get_running_loop().time() + SLACK
        while (wait := self._rota.take_late(reached)) is not None:
            self._flights.start(wait)
        while self._flights.has_room and (wait := self._rota.take_due(reached)) is not None:
            self._flights.start(wait)

    def _landed(self, wait: BatchWait, error: BaseException | None) -> None:
        if error is not None and not wait.done():  # it is not what the wait ended with
            self._faults.append(error)
        self._place(wait)

    def _changed(self, batch_id: UUID) -> None:
        wait = self._waits[batch_id]
        if wait not in self._flights:
            self._place(wait)

    def _place(self, wait: BatchWait) -> None:
        """Put a wait that is not in flight where it belongs now, whoever polled, nudged or closed it."""
        if self._closed:
            return
        if wait.done() and wait in self._unfinished:
            self._unfinished.remove(wait)
            self.ended.append(wait)
        is_untold = self._streaming and wait.has_pending
        if is_untold:
            self._untold[wait] = None
        else:
            self._untold.pop(wait, None)
            wait.postpone()
        if wait.done():
            self._rota.remove(wait)
        elif is_untold:
            self._rota.hold(wait)
        else:
            self._rota.schedule(wait)
        self._alarm.ring()

    async def _until_something_happens(self) -> None:
        await self._alarm.sleep_until(self._rota.next_at(has_room=self._flights.has_room))
        if self._faults:
            raise self._faults.pop()


def _call_alive(method: Callable[[], Callable[[UUID], None] | None], batch_id: UUID) -> None:
    # Held by the waits, which their fleet holds: with a strong reference only the cycle collector would free them.
    alive = method()
    if alive is not None:
        alive(batch_id)
