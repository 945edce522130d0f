"""The waits and the results without asyncio: what iterating, `result()` and closing do."""

from __future__ import annotations

from operator import methodcaller
from typing import TYPE_CHECKING

from runflow_async.blocking.steps import Closing, Steps
from runflow_async.models import Batch, BatchItem, ItemTransition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from uuid import UUID

    import runflow_async
    from runflow_async import Estimate, OngoingOutage
    from runflow_async._portal import Portal
    from runflow_async.models import WaitStats

__all__ = ["BatchResults", "BatchWait", "BatchesWait"]

as_html = methodcaller("_repr_html_")
"""Ask as a notebook does."""


class BatchWait(Closing["runflow_async.BatchWait", ItemTransition]):
    """One batch: `result()` waits for the final `Batch`, and iterating yields every item's transitions.

    Made by `RunflowSession.wait_for_batch`. Nothing runs between two calls: after leaving a `for`, or after Ctrl-C, you
    can continue to iterate, or call `result()`. Using it from two threads at the same time raises `RuntimeError`.

    Attributes:
        batch_id: the batch that is waited for.
    """

    def __init__(self, portal: Portal, inner: runflow_async.BatchWait) -> None:
        super().__init__(portal, inner, Steps(portal, inner))
        self.batch_id = inner.batch_id

    @property
    def batch(self) -> Batch | None:
        """The latest snapshot; None before the first response."""
        return self._portal.look(lambda: self._inner.batch)

    @property
    def delivered(self) -> Batch:
        """What has been delivered so far, item by item; pass it as `since=` to resume from here."""
        return self._portal.look(lambda: self._inner.delivered)

    @property
    def has_pending(self) -> bool:
        """Whether there are transitions that can be iterated without another poll."""
        return self._portal.look(lambda: self._inner.has_pending)

    @property
    def stats(self) -> WaitStats:
        """What the wait has cost so far."""
        return self._portal.look(lambda: self._inner.stats)

    @property
    def deadline(self) -> float:
        """The instant, on the clock of `time.monotonic()`, at which `timeout` ends the wait; infinite before."""
        return self._portal.look(lambda: self._inner.deadline)

    @property
    def next_poll_at(self) -> float:
        """The instant of the next poll, on the clock of `time.monotonic()`; infinite if there is none."""
        return self._portal.look(lambda: self._inner.next_poll_at)

    @property
    def outage(self) -> OngoingOutage | None:
        """Since when, and why, no valid response has come; None while they come."""
        return self._portal.look(lambda: self._inner.outage)

    def estimate(self) -> Estimate | None:
        """Estimate when the batch will end, as `runflow_async.BatchWait.estimate` does."""
        return self._portal.look(self._inner.estimate)

    def done(self) -> bool:
        """Whether the wait has ended, successfully or not. Transitions may still be pending."""
        return self._portal.look(self._inner.done)

    def result(self) -> Batch:
        """Wait until it has ended, and return the last batch or raise the error of the wait."""
        if self._portal.is_over and self.done():
            return self._inner.result()
        return self._portal.run(self._await)

    def exception(self) -> Exception | None:
        """Return the error with which the wait ended, or None if it succeeded.

        Raises:
            asyncio.InvalidStateError: before the wait has ended.
        """
        return self._portal.look(self._inner.exception)

    def nudge(self) -> bool:
        """Poll as soon as the server allows. Return whether there was still something to poll for."""
        return self._portal.call(self._inner.nudge)

    def batched(self) -> Iterator[list[ItemTransition]]:
        """Iterate the transitions in lists, one for each response that brought any: one change of threads for each.

        A list counts as delivered when you get it, and is recorded when you come back for the next one.
        """
        return Steps(self._portal, self._inner.batched())

    def _repr_html_(self) -> str:
        html: str = self._portal.look(lambda: as_html(self._inner))
        return html

    async def _await(self) -> Batch:
        return await self._inner


class BatchesWait(Closing["runflow_async.BatchesWait", ItemTransition]):
    """Many batches: `result()` waits for all, iterating yields their transitions, `as_completed()` their waits.

    Made by `RunflowSession.wait_for_batches`. If some waits failed, `result()` and iterating raise an `ExceptionGroup`
    at the end. Using it from two threads at the same time raises `RuntimeError`.
    """

    def __init__(self, portal: Portal, inner: runflow_async.BatchesWait) -> None:
        super().__init__(portal, inner, Steps(portal, inner))
        self._faces: dict[UUID, BatchWait] = {}

    @property
    def ended(self) -> list[BatchWait]:
        """The waits that have ended, in the order in which they did."""
        return [self._face(wait) for wait in self._portal.look(lambda: list(self._inner.ended))]

    @property
    def waits(self) -> Mapping[UUID, BatchWait]:
        """The wait of every batch, by its id: to look at, not to use meanwhile."""
        waits = self._portal.look(lambda: dict(self._inner.waits))
        return {batch_id: self._face(wait) for batch_id, wait in waits.items()}

    def add(self, batch_id: UUID | str) -> BatchWait:
        """Wait for one more batch, even while this is running. A batch that was added before keeps its wait.

        Raises:
            ConfigurationError: if `batch_id` is not a UUID.
            WaitClosedError: if this was closed.
        """
        return self._face(self._portal.call(self._inner.add, batch_id))

    def estimate(self) -> Estimate | None:
        """Estimate when the last batch will end, as `runflow_async.BatchesWait.estimate` does."""
        return self._portal.look(self._inner.estimate)

    def result(self) -> list[Batch]:
        """Wait until all have ended, and return the last batches in input order.

        Raises:
            ExceptionGroup: the errors of those that failed.
        """
        return self._portal.run(self._await)

    def as_completed(self) -> Iterator[BatchWait]:
        """Iterate the waits as they end, successfully or not; `wait.result()` raises the error of a failed one.

        With a checkpoint, one that succeeded is recorded when the loop comes back for the next one, and skipped later.
        """
        return map(self._face, Steps(self._portal, self._inner.as_completed()))

    def batched(self) -> Iterator[list[ItemTransition]]:
        """Iterate the transitions in lists, one for each response that brought any: one change of threads for each.

        A list counts as delivered when you get it, and is recorded when you come back for the next one.
        """
        return Steps(self._portal, self._inner.batched())

    def _face(self, inner: runflow_async.BatchWait) -> BatchWait:
        return self._faces.setdefault(inner.batch_id, BatchWait(self._portal, inner))

    def _repr_html_(self) -> str:
        html: str = self._portal.look(lambda: as_html(self._inner))
        return html

    async def _await(self) -> list[Batch]:
        return await self._inner


class BatchResults(Closing["runflow_async.BatchResults", BatchItem]):
    """The results of one or many batches: iterating yields every item once, after it has ended.

    Made by `RunflowSession.iter_results`. After leaving a `for` you can continue to iterate.
    """

    def __init__(self, portal: Portal, inner: runflow_async.BatchResults) -> None:
        super().__init__(portal, inner, Steps(portal, inner))

    @property
    def waits(self) -> Mapping[UUID, BatchWait]:
        """The wait of every batch, by its id: to look at, not to use."""
        waits = self._portal.look(lambda: dict(self._inner.waits))
        return {batch_id: BatchWait(self._portal, wait) for batch_id, wait in waits.items()}

    @property
    def delivered(self) -> list[Batch]:
        """What has been delivered so far, for each batch; pass it as `since=` to get the results that are left."""
        return self._portal.look(lambda: self._inner.delivered)
