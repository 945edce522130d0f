"""The earliest of many instants, with at most one instant per key."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Timetable"]

Key = TypeVar("Key", bound=Hashable)


class Timetable(Generic[Key]):
    """A heap of instants. A new entry for a key replaces its old one; ties go by the order of entering.

    Replaced entries stay in the heap until they surface, or until they outnumber the live ones and are swept out.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Key]] = []
        self._entries: dict[Key, tuple[float, int, Key]] = {}
        self._numbers = itertools.count()

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def enter(self, key: Key, instant: float) -> None:
        """Set the instant of a key, instead of an earlier one."""
        current = self._entries.get(key)
        if current is None or current[0] != instant:
            self._entries[key] = entry = (instant, next(self._numbers), key)
            heapq.heappush(self._heap, entry)
            self._sweep()

    def discard(self, key: Key) -> None:
        """Remove a key, if it is in here."""
        if self._entries.pop(key, None) is not None:
            self._sweep()

    @property
    def next_at(self) -> float:
        """The earliest instant; infinite without entries."""
        while self._heap and self._entries.get(self._heap[0][2]) is not self._heap[0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def pop(self) -> Key:
        """Remove and return the key of the earliest instant. Call `next_at` first."""
        key = heapq.heappop(self._heap)[2]
        del self._entries[key]
        return key

    def _sweep(self) -> None:
        if len(self._heap) > 2 * len(self._entries):
            self._heap = list(self._entries.values())
            heapq.heapify(self._heap)
