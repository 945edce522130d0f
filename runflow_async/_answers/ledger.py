"""Remember what a wait has seen of its batch, and what was delivered to the consumer.

No I/O and no clock: answers go in; transitions, snapshots and a resumable record of what was delivered come out.

Theory of operation. `_seen` is always current: the last status of every item ever listed. The newest answer is kept as
bytes and decoded whole only when somebody looks at a snapshot, so that a wait costs little more than its last body. The
consumer is in one of three states:

    up to date   `_pending` is None: everything that was seen is delivered
    queued       `_pending.queue` holds the changes that are left, in order
    behind       `_pending.queue` is None: a comparison finds the changes that are left

A change moves "up to date" to "queued", and "queued" to "behind", because it may undo or continue a queued change. The
next delivery moves "behind" to "queued"; the last one moves "queued" to "up to date". So there is never more than one
pending transition for each item, however slow the consumer is.
"""

from __future__ import annotations

import logging
from collections import deque
from sys import intern
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runflow_async._answers.contradictions import report_contradictions
from runflow_async._answers.decoding import PollAnswer, decode_poll
from runflow_async._answers.lenient import WarnOnce
from runflow_async._answers.pending import Pending
from runflow_async._answers.snapshots import at_statuses, decode_snapshot, name_batch
from runflow_async._answers.tally import Tally, adjust_tally, count_statuses, read_counts
from runflow_async._answers.transitions import by_key, diff_items
from runflow_async._answers.updates import Layout, Update, is_few, read_layout, read_update
from runflow_async._eventlog import fields
from runflow_async.models import Batch, BatchItemHandle, ItemTransition, Phase, phase_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

__all__ = ["Ledger"]

logger = logging.getLogger("runflow_async")


class Ledger:
    """The memory of one wait.

    Attributes:
        batch_id: the batch that the answers are about.
        is_terminal: whether the batch has ended. Stays true once it is.
        tally: how far the items are; None before the first answer.
        status_code: the batch's status, as the newest answer spelled it.
        changes: number of changes that were seen.
        warn: logs a warning about the batch, each kind once.
    """

    __slots__ = (
        "_batch",  # the newest snapshot; None until somebody looks; before the first answer, what was known earlier
        "_body",  # the newest answer; empty before the first one, as no answer is
        "_is_calm",  # whether the newest answer changed few items and brought none, so that an update may follow
        "_layout",  # where the newest answer has its items; None if nobody has looked, or no update can start from it
        "_pending",  # None if everything seen was delivered
        "_seen",  # status by key; replaced and never changed, because `_pending.delivered` starts as this very object
        "_unlisted",  # items that the newest answer left out; a later one may list them again
        "batch_id",
        "changes",
        "is_terminal",
        "status_code",
        "tally",
        "warn",
    )

    def __init__(self, batch_id: UUID, since: Batch | None) -> None:
        self.batch_id = batch_id
        self.is_terminal = False
        self.tally: Tally | None = None
        self.status_code: str | None = None
        self.changes = 0
        self.warn = WarnOnce("batch", batch_id)
        self._body = b""
        self._is_calm = False
        self._layout: Layout | None = None
        self._pending: Pending | None = None
        self._unlisted: dict[int, BatchItemHandle] = {}
        self.resume(since)

    def resume(self, since: Batch | None) -> None:
        """Count an earlier snapshot as delivered. Only before the first answer."""
        self._batch: Batch | None = name_batch(since or Batch(items=[]), self.batch_id)
        self._seen = {key: item.status_code for key, item in self._items().items()}

    def is_unchanged(self, body: bytes) -> bool:
        """Whether the answer equals the newest one byte for byte, so that it need not be decoded."""
        return body == self._body != b""

    def read(self, body: bytes) -> PollAnswer | Update:
        """Decode an answer; if it lists the same items as the newest one, only what has changed.

        Raises:
            MalformedResponseError: as `decode_poll` does.
        """
        if self._layout is None and self._is_calm:
            self._layout = read_layout(self._body, self._listed)
        update = None if self._layout is None else read_update(self._body, self._layout, body)
        return update or decode_poll(body, self.warn)

    def take(self, body: bytes, answer: PollAnswer | Update, observed_at: datetime) -> None:
        """Take in a changed answer. A stale one is ignored."""
        envelope = answer.envelope
        if self.is_terminal and not envelope.is_terminal:
            text, extra = "batch %s has ended; a stale answer says %r", fields(self.batch_id)
            logger.debug(text, self.batch_id, envelope.status_code, extra=extra)
            return
        if isinstance(answer, Update):
            self._take_update(answer, observed_at)
        else:
            self._take_whole(answer, observed_at)
        self._body = body
        self._batch = None
        self.is_terminal = envelope.is_terminal
        self.status_code = envelope.status_code
        if phase_of(envelope.status_code) is Phase.UNKNOWN:
            self.warn("unknown status %r: treated as not terminal", envelope.status_code)

    def _take_whole(self, answer: PollAnswer, observed_at: datetime) -> None:
        self._is_calm = False
        if answer.items is None:
            self._unlisted = self._items()
        else:
            listed = by_key(answer.items)
            self._check_counts(answer, len(listed))
            is_whole = self._seen.keys() <= listed.keys()
            self._unlisted = {} if is_whole else {key: one for key, one in self._items().items() if key not in listed}
            changes = self._note(listed, observed_at)
            self._is_calm = is_few(len(changes), len(listed)) and all(one.previous is not None for one in changes)
        self._layout = None
        self.tally = count_statuses(self._seen.values()) if self._seen else read_counts(answer)

    def _take_update(self, update: Update, observed_at: datetime) -> None:
        tally = self.tally or count_statuses(self._seen.values())
        self._check_counts(update.envelope, self._listed)
        changes = self._note(by_key(update.items), observed_at)
        self._layout = update.layout
        self.tally = adjust_tally(tally, [(change.previous, change.current) for change in changes])

    @property
    def _listed(self) -> int:
        """The number of items that the newest answer lists."""
        return len(self._seen) - len(self._unlisted)

    def _note(self, items: Mapping[int, BatchItemHandle], observed_at: datetime) -> list[ItemTransition]:
        changes, contradictions = diff_items(self._seen, items, batch_id=self.batch_id, observed_at=observed_at)
        report_contradictions(contradictions, self.warn)
        if changes:
            self.changes += len(changes)
            if self._pending is None:
                self._pending = Pending(self._seen, observed_at, deque(changes))
            else:
                self._pending.add(observed_at)
            # Interned, because most items share a status, and every answer brings copies of its own.
            self._seen = self._seen | {one.item.id.int: intern(one.item.status_code) for one in changes}
        return changes

    @property
    def statuses(self) -> Mapping[int, str]:
        """The last status of every item ever listed, by key."""
        return self._seen

    @property
    def has_pending(self) -> bool:
        """Whether something has changed since the last delivered transition."""
        return self._pending is not None

    def next_transition(self) -> ItemTransition | None:
        """The next pending transition, which then counts as delivered; None if there is none."""
        pending = self._pending
        if pending is None:
            return None
        queue = self._compare(pending) if pending.queue is None else pending.queue
        transition = queue.popleft() if queue else None
        if not queue:
            self._pending = None
        elif transition is not None:
            pending.delivered[transition.item.id.int] = transition.item.status_code
        return transition

    def next_transitions(self) -> list[ItemTransition]:
        """All pending transitions, which then count as delivered."""
        pending, self._pending = self._pending, None
        return [] if pending is None else list(self._compare(pending) if pending.queue is None else pending.queue)

    def postpone(self) -> None:
        """Free memory while nobody iterates. Nothing is lost: a comparison finds the changes again."""
        if self._pending is not None:
            self._pending.queue = None

    def _compare(self, pending: Pending) -> deque[ItemTransition]:
        diff = diff_items(pending.delivered, self._items(), batch_id=self.batch_id, observed_at=pending.observed_at)
        pending.queue = deque(diff.changes)
        return pending.queue

    @property
    def batch(self) -> Batch | None:
        """The latest snapshot, with every item ever listed at its last status; None before the first answer."""
        return self._snapshot() if self._body else None

    @property
    def delivered(self) -> Batch:
        """The items at their last delivered status, in the form that `since=` takes."""
        newest = self._snapshot()
        if self._pending is None or newest.items is None:
            return newest
        return replace(newest, items=at_statuses(self._pending.delivered, newest.items))

    def report_missing(self) -> None:
        """Log the items that the newest answer left out."""
        if self._unlisted:
            some = ", ".join(sorted(str(item.id) for item in self._unlisted.values())[:5])
            text = "batch %s: %d item(s) of earlier answers are missing from the last one: %s"
            logger.warning(text, self.batch_id, len(self._unlisted), some, extra=fields(self.batch_id))

    def _snapshot(self) -> Batch:
        if self._batch is None:
            batch = name_batch(decode_snapshot(self._body, self.warn), self.batch_id)
            if batch.items is not None or self._unlisted:
                items = self._unlisted | by_key(batch.items or ())
                batch = replace(batch, items=at_statuses(self._seen, items.values()))
            self._batch = batch
        return self._batch

    def _items(self) -> dict[int, BatchItemHandle]:
        return by_key(self._snapshot().items or ())

    def _check_counts(self, answer: PollAnswer, listed: int) -> None:
        total, ended = answer.items_total, answer.items_ended
        if total is not None and (total != listed or ended > total):
            counts = total, listed, ended
            self.warn("items_total is %d, but %d items are listed and %d counted as ended; the list is used", *counts)
