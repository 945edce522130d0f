"""When to poll after a valid response: the default schedule, and the state that every wait strategy gets.

`interval=` takes any tenacity wait strategy. What a wait has seen of its batch lives in the state, never in the
strategy, so strategies can be shared. docs/explanation/schedule.md explains the default and what it costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import tenacity
from tenacity import AsyncRetrying, RetryCallState
from tenacity.wait import wait_base, wait_random

from runflow_async._arguments.values import check_number, check_seconds
from runflow_async._progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from runflow_async._answers.tally import Tally
    from runflow_async.models import Batch

__all__ = ["PollState", "wait_adaptive"]

UNUSED_ENGINE = AsyncRetrying()
"""Tenacity's call states need an engine, even where nothing is called through it."""


class PollState(RetryCallState):
    """What a wait strategy sees between two polls: tenacity's call state, updated by the wait.

    `attempt_number` counts the valid responses that came when a poll was due by this wait's own delays: polls that
    other waits for the batch make in between do not count. `outcome` has the latest snapshot and is only made on
    access, `seconds_since_start` is measured on the event loop's clock.
    """

    def __init__(self, snapshot: Callable[[], Batch | None]) -> None:
        self._snapshot = snapshot
        self._progress = Progress()
        self._unobserved: tuple[float, Tally] | None = None
        super().__init__(UNUSED_ENGINE, None, (), {})
        self.attempt_number = 0

    @property
    def outcome(self) -> tenacity.Future | None:
        """The latest snapshot as tenacity's future; None before the first response."""
        batch = self._snapshot()
        return None if batch is None else tenacity.Future.construct(self.attempt_number, batch, False)

    @outcome.setter
    def outcome(self, value: object) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]  # made on access
        """Ignored: the base class sets it to None when it starts."""

    @property
    def progress(self) -> Progress:
        """What was seen of the items. The estimate is made when somebody looks."""
        if self._unobserved is not None:
            self._progress.observe(*self._unobserved)
            self._unobserved = None
        return self._progress

    def answered(self, now: float, tally: Tally | None, *, is_attempt: bool = True) -> None:
        """Update the state with a valid response that arrived at `now`."""
        self.attempt_number += is_attempt
        self.outcome_timestamp = now
        if tally is not None:
            if self._unobserved is not None and self._unobserved[1] != tally:
                self._progress.note(*self._unobserved)
            self._unobserved = now, tally

    def delay(self, strategy: Callable[[RetryCallState], float]) -> float:
        """Return the seconds until the next poll, according to the strategy.

        Raises:
            ConfigurationError: if the strategy returns anything but a finite number from 0.
        """
        self.upcoming_sleep = check_seconds("a delay of the interval strategy", strategy(self), zero=True)
        self.idle_for += self.upcoming_sleep
        return self.upcoming_sleep


class wait_adaptive(wait_base):
    """Poll rarely while the batch cannot end and densely when it is about to; the default of every wait.

    It estimates from the items' progress when the batch is likely to end. Polls are as dense as the square root of that
    likelihood per second. The estimate belongs to the wait, so one strategy can serve many waits. It can be combined
    with tenacity's own, as in `wait_adaptive() + wait_random(0, 1)`.

    Args:
        min: seconds; no interval is shorter.
        max: seconds; no interval is longer, which bounds how stale a transition can be when it is seen.
        eagerness: factor on the density of polls. Doubling it costs about twice the requests and halves the delay with
            which the end is seen.
        jitter: share by which each interval is varied at random, so that waits do not poll in step.

    Raises:
        ConfigurationError: for values that make no sense.
    """

    def __init__(
        self,
        *,
        min: float | timedelta = 0.5,
        max: float | timedelta = 10.0,
        eagerness: float = 1.0,
        jitter: float = 0.1,
    ) -> None:
        self.min = check_seconds("min", min)
        self.max = check_seconds("max", max, least=("min", self.min))
        self.eagerness = check_number("eagerness", eagerness)
        self.jitter = check_number("jitter", jitter, zero=True, below=1.0)

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return the seconds until the next poll."""
        started = retry_state.start_time
        progress = retry_state.progress if isinstance(retry_state, PollState) else Progress(started)
        elapsed = retry_state.seconds_since_start or 0.0
        longest = min(self.max, progress.longest_interval(elapsed, self.eagerness))
        interval = progress.delay(started + elapsed, longest, self.eagerness)
        # Cut after the jitter, half of the longest intervals would be equal, and waits would poll in step.
        cut = min(interval, self.max / (1 + self.jitter))
        return max(self.min, wait_random(cut * (1 - self.jitter), cut * (1 + self.jitter))(retry_state))
