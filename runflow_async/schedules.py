"""When to poll after a valid response: the default schedule, and what any tenacity wait strategy sees.

A strategy given as `interval=` is any tenacity one; it sees a `PollState`. What is learnt of one batch lives in that
state, never in the strategy, so that strategies can be shared.
"""

from __future__ import annotations

import builtins
import random
from typing import TYPE_CHECKING

import tenacity
from tenacity import AsyncRetrying, RetryCallState
from tenacity.wait import wait_base, wait_chain, wait_combine, wait_fixed

from runflow_async._arguments import check_function, check_number, check_seconds
from runflow_async._progress import Progress
from runflow_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from runflow_async._answers.tally import Tally
    from runflow_async.models import Batch

__all__ = [
    "PollState",
    "check_strategy",
    "wait_adaptive",
]

NEEDS_ERRORS: tuple[type, ...] = (tenacity.wait_exception,) if hasattr(tenacity, "wait_exception") else ()
"""Strategies that look at an exception; tenacity 9.0 has none."""


class PollState(RetryCallState):
    """What a wait strategy sees between two polls: tenacity's call state, fed by a wait.

    `attempt_number` counts the valid responses, `outcome` holds the latest snapshot and is only made when it is asked
    for, `seconds_since_start` is measured on the event loop's clock.
    """

    def __init__(self, snapshot: Callable[[], Batch | None]) -> None:
        self._snapshot = snapshot
        self.progress = Progress()
        super().__init__(retry_object=_bystander, fn=None, args=(), kwargs={})
        self.attempt_number = 0

    @property
    def outcome(self) -> tenacity.Future | None:
        """The latest snapshot as tenacity's future; None before the first answer."""
        batch = self._snapshot()
        return None if batch is None else tenacity.Future.construct(self.attempt_number, batch, False)

    @outcome.setter
    def outcome(self, value: object) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]  # made lazily
        """Ignored: the base class sets it to None when it starts."""

    def answered(self, now: float, tally: Tally | None) -> None:
        """Take in what a valid response that came at `now` says of the items."""
        self.attempt_number += 1
        self.outcome_timestamp = now
        if tally is not None:
            self.progress.observe(now, tally)

    def delay(self, strategy: Callable[[RetryCallState], float]) -> float:
        """Seconds until the next poll, as the strategy has it.

        Raises:
            ConfigurationError: if the strategy answers anything but a finite number from 0.
        """
        self.upcoming_sleep = check_seconds("a delay of the interval strategy", strategy(self), zero=True)
        self.idle_for += self.upcoming_sleep
        return self.upcoming_sleep


_bystander = AsyncRetrying()


class wait_adaptive(wait_base):  # noqa: N801  # tenacity's own spelling of strategies
    """Poll seldom while nothing can end and densely when it is about to; the default of every wait.

    From what the wait has seen of its items it follows when the batch is likely to end; polls are as dense as the
    square root of that likelihood per second. What is learnt lives with the wait: one strategy can serve many waits,
    and can be combined with tenacity's own, as in `wait_adaptive() + wait_random(0, 1)`.

    Args:
        min: seconds; no interval is shorter.
        max: seconds; no interval is longer, which bounds how stale a transition can be when it is seen.
        eagerness: polls are this many times as dense. Twice the eagerness costs about twice the requests and halves
            how late the end is seen.
        jitter: share by which each interval is varied at random, so that waits do not beat in step.

    Raises:
        ConfigurationError: for values that make no sense.
    """

    def __init__(
        self,
        *,
        min: float | timedelta = 0.5,  # noqa: A002  # tenacity's names
        max: float | timedelta = 10.0,  # noqa: A002  # tenacity's names
        eagerness: float = 1.0,
        jitter: float = 0.1,
    ) -> None:
        self.min = check_seconds("min", min)
        self.max = check_seconds("max", max)
        if self.max < self.min:
            raise ConfigurationError(f"max ({self.max:g} s) must not be less than min ({self.min:g} s)")
        self.eagerness = check_number("eagerness", eagerness)
        self.jitter = check_number("jitter", jitter, zero=True)
        if self.jitter >= 1:
            raise ConfigurationError(f"jitter must be less than 1, not {jitter}")

    def __call__(self, retry_state: RetryCallState) -> float:
        """Seconds until the next poll."""
        began = retry_state.start_time
        progress = retry_state.progress if isinstance(retry_state, PollState) else Progress(began)
        elapsed = retry_state.seconds_since_start or 0.0
        longest = builtins.min(self.max, progress.longest_interval(elapsed, self.eagerness))
        interval = progress.delay(began + elapsed, longest, self.eagerness)
        # Cut off after the jitter, half of the longest intervals would be equal, and waits would beat in step.
        cut = builtins.min(interval, self.max / (1 + self.jitter))
        varied = cut * random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311  # spreads, hides nothing
        return builtins.max(self.min, varied)


def check_strategy(
    interval: float | timedelta | Callable[[RetryCallState], float] | None,
) -> Callable[[RetryCallState], float]:
    """The strategy that `interval=` stands for: a number is a fixed interval, None the adaptive one.

    Raises:
        ConfigurationError: if it is neither a length of time nor a function, or a strategy, alone or combined with
            others, that looks at an exception.
    """
    if interval is None:
        return wait_adaptive()
    if not callable(interval):
        return wait_fixed(check_seconds("interval", interval))
    for part in _parts(interval):
        check_function("interval", part, "seconds or an instance of a wait strategy")
        if isinstance(part, NEEDS_ERRORS):
            raise ConfigurationError(
                f"interval is asked after valid responses, where {type(part).__name__} finds no exception: "
                "pass a strategy of time, such as wait_fixed(2); `retry` spaces failed requests"
            )
    return interval


def _parts(strategy: Callable[[RetryCallState], float]) -> Iterator[Callable[[RetryCallState], float]]:
    yield strategy
    if isinstance(strategy, wait_combine):
        parts: tuple[Callable[[RetryCallState], float], ...] = strategy.wait_funcs
    else:
        parts = strategy.strategies if isinstance(strategy, wait_chain) else ()
    for part in parts:
        yield from _parts(part)
