"""What is known of every batch that is watched: counts by kind of status, pace, and what happened last.

Pure: transitions go in with the instants at which they came, numbers come out. Knows nothing of terminals.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import TYPE_CHECKING

from runflow_async.models import TERMINAL_STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID

    from runflow_async._answers.transitions import ItemTransition
    from runflow_async.models import BatchItemHandle

__all__ = ["KINDS", "Board", "Progress", "kind_of"]

KINDS = ("succeeded", "failed", "cancelled", "running", "queued", "other")
"""Kinds of statuses, in the order in which a bar shows them."""
KIND_OF = {
    "succeeded": "succeeded",
    "failed": "failed",
    "canceled": "cancelled",
    "cancelled": "cancelled",
    "partial_succeeded": "other",
    "running": "running",
    "queued": "queued",
    "dispatching": "queued",
}
PACE_SPAN = 60.0
"""Seconds that the pace looks back."""
REMEMBERED = 50
"""Transitions that are kept to be shown."""


def kind_of(status: str) -> str:
    """The kind of an item's status; unknown ones are `other`."""
    return KIND_OF.get(status, "other")


class Progress:
    """How far some items are.

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
        """Items seen."""
        return self.counts.total()

    @property
    def left(self) -> int:
        """Items that have not ended."""
        return self.total - self.ended

    def note(self, previous: str | None, current: str, now: float) -> None:
        """An item went from one status to another."""
        if previous is not None:
            self.counts[kind_of(previous)] -= 1
        self.counts[kind_of(current)] += 1
        if current in TERMINAL_STATUSES:
            self.ended += 1
            if previous is not None:  # what had ended before it was watched says nothing about the pace
                self._endings.append(now)

    def pace(self, now: float) -> float:
        """Items that ended per second, lately."""
        while self._endings and self._endings[0] < now - PACE_SPAN:
            self._endings.popleft()
        span = min(now - self._began, PACE_SPAN)
        return len(self._endings) / span if span > 0 else 0.0

    def eta(self, now: float) -> float:
        """Seconds until all have ended if it goes on like this; infinite while nothing is known."""
        if not self.left:
            return 0.0 if self.total else math.inf
        pace = self.pace(now)
        return self.left / pace if pace else math.inf


class Board:
    """All batches that are watched.

    Args:
        now: this instant, on the clock of all others.
        earlier: items whose statuses are known from before, by batch.

    Attributes:
        batches: the progress of each batch, by its id.
        overall: the progress of all items together.
        recent: the last transitions, oldest first.
    """

    def __init__(self, now: float, earlier: Mapping[UUID, Iterable[BatchItemHandle]]) -> None:
        self.began = now
        self.batches: dict[UUID, Progress] = {}
        self.overall = Progress(now)
        self.recent: deque[ItemTransition] = deque(maxlen=REMEMBERED)
        for batch_id, items in earlier.items():
            for item in items:
                self._note(batch_id, None, item.status_code, now)

    def take(self, transition: ItemTransition, now: float) -> None:
        """A transition was yielded."""
        self._note(transition.batch_id, transition.previous, transition.current, now)
        self.recent.append(transition)

    def progress(self, batch_id: UUID) -> Progress:
        """The progress of a batch, empty before its first transition."""
        return self.batches.get(batch_id) or self.batches.setdefault(batch_id, Progress(self.began))

    def _note(self, batch_id: UUID, previous: str | None, current: str, now: float) -> None:
        self.progress(batch_id).note(previous, current, now)
        self.overall.note(previous, current, now)
