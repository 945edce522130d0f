"""The state of every watched batch: counts by kind of status, items per second, and the last transitions.

Pure: takes transitions with the times at which they arrived, returns numbers. Knows nothing of terminals.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from runflow_async.models import TERMINAL_STATUSES, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID

    from runflow_async.models import BatchItemHandle, ItemTransition

__all__ = ["Board", "ItemProgress"]

PACE_SECONDS = 60.0
"""Time over which the items per second are measured."""
REMEMBERED = 50
"""How many transitions are kept for display."""


class ItemProgress:
    """The progress of some items.

    Attributes:
        counts: items by kind.
        ended: items that have ended.
    """

    def __init__(self, began: float) -> None:
        self.counts: Counter[str] = Counter()
        self.ended = 0
        self._began = began
        self._endings: deque[float] = deque()

    @property
    def total(self) -> int:
        """How many items have been seen."""
        return self.counts.total()

    @property
    def left(self) -> int:
        """How many items have not ended."""
        return self.total - self.ended

    def note(self, previous: str | None, current: str, now: float) -> None:
        """Count an item's change from one status to another."""
        if previous is not None:
            self.counts[kind_of(previous)] -= 1
        self.counts[kind_of(current)] += 1
        if current in TERMINAL_STATUSES:
            self.ended += 1
            if previous is not None:  # items that had ended before say nothing about the current rate
                self._endings.append(now)

    def pace(self, now: float) -> float:
        """Items that ended per second, recently."""
        while self._endings and self._endings[0] < now - PACE_SECONDS:
            self._endings.popleft()
        span = min(now - self._began, PACE_SECONDS)
        return len(self._endings) / span if span > 0 else 0.0


class Board:
    """All watched batches.

    Args:
        now: the current time, on the clock used for all other times.
        earlier: items with statuses known from before, by batch.

    Attributes:
        batches: the progress of each batch, by its id.
        overall: the progress of all items together.
        recent: the last transitions, oldest first.
    """

    def __init__(self, now: float, earlier: Mapping[UUID, Iterable[BatchItemHandle]]) -> None:
        self.began = now
        self.batches: dict[UUID, ItemProgress] = {}
        self.overall = ItemProgress(now)
        self.recent: deque[ItemTransition] = deque(maxlen=REMEMBERED)
        for batch_id, items in earlier.items():
            for item in items:
                self._note(batch_id, None, item.status_code, now)

    def add(self, transition: ItemTransition, now: float) -> None:
        """Count a transition that was delivered."""
        self._note(transition.batch_id, transition.previous, transition.current, now)
        self.recent.append(transition)

    def progress(self, batch_id: UUID) -> ItemProgress:
        """The progress of a batch; empty before its first transition."""
        return self.batches.get(batch_id) or self.batches.setdefault(batch_id, ItemProgress(self.began))

    def _note(self, batch_id: UUID, previous: str | None, current: str, now: float) -> None:
        self.progress(batch_id).note(previous, current, now)
        self.overall.note(previous, current, now)
