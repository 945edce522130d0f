"""One batch that is waited for on a worker, as its consumer knows it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runflow_async.distributed.messages import Known, read_ended
from runflow_async.models import Batch, BatchItemHandle, WaitStats

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from runflow_async.distributed.messages import Ended
    from runflow_async.models import ItemTransition

__all__ = ["RemoteWait"]


class RemoteWait:
    """A view of one batch that is waited for on a worker.

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
        """What has been yielded so far, item by item; pass it as `since=` to resume from there."""
        return Batch(id=self.batch_id, items=sorted(self._items.values(), key=lambda item: item.sequence_index))

    @property
    def stats(self) -> WaitStats:
        """The counts of the wait on the worker on which it ended; all zeros until then."""
        return WaitStats() if self._ended is None else self._ended.stats

    def done(self) -> bool:
        """Whether the wait has ended, successfully or not. Some transitions may not have been yielded yet."""
        return self._ended is not None

    def result(self) -> Batch:
        """Return the last batch.

        Raises:
            asyncio.InvalidStateError: before the wait has ended.
            Exception: the error with which the wait ended.
        """
        outcome = self._read()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def exception(self) -> Exception | None:
        """Return the error with which the wait ended, or None if it succeeded.

        Raises:
            asyncio.InvalidStateError: before the wait has ended.
        """
        outcome = self._read()
        return outcome if isinstance(outcome, Exception) else None

    def take(self, transition: ItemTransition) -> None:
        """Record what was yielded."""
        self._items[transition.item.id] = transition.item

    def end(self, ended: Ended) -> None:
        """Record how it ended."""
        self._ended = ended

    def known(self, untold: Iterable[ItemTransition]) -> Known:
        """Return what is known of its items, including what arrived but was not yielded."""
        items: dict[UUID, BatchItemHandle] = self._items | {one.item.id: one.item for one in untold}
        return Known(self.batch_id, list(items.values()))

    def _read(self) -> Batch | Exception:
        if self._outcome is None:
            if self._ended is None:
                raise asyncio.InvalidStateError(f"the wait for batch {self.batch_id} has not ended yet")
            self._outcome = read_ended(self._ended)
        return self._outcome
