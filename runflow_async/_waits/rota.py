"""When each of many waits takes its next step. The first polls are spread; later ones follow each wait's schedule."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from runflow_async._waits.timetable import Timetable

if TYPE_CHECKING:
    from collections.abc import Callable

    from runflow_async._waits.run import Run

__all__ = ["Rota"]

FIRST_POLLS_AT_ONCE = 20
"""The first polls of further batches are spread."""
SPREAD_PER_BATCH_SECONDS = 0.002
LONGEST_SPREAD_SECONDS = 10.0
"""As long as the longest default interval."""


class Rota:
    """The waits that are not in flight, ordered by the instants of their polls and by their deadlines.

    If a wait's deadline passes before its poll had a turn, the wait ends without a poll.

    Args:
        draw: returns a random number between two others; it spreads the first polls.
    """

    def __init__(self, draw: Callable[[float, float], float] = random.uniform) -> None:
        self._draw = draw
        self._new: dict[Run, None] = {}  # in the order of `add`; no instants yet
        self._polls: Timetable[Run] = Timetable()
        self._deadlines: Timetable[Run] = Timetable()  # also of waits that are in flight or held

    def add(self, run: Run) -> None:
        """Add a wait that has not made a step yet."""
        self._new[run] = None

    def spread_new(self, now: float) -> None:
        """Set the instants of the first steps of all waits added since the last call."""
        span = min(LONGEST_SPREAD_SECONDS, SPREAD_PER_BATCH_SECONDS * len(self._new))
        for number, run in enumerate(self._new):
            late = 0.0 if number < FIRST_POLLS_AT_ONCE else self._draw(0.0, span)
            self._polls.enter(run, max(now + late, run.next_at))
        self._new.clear()

    def schedule(self, run: Run) -> None:
        """Schedule the next step of a wait for its own `next_at`."""
        self._new.pop(run, None)
        self._polls.enter(run, run.next_at)
        if (deadline := run.deadline) < math.inf:  # an entry that is never reached would only take memory
            self._deadlines.enter(run, deadline)

    def hold(self, run: Run) -> None:
        """Schedule no step of a wait for now; its deadline still counts."""
        self._new.pop(run, None)
        self._polls.discard(run)

    def remove(self, run: Run) -> None:
        """Remove a wait that has ended."""
        self.hold(run)
        self._deadlines.discard(run)

    def next_at(self, *, has_room: bool) -> float:
        """The instant of the next deadline, or of the next poll if there is room for it; infinite without either."""
        return min(self._deadlines.next_at, self._polls.next_at) if has_room else self._deadlines.next_at

    def take_late(self, reached: float) -> Run | None:
        """Remove and return a wait that is past its deadline and not held. It needs no room: it ends without a poll."""
        while self._deadlines.next_at <= reached:
            run = self._deadlines.pop()
            if run in self._polls:
                self._polls.discard(run)
                return run
        return None

    def take_due(self, reached: float) -> Run | None:
        """Remove and return the wait whose poll is due first; None if none is due."""
        return self._polls.pop() if self._polls.next_at <= reached else None
