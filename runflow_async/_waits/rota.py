"""Which of many waits takes its next step when: the first ones spread, later ones when they say."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from runflow_async._waits.timetable import Timetable

if TYPE_CHECKING:
    from collections.abc import Callable

    from runflow_async._waits.run import Run

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

    Args:
        draw: a random number between two, for the instants of the first polls.
    """

    def __init__(self, draw: Callable[[float, float], float] = random.uniform) -> None:
        self._draw = draw
        self._new: dict[Run, None] = {}  # in the order of adding; none has an instant yet
        self._polls: Timetable[Run] = Timetable()
        self._deadlines: Timetable[Run] = Timetable()  # also of those in flight, or held up by the consumer

    def add(self, run: Run) -> None:
        """Take in a wait that has made no step."""
        self._new[run] = None

    def spread_new(self, now: float) -> None:
        """Set the instants of the first steps of all that were added since."""
        span = min(WIDEST, SPREAD * len(self._new))
        for number, run in enumerate(self._new):
            late = 0.0 if number < PROMPT else self._draw(0.0, span)
            self._polls.enter(run, now + late)
        self._new.clear()

    def schedule(self, run: Run) -> None:
        """Let a wait have its next step when it says."""
        self._new.pop(run, None)
        self._polls.enter(run, run.next_at)
        self._deadlines.enter(run, run.deadline)

    def hold(self, run: Run) -> None:
        """Let a wait have no step for now."""
        self._new.pop(run, None)
        self._polls.discard(run)

    def remove(self, run: Run) -> None:
        """Forget a wait that has ended."""
        self.hold(run)
        self._deadlines.discard(run)

    def next_at(self, *, has_room: bool) -> float:
        """The instant of the next deadline, or, if there is room for one, poll; infinite without any."""
        return min(self._deadlines.next_at, self._polls.next_at) if has_room else self._deadlines.next_at

    def take_late(self, reached: float) -> Run | None:
        """Remove one whose deadline is reached and that is not held; it ends without a poll, and so needs no room."""
        while self._deadlines.next_at <= reached:
            run = self._deadlines.pop()
            if run in self._polls:
                self._polls.discard(run)
                return run
        return None

    def take_due(self, reached: float) -> Run | None:
        """Remove the one whose poll is due first; None if none is due."""
        return self._polls.pop() if self._polls.next_at <= reached else None
