"""What a wait answers once it has ended, on whichever machine it was made."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from uuid import UUID

    from runflow_async.models import Batch

__all__ = ["HasOutcome"]


class HasOutcome(ABC):
    """Base of the waits for one batch: `done`, `result` and `exception`, as a future has them.

    Attributes:
        batch_id: the batch that is waited for.
    """

    batch_id: UUID

    @abstractmethod
    def done(self) -> bool:
        """Whether the wait has ended, successfully or not. Transitions may still be pending."""

    @abstractmethod
    def _last_batch(self) -> Batch | None: ...

    @abstractmethod
    def _error(self) -> Exception | None: ...

    @property
    def _traceback(self) -> TracebackType | None:
        return None

    def result(self) -> Batch:
        """Return the last batch.

        Raises:
            asyncio.InvalidStateError: before the wait has ended.
            Exception: the error with which the wait ended.
        """
        error = self.exception()
        if error is not None:
            raise error.with_traceback(self._traceback)  # which would grow each time that it is raised
        batch = self._last_batch()
        if batch is None:
            raise self._too_early()
        return batch

    def exception(self) -> Exception | None:
        """Return the error with which the wait ended, or None if it succeeded.

        Raises:
            asyncio.InvalidStateError: before the wait has ended.
        """
        if not self.done():
            raise self._too_early()
        return self._error()

    def _too_early(self) -> asyncio.InvalidStateError:
        return asyncio.InvalidStateError(f"the wait for batch {self.batch_id} has not ended yet")
