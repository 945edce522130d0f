"""Who is to be polled when: the earliest entry of many, where every key has one entry at most."""

from __future__ import annotations

import heapq
import itertools
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

__all__ = ["Timetable"]


class Timetable:
    """A heap of instants. A new entry for a key replaces its old one; ties go by the order of entering."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, UUID]] = []
        self._valid: dict[UUID, int] = {}
        self._numbers = itertools.count()

    def enter(self, key: UUID, instant: float) -> None:
        """Set the instant of a key."""
        number = next(self._numbers)
        self._valid[key] = number
        heapq.heappush(self._heap, (instant, number, key))

    @property
    def next_at(self) -> float:
        """The earliest instant; infinite without entries."""
        while self._heap and self._valid.get(self._heap[0][2]) != self._heap[0][1]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def pop(self) -> UUID:
        """Remove the earliest entry, looked at with `next_at` before, and return its key."""
        key = heapq.heappop(self._heap)[2]
        del self._valid[key]
        return key
