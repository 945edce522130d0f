"""What waits for many batches have in common: merged transitions, one result, waits as they complete.

Decides who may use them and when they are over. Subclasses make the waits progress, in this process or elsewhere.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from runflow_async._waits.batched import Batched
from runflow_async._waits.completions import Completions
from runflow_async._waits.outcome import HasOutcome
from runflow_async._waits.unused import WarnsIfUnused
from runflow_async.errors import WaitClosedError
from runflow_async.models import Batch, ItemTransition

if TYPE_CHECKING:
    from types import TracebackType
    from uuid import UUID

    from runflow_async._lifetime import Scope

__all__ = ["ManyWaits"]

Wait = TypeVar("Wait", bound=HasOutcome)
News = TypeVar("News", ItemTransition, list[ItemTransition])

MOST_AT_A_STRETCH = 300
"""Number of transitions after which other tasks get a turn, even if more are pending."""


class ManyWaits(WarnsIfUnused, Awaitable[list[Batch]], AsyncIterator[ItemTransition], ABC, Generic[Wait]):
    """Base of the waits for many batches.

    Args:
        scope: one task at a time is in here.
        call: the call that made it, for the warning that it was not used; None if dropping it is no mistake.
        is_moot: whether using it has become impossible meanwhile.

    Attributes:
        ended: the waits that have ended, in the order in which they did.
    """

    def __init__(self, scope: Scope, call: str | None = None, is_moot: Callable[[], bool] = bool) -> None:
        super().__init__(call, is_moot)
        self.ended: list[Wait] = []
        self._scope = scope
        self._waits: dict[UUID, Wait] = {}
        self._order: list[UUID] = []
        self._closed = False
        self._delivered_at_a_stretch = 0

    def __repr__(self) -> str:
        unfinished = len(self._waits) - len(self.ended)
        return f"<{type(self).__name__} of {len(self._waits)} batches, {unfinished} unfinished>"

    @property
    def waits(self) -> Mapping[UUID, Wait]:
        """The wait of every batch, by its id: to look at, not to await meanwhile."""
        return MappingProxyType(self._waits)

    def as_completed(self) -> Completions[Wait]:
        """Iterate the waits as they end, successfully or not; `wait.result()` raises the error of a failed one.

        With a checkpoint, one that succeeded is recorded when the loop comes back for the next one. A later run skips
        it, provided that all of its items had ended and none of them has changed since.
        """
        return Completions(self.ended, self._settle, self._hand_over, self._was_handed_over)

    def __anext__(self) -> Coroutine[Any, Any, ItemTransition]:
        return self._next(self._next_transition)

    def batched(self) -> AsyncIterator[list[ItemTransition]]:
        """Iterate the transitions in lists, one for each response that brought any, which is cheaper for millions.

        The promises are those of iterating one by one: a list counts as delivered when you get it, and is recorded in a
        checkpoint when you come back for the next one. You can change between the two, and leave and continue.
        """
        return Batched(partial(self._next, self._next_list))

    def _next_list(self) -> list[ItemTransition]:
        transitions = self._next_transitions()
        self._delivered_at_a_stretch += len(transitions)
        return transitions

    async def _next(self, take: Callable[[], News | None]) -> News:
        self._enter()
        self._deliver()
        while not self._closed:
            is_time_to_rest = self._delivered_at_a_stretch >= MOST_AT_A_STRETCH
            news = None if is_time_to_rest else take()
            if news:
                self._delivered_at_a_stretch += 1
                return news
            if self._is_over and not is_time_to_rest:
                await self._halt()
                self._raise_failures()
                break
            self._delivered_at_a_stretch = 0
            try:
                await self._advance(_rest if is_time_to_rest else self._until_news)
            except WaitClosedError:
                break
        raise StopAsyncIteration

    def __await__(self) -> Generator[Any, Any, list[Batch]]:
        return self._complete().__await__()

    async def _complete(self) -> list[Batch]:
        await self._settle()
        await self._halt()
        self._raise_failures()
        batches = [self._waits[batch_id].result() for batch_id in self._order]
        for wait in self._waits.values():
            self._hand_over(wait)
        return batches

    async def _settle(self, ended: int | None = None) -> None:
        """Wait until this many batches have ended, by default all. Their transitions stay pending."""
        self._enter()
        self._hold_back()
        while not self._is_over and (ended is None or len(self.ended) < ended):
            await self._advance(self._until_news)
            self._hold_back()

    async def aclose(self) -> None:
        """End it for good. When this returns, nothing of it is running."""
        self._note_use()
        self._closed = True
        await self._scope.interrupt(WaitClosedError())
        await self._halt()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _enter(self) -> None:
        self._note_use()
        self._scope.check_idle()

    @property
    def _is_over(self) -> bool:
        return len(self.ended) == len(self._waits)

    async def _advance(self, progress: Callable[[], Awaitable[None]]) -> None:
        with self._scope:
            if self._closed:
                raise WaitClosedError
            try:
                await progress()
            except BaseException:
                await self._halt()
                raise

    def _raise_failures(self) -> None:
        errors = [wait.exception() for wait in self._waits.values()]
        failures = [error for error in errors if error is not None]
        if failures:
            raise ExceptionGroup(f"{len(failures)} of {len(errors)} batches failed", failures)

    @abstractmethod
    def _deliver(self) -> None:
        """Make pending transitions available, because the consumer iterates and has come back for more."""

    @abstractmethod
    def _hold_back(self) -> None:
        """Keep pending transitions for later, in little memory, because the consumer does not iterate."""

    @abstractmethod
    def _next_transition(self) -> ItemTransition | None:
        """Deliver and return the next pending transition, if there is one."""

    @abstractmethod
    def _next_transitions(self) -> list[ItemTransition]:
        """Deliver and return the pending transitions of one response; none if there are none."""

    @abstractmethod
    async def _until_news(self) -> None:
        """Make the waits progress until something has changed: a transition, an end, a nudge."""

    @abstractmethod
    async def _halt(self) -> None:
        """Stop everything in the background until the next `_until_news`, and return when it has stopped."""

    def _hand_over(self, wait: Wait) -> None:
        """Note that the consumer has the wait's last batch."""

    def _was_handed_over(self, _wait: Wait) -> bool:
        """Whether an earlier process handed over this very end."""
        return False


async def _rest() -> None:
    await asyncio.sleep(0)
