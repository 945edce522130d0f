"""When to poll again: tenacity wait strategies for good answers, and the rules of retrying for bad ones.

A strategy given as `interval=` is any tenacity one; it sees a `PollState`. What is learnt of one batch lives in that
state, never in the strategy, so that strategies can be shared.
"""

from __future__ import annotations

import asyncio
import builtins
import logging
import math
import random
from datetime import timedelta  # of a struct
from typing import TYPE_CHECKING, Any

import tenacity
from msgspec import Struct
from tenacity import AsyncRetrying, RetryCallState
from tenacity.wait import wait_base, wait_chain, wait_combine, wait_fixed, wait_random_exponential

from runflow_async.arguments import check_count, check_function, check_number, check_seconds
from runflow_async.errors import ConfigurationError, RunflowError, Verdict
from runflow_async.progress import Progress, Tally

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from runflow_async.models import Batch

__all__ = [
    "PollState",
    "RetryPolicy",
    "check_strategy",
    "error_of",
    "log_failure",
    "retrying",
    "wait_adaptive",
]

logger = logging.getLogger("runflow_async")

SUSPECT_LIMIT = 3
"""Suspect answers in a row after which the last of them is raised."""

NEEDS_ERRORS: tuple[type, ...] = (tenacity.wait_exception,) if hasattr(tenacity, "wait_exception") else ()
"""Strategies that look at an exception; tenacity 9.0 has none."""


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """How failed requests are tried again: exponential backoff with full jitter.

    Attributes:
        attempts: requests that one `get_batch` makes at most, the first included. Waits do not count; they have
            `max_outage` and `timeout`.
        wait_initial: seconds; the first delay is drawn from 0 to this, each further one from twice as much.
        wait_max: seconds; no delay of the backoff is longer.

    Raises:
        ConfigurationError: for values that make no sense.
    """

    attempts: int = 5
    wait_initial: float | timedelta = 1.0
    wait_max: float | timedelta = 32.0

    def __post_init__(self) -> None:
        check_count("attempts", self.attempts)
        check_seconds("wait_initial", self.wait_initial)
        check_seconds("wait_max", self.wait_max)


class PollState(RetryCallState):
    """What a wait strategy sees between two polls: tenacity's call state, fed by a wait.

    `attempt_number` counts the good answers, `outcome` holds the latest snapshot and is only made when it is asked
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
        """Take in what a good answer that came at `now` says of the items."""
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
                f"interval is asked after good answers, where {type(part).__name__} finds no exception: "
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


class _RetryWorthwhile(tenacity.retry_base):
    """Retries transient errors, and suspect ones until there were three in a row; an allow-list."""

    def __init__(self) -> None:
        self._suspects = 0

    def __call__(self, retry_state: RetryCallState) -> bool:
        error = error_of(retry_state)
        if not isinstance(error, RunflowError) or error.verdict is Verdict.FINAL:
            return False
        self._suspects = self._suspects + 1 if error.verdict is Verdict.SUSPECT else 0
        return self._suspects < SUSPECT_LIMIT


class _WaitAfterFailure(wait_base):
    """Full jitter, and never sooner than the server's `Retry-After` asks, up to a cap."""

    def __init__(self, policy: RetryPolicy, max_retry_after: float) -> None:
        first = check_seconds("wait_initial", policy.wait_initial)
        self._backoff = wait_random_exponential(multiplier=first, max=policy.wait_max)
        self._max_retry_after = max_retry_after

    def __call__(self, retry_state: RetryCallState) -> float:
        asked = getattr(error_of(retry_state), "retry_after", None)
        if asked is None:
            return self._backoff(retry_state)
        # Up to a tenth on top, so that everybody who was told the same does not come back at once.
        return float(min(asked, self._max_retry_after) * random.uniform(1, 1.1))  # noqa: S311  # spreads only


def error_of(retry_state: RetryCallState) -> BaseException | None:
    """The error of the last attempt, or None."""
    return retry_state.outcome.exception() if retry_state.outcome else None


def log_failure(subject: str, attempt: int, error: BaseException | None, delay: float) -> None:
    """Log that an attempt failed; the next one comes in `delay` seconds, or not at all if that is infinite."""
    upcoming = f"next one in {delay:.2f} s" if delay < math.inf else "no further one would be in time"
    logger.info("%s: attempt %d failed (%s); %s", subject, attempt, error, upcoming)


def retrying(
    policy: RetryPolicy,
    *,
    subject: str | None = None,
    max_retry_after: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    stop: Callable[[RetryCallState], bool] | None = None,
    give_up: Callable[[RetryCallState], Any] | None = None,
) -> AsyncRetrying:
    """A fresh tenacity engine for one call; sharing one would mix the calls' attempts.

    Args:
        policy: attempts and backoff.
        subject: names what is tried, in the log of its failures; by default the caller logs them.
        max_retry_after: seconds; a longer `Retry-After` is cut to it.
        sleep: waits between attempts.
        stop: ends the attempts; by default their number does.
        give_up: raises what is to be raised once stopped; by default the last error.
    """

    def log(state: RetryCallState) -> None:
        if subject is not None:
            log_failure(subject, state.attempt_number, error_of(state), state.upcoming_sleep)

    return AsyncRetrying(
        sleep=sleep,
        stop=stop or tenacity.stop_after_attempt(policy.attempts),
        wait=_WaitAfterFailure(policy, max_retry_after),
        retry=_RetryWorthwhile(),
        before_sleep=log,
        reraise=True,
        retry_error_callback=give_up,
    )
