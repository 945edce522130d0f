"""What one wait has seen of its batch, and what of it was delivered to the consumer.

Pure: answers go in; transitions, snapshots and a resumable record of what was delivered come out. Two maps from item
to status are kept, seen and delivered. Where they differ, a transition is pending.
"""

from __future__ import annotations

import logging
from collections import deque
from sys import intern
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runflow_async._answers.decoding import PollAnswer, decode_batch
from runflow_async._answers.lenient import without_depths
from runflow_async._answers.tally import Tally, count_statuses, read_counts
from runflow_async._answers.transitions import ItemChange, diff_items, handle_of
from runflow_async.errors import MalformedResponseError
from runflow_async.models import KNOWN_STATUSES, TERMINAL_STATUSES, Batch, BatchItemHandle, ItemTransition

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

__all__ = ["Ledger"]

logger = logging.getLogger("runflow_async")

SETTLING_DELAYS = (0.25, 1.0, 3.0)
"""Seconds before each of the polls that let the items of a terminal batch catch up: under 5 s in all."""


class Ledger:
    """The memory of one wait.

    The last answer is kept as bytes and decoded whole only when somebody looks at a snapshot, so that thousands of
    waits cost little more than their last bodies.

    Attributes:
        batch_id: the batch that the answers are about.
        is_terminal: whether an answer has said that the batch has ended; it stays so.
    """

    __slots__ = (
        "_batch",
        "_body",
        "_decoded",
        "_delivered",
        "_observed_at",
        "_queue",
        "_seen",
        "_settling",
        "_since",
        "_tally",
        "_unlisted",
        "_warned",
        "batch_id",
        "is_terminal",
    )

    def __init__(self, batch_id: UUID, since: Batch | None) -> None:
        self.batch_id = batch_id
        self._body: bytes | None = None
        self._batch: Batch | None = None
        self._decoded: Batch | None = None
        self._observed_at: datetime | None = None
        self._tally: Tally | None = None
        self._queue: deque[ItemChange] | None = deque()
        self._warned: frozenset[str] = frozenset()
        self.is_terminal = False
        self._settling = 0  # delays of SETTLING_DELAYS that were given out
        self.resume(since)

    def resume(self, since: Batch | None) -> None:
        """Before the first answer: take what the consumer has been told already from an earlier snapshot."""
        self._since = _named(since, self.batch_id) if since else None
        handles = (since.items if since else None) or []
        # Items that the newest answer did not list, kept because a later one may.
        self._unlisted = {str(handle.id): handle for handle in handles}
        self._seen = {key: handle.status_code for key, handle in self._unlisted.items()}
        self._delivered = self._seen

    def is_unchanged(self, body: bytes) -> bool:
        """Whether the answer is byte for byte the last one, which makes decoding it needless."""
        return body == self._body

    def take(self, body: bytes, answer: PollAnswer, observed_at: datetime) -> None:
        """Take in a changed answer, whole or, if it raises, not at all; one from before the batch's end is ignored.

        Raises:
            MalformedResponseError: if an item's id is no UUID.
        """
        if self.is_terminal and not answer.is_terminal:
            logger.debug("batch %s has ended; a stale answer says %r", self.batch_id, answer.status_code)
            return
        if answer.items is None:
            self._unlisted = self._handles()
        else:
            listed, changes, contradictions = diff_items(self._seen, answer.items)
            self._report(contradictions)
            self._check_counts(answer, len(listed))
            if not self._seen.keys() <= listed.keys():
                self._unlisted = {key: item for key, item in self._handles().items() if key not in listed}
            elif self._unlisted:
                self._unlisted = {}
            if changes:
                self._note(changes, observed_at)
        self._body = body
        self.is_terminal = answer.is_terminal
        self._batch = self._decoded = None
        self._tally = count_statuses(self._seen.values()) if self._seen else read_counts(answer)
        if answer.status_code not in KNOWN_STATUSES:
            self.warn("the unknown status %r is taken as not terminal", answer.status_code)

    def _note(self, changes: list[ItemChange], observed_at: datetime) -> None:
        # With nothing left to tell, the changes are exactly what is pending; else it is worked out when asked for.
        self._queue = deque(changes) if self._delivered is self._seen else None
        # Interned, for a hundred items mostly share one status, and each answer brings texts of its own.
        self._seen = self._seen | {change.key: intern(change.item.status_code) for change in changes}
        self._observed_at = observed_at

    def next_transition(self) -> ItemTransition | None:
        """The next transition that the consumer has not been told of, or None."""
        if self._delivered is self._seen:
            return None
        if self._queue is None:
            self._queue = deque(self._find_pending())
        if not self._queue:  # changed and changed back while nobody asked
            self._delivered = self._seen
            return None
        change = self._queue.popleft()
        self._delivered[change.key] = change.item.status_code
        if not self._queue:
            self._delivered = self._seen
        assert self._observed_at is not None  # noqa: S101  # set with the first change
        return ItemTransition(self.batch_id, handle_of(change.item), change.previous, self._observed_at)

    def postpone(self) -> None:
        """Let go of worked-out transitions while nobody iterates; they are worked out again when asked for."""
        if self._delivered is not self._seen:
            self._queue = None

    def _find_pending(self) -> list[ItemChange]:
        status_of = self._delivered.get
        handles = self._snapshot(self._seen).items or []
        changes = [ItemChange(str(item.id), item, status_of(str(item.id))) for item in handles]
        return [change for change in changes if change.previous != change.item.status_code]

    @property
    def batch(self) -> Batch | None:
        """The latest snapshot, with every item ever listed at its last status; None before the first answer."""
        if self._body is None:
            return None
        if self._batch is None:
            self._batch = self._snapshot(self._seen)
        return self._batch

    @property
    def delivered(self) -> Batch:
        """What the consumer has been told, item by item; `since=` takes it up from there."""
        if self._body is None:
            return self._since or Batch(id=self.batch_id, items=[])
        return self._snapshot(self._delivered)

    @property
    def tally(self) -> Tally | None:
        """How far the items are; None before the first answer."""
        return self._tally

    @property
    def has_pending(self) -> bool:
        """Whether something has changed that the consumer has not been told of."""
        return self._delivered is not self._seen

    def next_settling_delay(self) -> float | None:
        """Seconds until one more poll of a terminal batch, whose items may lag behind it; None once they have settled.

        Every call that gives a delay uses up one of the few such polls.
        """
        if self._settling == len(SETTLING_DELAYS) or TERMINAL_STATUSES.issuperset(self._seen.values()):
            return None
        self._settling += 1
        return SETTLING_DELAYS[self._settling - 1]

    def report_missing(self) -> None:
        """Log the items that the last answer did not list any more."""
        if self._unlisted and self._body is not None:
            logger.warning(
                "batch %s: %d item(s) known from earlier answers are missing in the last one: %s",
                self.batch_id,
                len(self._unlisted),
                ", ".join(sorted(self._unlisted)[:5]),
            )

    def _snapshot(self, statuses: Mapping[str, str]) -> Batch:
        assert self._body is not None  # noqa: S101  # callers look before the first answer themselves
        if self._decoded is None:
            self._decoded = _named(self._decode(self._body), self.batch_id)
        batch = self._decoded
        listed = {str(item.id): item for item in batch.items or []}
        if batch.items is None and not self._unlisted:
            return batch
        items = [
            item if item.status_code == statuses[key] else replace(item, status_code=statuses[key])
            for key, item in (self._unlisted | listed).items()
            if key in statuses
        ]
        items.sort(key=lambda item: item.sequence_index)
        return replace(batch, items=items)

    def _decode(self, body: bytes) -> Batch:
        try:
            return decode_batch(body, self.warn)
        except (MalformedResponseError, RecursionError):  # a poll took it, with more room left on the stack
            self.warn("looked at deep in the stack, what is nested deeply is taken as None")
            return decode_batch(without_depths(body), self.warn)

    def _handles(self) -> dict[str, BatchItemHandle]:
        if self._body is None:
            return self._unlisted
        return {str(item.id): item for item in self._snapshot(self._seen).items or []}

    def _report(self, contradictions: list[ItemChange]) -> None:
        for change in contradictions:
            key, item, previous = change
            if change.is_second_end:
                self.warn("item %s was %r and is now said to be %r; the first stays", key, previous, item.status_code)
            else:
                logger.debug("item %s is %r; a stale answer says %r", key, previous, item.status_code)

    def _check_counts(self, answer: PollAnswer, listed: int) -> None:
        ended = (answer.items_succeeded or 0) + (answer.items_failed or 0) + (answer.items_cancelled or 0)
        total = answer.items_total
        if total is not None and (total != listed or ended > total):
            self.warn(
                "items_total, items listed, items counted as ended: %r; transitions follow the items",
                (total, listed, ended),
            )

    def warn(self, text: str, *details: object) -> None:
        """Warn once of each thing, not with every answer that repeats it."""
        if text not in self._warned:
            self._warned |= {text}
            logger.warning("batch %s: %s", self.batch_id, text % details)


def _named(batch: Batch, batch_id: UUID) -> Batch:
    """The batch with an id; the contract lets an answer do without."""
    return batch if batch.id is not None else replace(batch, id=batch_id)
