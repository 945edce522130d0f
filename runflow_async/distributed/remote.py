"""One batch that is waited for on a worker, as its consumer knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runflow_async._waits.outcome import HasOutcome
from runflow_async.distributed.messages import Known, decode_outcome
from runflow_async.models import Batch, BatchItemHandle, WaitStats

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from runflow_async.distributed.messages import Ended
    from runflow_async.models import ItemTransition

__all__ = ["RemoteRecord", "RemoteWait"]


class RemoteRecord:
    """What the consumer knows of one batch: what was delivered, and how it ended.

    Attributes:
        batch_id: the batch.
        ended: what the worker reported at the end; None before it.
    """

    def __init__(self, batch_id: UUID, since: Batch | None) -> None:
        self.batch_id = batch_id
        self.ended: Ended | None = None
        self._items = {item.id: item for item in (since.items if since else None) or []}
        self._outcome: Batch | Exception | None = None

    @property
    def delivered(self) -> Batch:
        """What was delivered, item by item."""
        return Batch(id=self.batch_id, items=sorted(self._items.values(), key=lambda item: item.sequence_index))

    def deliver(self, transition: ItemTransition) -> None:
        """Count a transition as delivered."""
        self._items[transition.item.id] = transition.item

    def known(self, pending: Iterable[ItemTransition]) -> Known:
        """What a shard must not send again: what was delivered, and what arrived and is pending."""
        items: dict[UUID, BatchItemHandle] = self._items | {one.item.id: one.item for one in pending}
        return Known(self.batch_id, list(items.values()))

    @property
    def outcome(self) -> Batch | Exception | None:
        """The last batch, or the error; None before the end."""
        if self._outcome is None and self.ended is not None:
            self._outcome = decode_outcome(self.ended)
        return self._outcome


class RemoteWait(HasOutcome):
    """A view of one batch that is waited for on a worker.

    Attributes:
        batch_id: the batch.
    """

    def __init__(self, record: RemoteRecord) -> None:
        self.batch_id = record.batch_id
        self._record = record

    def __repr__(self) -> str:
        ended = self._record.ended
        state = "waiting" if ended is None else "done" if ended.error is None else "failed"
        return f"<RemoteWait {self.batch_id} {state}>"

    @property
    def delivered(self) -> Batch:
        """What has been delivered so far, item by item; pass it as `since=` to resume from there."""
        return self._record.delivered

    @property
    def stats(self) -> WaitStats:
        """The counts of the wait on the worker on which it ended; all zeros until then."""
        ended = self._record.ended
        return WaitStats() if ended is None else ended.stats

    def done(self) -> bool:
        """Whether the wait has ended, successfully or not. Transitions may still be pending."""
        return self._record.ended is not None

    def _last_batch(self) -> Batch | None:
        outcome = self._record.outcome
        return outcome if isinstance(outcome, Batch) else None

    def _error(self) -> Exception | None:
        outcome = self._record.outcome
        return outcome if isinstance(outcome, Exception) else None
