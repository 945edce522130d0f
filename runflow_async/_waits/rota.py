"""Which of many waits takes its next step when: the first ones spread, later ones when they say."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from runflow_async._waits.timetable import Timetable

if TYPE_CHECKING:
    from runflow_async._waits.one import BatchWait

__all__ = ["Rota"]

PROMPT = 20
"""First polls that are made at once; those of further batches are spread."""
SPREAD = 0.002
"""Seconds by which each further batch widens the span of the first polls."""
WIDEST = 10.0
"""Seconds; the longest span of the first polls, which is also the longest default interval."""


class Rota:
    """The waits that are not in flight, by the instants of their polls and of their deadlines.

    A wait whose deadline comes while its poll has not had its turn ends without a poll.
    """

    def __init__(self) -> None:
        self._new: dict[BatchWait, None] = {}  # in the order of adding; none has an instant yet
        self._polls: Timetable[BatchWait] = Timetable()
        self._deadlines: Timetable[BatchWait] = Timetable()  # also of those in flight, or held up by the consumer

    def add(self, wait: BatchWait) -> None:
        """Take in a wait that has made no step."""
        self._new[wait] = None

    def spread_new(self, now: float) -> None:
        """Set the instants of the first steps of all that were added since."""
        span = min(WIDEST, SPREAD * len(self._new))
        for number, wait in enumerate(self._new):
            late = 0.0 if number < PROMPT else random.uniform(0, span)  # noqa: S311  # spreads, hides nothing
            self._polls.enter(wait, now + late)
        self._new.clear()

    def schedule(self, wait: BatchWait) -> None:
        """Let a wait have its next step when it says."""
        self._new.pop(wait, None)
        self._polls.enter(wait, wait.next_at)
        self._deadlines.enter(wait, wait.deadline)

    def hold(self, wait: BatchWait) -> None:
        """Let a wait have no step for now."""
        self._new.pop(wait, None)
        self._polls.discard(wait)

    def remove(self, wait: BatchWait) -> None:
        """Forget a wait that has ended."""
        self.hold(wait)
        self._deadlines.discard(wait)

    def next_at(self, *, has_room: bool) -> float:
        """The instant of the next deadline, or, if there is room for one, poll; infinite without any."""
        return min(self._deadlines.next_at, self._polls.next_at) if has_room else self._deadlines.next_at

    def take_late(self, reached: float) -> BatchWait | None:
        """Remove one whose deadline is reached and that is not held; it ends without a poll, and so needs no room."""
        while self._deadlines.next_at <= reached:
            wait = self._deadlines.pop()
            if wait in self._polls:
                self._polls.discard(wait)
                return wait
        return None

    def take_due(self, reached: float) -> BatchWait | None:
        """Remove the one whose poll is due first; None if none is due."""
        return self._polls.pop() if self._polls.next_at <= reached else None
