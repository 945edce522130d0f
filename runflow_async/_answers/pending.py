"""What a consumer lacks: the changes that were seen and are not delivered yet."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from runflow_async.models import ItemTransition

__all__ = ["Pending"]


class Pending:
    """How the consumer differs from what was seen.

    Args:
        delivered: the last delivered status of each item, by key; from now on this keeps it current.
        changes: the changes that are left, in order.
        observed_at: when they were seen.
    """

    __slots__ = ("_queue", "delivered", "observed_at")

    def __init__(self, delivered: dict[int, str], changes: Iterable[ItemTransition], observed_at: datetime) -> None:
        self.delivered = delivered
        self.observed_at = observed_at
        self._queue: deque[ItemTransition] | None = deque(changes)  # None if a comparison has to find them

    def add(self, observed_at: datetime) -> None:
        """Note that more has changed. It may undo or continue one of the changes that are left."""
        self.observed_at = observed_at
        self._queue = None

    def postpone(self) -> None:
        """Free the memory of the changes that are left. A comparison finds them again."""
        self._queue = None

    def queue(self, compare: Callable[[Pending], Iterable[ItemTransition]]) -> deque[ItemTransition]:
        """Return the changes that are left, found by `compare` if necessary; none if all were undone."""
        if self._queue is None:
            self._queue = deque(compare(self))
        return self._queue
