"""What one wait knows of its batch, and what of it the consumer has.

Pure: answers go in; transitions, snapshots and a resumable record of what was delivered come out.

Theory of operation. `_seen` is always current: the last known status of every item ever listed. The newest answer is
kept as bytes and decoded whole only when somebody looks at a snapshot, so that thousands of waits cost little more than
their last bodies. The consumer is in one of three states:

    up to date   `_pending` is None: whatever was seen has been delivered
    queued       `_pending.queue` holds every change that is left, in order
    behind       `_pending.queue` is None: it takes a comparison to say what is left

A change moves "up to date" to "queued", and "queued" to "behind", because it may undo or continue a queued one.
Delivering moves "behind" to "queued", and after the last change to "up to date". So a slow consumer never queues more
than one transition for each item.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from sys import intern
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runflow_async._answers.decoding import PollAnswer, decode_batch
from runflow_async._answers.lenient import WarnOnce, without_depths
from runflow_async._answers.tally import Tally, count_statuses, read_counts
from runflow_async._answers.transitions import ItemChange, diff_items, handle_of
from runflow_async.errors import MalformedResponseError
from runflow_async.models import TERMINAL_STATUSES, Batch, BatchItemHandle, ItemTransition, Phase, phase_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from uuid import UUID

__all__ = ["Ledger"]

logger = logging.getLogger("runflow_async")

SETTLING_DELAYS = (0.25, 1.0, 3.0)
"""Seconds before each of the polls in which the items of a terminal batch can catch up."""


@dataclass(slots=True)
class Pending:
    """What the consumer does not have yet.

    Attributes:
        delivered: status by item, as the consumer knows them.
        observed_at: when the newest change was seen.
        queue: the changes left, never empty; None if they have to be worked out.
    """

    delivered: dict[str, str]
    observed_at: datetime
    queue: deque[ItemChange] | None


class Ledger:
    """The memory of one wait.

    Attributes:
        batch_id: the batch that the answers are about.
        is_terminal: whether the batch has ended. Never undone.
        tally: how far the items are; None before the first answer.
        warn: logs a warning about the batch, each kind once.
    """

    __slots__ = (
        "_batch",  # the newest snapshot; None until somebody looks; before the first answer, what was known earlier
        "_body",  # the newest answer; empty before the first one, as no answer is
        "_pending",  # None if everything seen was delivered
        "_seen",  # status by item; replaced and never changed, because `_pending.delivered` starts as this very object
        "_settling",  # how many of SETTLING_DELAYS were used
        "_unlisted",  # items that the newest answer left out; a later one may list them again
        "batch_id",
        "is_terminal",
        "tally",
        "warn",
    )

    def __init__(self, batch_id: UUID, since: Batch | None) -> None:
        self.batch_id = batch_id
        self.is_terminal = False
        self.tally: Tally | None = None
        self.warn = WarnOnce(f"batch {batch_id}")
        self._body = b""
        self._pending: Pending | None = None
        self._settling = 0
        self._unlisted: dict[str, BatchItemHandle] = {}
        self.resume(since)

    def resume(self, since: Batch | None) -> None:
        """Before the first answer: count an earlier snapshot as delivered."""
        self._batch: Batch | None = _named(since or Batch(items=[]), self.batch_id)
        self._seen = {key: item.status_code for key, item in self._items().items()}

    def is_unchanged(self, body: bytes) -> bool:
        """Whether the answer is byte for byte the newest one, so that there is no need to decode it."""
        return body == self._body != b""

    def take(self, body: bytes, answer: PollAnswer, observed_at: datetime) -> None:
        """Take in a changed answer, whole or, if it raises, not at all. A stale one, from before the end, is ignored.

        Raises:
            MalformedResponseError: if an item's id is no UUID.
        """
        if self.is_terminal and not answer.is_terminal:
            logger.debug("batch %s has ended; a stale answer says %r", self.batch_id, answer.status_code)
            return
        if answer.items is None:
            self._unlisted = self._items()
        else:
            listed, changes, contradictions = diff_items(self._seen, answer.items)
            self._report(contradictions)
            self._check_counts(answer, len(listed))
            is_whole = self._seen.keys() <= listed.keys()
            self._unlisted = {} if is_whole else {key: one for key, one in self._items().items() if key not in listed}
            if changes:
                self._note(changes, observed_at)
        self._body = body
        self._batch = None
        self.is_terminal = answer.is_terminal
        self.tally = count_statuses(self._seen.values()) if self._seen else read_counts(answer)
        if phase_of(answer.status_code) is Phase.UNKNOWN:
            self.warn("the unknown status %r is taken as not terminal", answer.status_code)

    def _note(self, changes: list[ItemChange], observed_at: datetime) -> None:
        if self._pending is None:
            self._pending = Pending(self._seen, observed_at, deque(changes))
        else:
            self._pending.observed_at = observed_at
            self._pending.queue = None
        # Interned: a hundred items mostly share one status, and each answer brings texts of its own.
        self._seen = self._seen | {change.key: intern(change.item.status_code) for change in changes}

    @property
    def has_pending(self) -> bool:
        """Whether something has changed since the last delivered transition."""
        return self._pending is not None

    def next_transition(self) -> ItemTransition | None:
        """The next pending transition, which then counts as delivered; None if there is none."""
        pending = self._pending
        if pending is None:
            return None
        if pending.queue is None:
            pending.queue = deque(self._compare(pending.delivered))
        if not pending.queue:  # changed and changed back while nobody asked
            self._pending = None
            return None
        change = pending.queue.popleft()
        pending.delivered[change.key] = change.item.status_code
        if not pending.queue:
            self._pending = None
        return ItemTransition(self.batch_id, handle_of(change.item), change.previous, pending.observed_at)

    def postpone(self) -> None:
        """Drop the queue while nobody iterates, to save its memory. Nothing is lost: it is worked out again."""
        if self._pending is not None:
            self._pending.queue = None

    def _compare(self, delivered: Mapping[str, str]) -> list[ItemChange]:
        changes = (ItemChange(key, item, delivered.get(key)) for key, item in self._items().items())
        return [change for change in changes if change.previous != change.item.status_code]

    @property
    def batch(self) -> Batch | None:
        """The latest snapshot, with every item ever listed at its last status; None before the first answer."""
        return self._snapshot() if self._body else None

    @property
    def delivered(self) -> Batch:
        """What the consumer has, item by item, in the form that `since=` takes."""
        newest = self._snapshot()
        if self._pending is None or newest.items is None:
            return newest
        return replace(newest, items=_at(self._pending.delivered, newest.items))

    def next_settling_delay(self) -> float | None:
        """Use up one of the few polls for items that lag behind their terminal batch.

        Returns:
            seconds until that poll; None if every item has ended, or no such poll is left.
        """
        if self._settling == len(SETTLING_DELAYS) or TERMINAL_STATUSES.issuperset(self._seen.values()):
            return None
        self._settling += 1
        return SETTLING_DELAYS[self._settling - 1]

    def report_missing(self) -> None:
        """Log the items that the newest answer left out."""
        if self._unlisted:
            some = ", ".join(sorted(self._unlisted)[:5])
            text = "batch %s: %d item(s) known from earlier answers are missing in the last one: %s"
            logger.warning(text, self.batch_id, len(self._unlisted), some)

    def _snapshot(self) -> Batch:
        if self._batch is None:
            batch = _named(self._decode(), self.batch_id)
            if batch.items is not None or self._unlisted:
                items = _at(self._seen, (self._unlisted | _by_id(batch)).values())
                batch = replace(batch, items=sorted(items, key=lambda item: item.sequence_index))
            self._batch = batch
        return self._batch

    def _decode(self) -> Batch:
        try:
            return decode_batch(self._body, self.warn)
        except (MalformedResponseError, RecursionError):  # a poll took it, with more room left on the stack
            self.warn("looked at deep in the stack, what is nested deeply is taken as None")
            return decode_batch(without_depths(self._body), self.warn)

    def _items(self) -> dict[str, BatchItemHandle]:
        return _by_id(self._snapshot())

    def _report(self, contradictions: list[ItemChange]) -> None:
        for change in contradictions:
            key, item, previous = change
            if change.is_second_end:
                self.warn("item %s was %r and is now said to be %r; the first stays", key, previous, item.status_code)
            else:
                logger.debug("item %s is %r; a stale answer says %r", key, previous, item.status_code)

    def _check_counts(self, answer: PollAnswer, listed: int) -> None:
        total, ended = answer.items_total, answer.items_ended
        if total is not None and (total != listed or ended > total):
            counts = total, listed, ended
            self.warn("items_total is %d, but %d are listed and %d counted as ended; the list is used", *counts)


def _named(batch: Batch, batch_id: UUID) -> Batch:
    """The batch with an id; the contract lets an answer do without."""
    return batch if batch.id is not None else replace(batch, id=batch_id)


def _by_id(batch: Batch) -> dict[str, BatchItemHandle]:
    return {str(item.id): item for item in batch.items or ()}


def _at(statuses: Mapping[str, str], items: Iterable[BatchItemHandle]) -> list[BatchItemHandle]:
    """The items at these statuses; those without one are left out."""
    known = ((item, statuses.get(str(item.id))) for item in items)
    return [item if s == item.status_code else replace(item, status_code=s) for item, s in known if s is not None]
