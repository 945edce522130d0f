"""One batch that is waited for on some worker, as its consumer knows it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runflow_async.distributed.messages import Known, read_ended
from runflow_async.models import Batch, BatchItemHandle, WaitStats

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from runflow_async._answers.transitions import ItemTransition
    from runflow_async.distributed.messages import Ended

__all__ = ["RemoteWait"]


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
