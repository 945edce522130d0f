"""`BatchResults`, the user's face of a wait for results: each item with its output, as it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from runflow_async._waits.one import BatchWait
from runflow_async.models import Batch, BatchItem

if TYPE_CHECKING:
    from types import TracebackType
    from uuid import UUID

    from runflow_async._jobs.result_polls import ResultPolls
    from runflow_async._waits.fleet import BatchesWait

__all__ = ["BatchResults"]


class BatchResults(AsyncIterator[BatchItem]):
    """The results of one or many batches; made by `RunflowSession.iter_results`, which says what it raises.

    Iterating it yields every item once, with its output or error, after it has ended. Requests are made only while
    somebody iterates, and none while results are left to take, so that a slow consumer slows polling. After leaving an
    `async for`, or after a cancelled `anext`, you can continue to iterate.
    """

    def __init__(self, wait: BatchWait | BatchesWait, polls: Mapping[UUID, ResultPolls]) -> None:
        self._wait = wait
        self._polls = polls

    def __repr__(self) -> str:
        return f"<BatchResults of {self._wait!r}>"

    @property
    def waits(self) -> Mapping[UUID, BatchWait]:
        """The wait of every batch, by its id: to look at, not to await. To it, an item ends once its result is here."""
        if isinstance(self._wait, BatchWait):
            return MappingProxyType({self._wait.batch_id: self._wait})
        return self._wait.waits

    @property
    def delivered(self) -> list[Batch]:
        """What has been delivered so far, for each batch.

        Pass it as `since=` to another `iter_results`, in this process or, through JSON, in another one, to get exactly
        the results that are left.
        """
        return [wait.delivered for wait in self.waits.values()]

    def __anext__(self) -> Coroutine[Any, Any, BatchItem]:
        return self._next()

    async def _next(self) -> BatchItem:
        while True:
            transition = await anext(self._wait)
            if transition.is_terminal:
                return self._polls[transition.batch_id].take(transition.item)

    async def aclose(self) -> None:
        """End it for good. A task that waits in it leaves first; afterwards iteration is over."""
        await self._wait.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
