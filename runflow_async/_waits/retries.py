"""How failed requests are tried again: which errors are worth it, how often, and after how long."""

from __future__ import annotations

import logging
import math
import random
from datetime import timedelta  # of a struct

import tenacity
from msgspec import Struct
from tenacity import AsyncRetrying, RetryCallState
from tenacity.wait import wait_base, wait_random_exponential

from runflow_async._arguments import check_count, check_seconds
from runflow_async._verdict import Verdict
from runflow_async.errors import NotFoundError, RunflowError

__all__ = ["RetryPolicy", "RetryWorthwhile", "WaitAfterFailure", "log_failure", "retrying", "verdict_of"]

logger = logging.getLogger("runflow_async")

SUSPECT_LIMIT = 3
"""Suspect answers in a row after which the last of them is raised."""
JUST_CREATED_SECONDS = 3.0
"""From a wait's first request; until then, 404 means that the batch has not reached every replica yet."""


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


def verdict_of(error: RunflowError, polls: int, age: float) -> Verdict:
    """Whether a wait polls again after an error; the error's own verdict, but for a 404.

    Args:
        error: what a poll ended with.
        polls: valid responses before it.
        age: seconds since the wait's first request.
    """
    if not isinstance(error, NotFoundError):
        return error.verdict
    if polls:
        return Verdict.SUSPECT  # a replica that lags behind
    return Verdict.TRANSIENT if age < JUST_CREATED_SECONDS else Verdict.FINAL


class RetryWorthwhile(tenacity.retry_base):
    """Retries transient errors, and suspect ones until there were three in a row; an allow-list."""

    def __init__(self) -> None:
        self._suspects = 0

    def __call__(self, retry_state: RetryCallState) -> bool:
        error = _error_of(retry_state)
        return isinstance(error, RunflowError) and self.allows(error.verdict)

    def allows(self, verdict: Verdict) -> bool:
        """Whether an error with this verdict, the next one in a row, is worth another attempt."""
        self._suspects = self._suspects + 1 if verdict is Verdict.SUSPECT else 0
        return verdict is not Verdict.FINAL and self._suspects < SUSPECT_LIMIT


class WaitAfterFailure(wait_base):
    """Full jitter, and never sooner than the server's `Retry-After` asks, up to a cap."""

    def __init__(self, policy: RetryPolicy, max_retry_after: float) -> None:
        first = check_seconds("wait_initial", policy.wait_initial)
        self._backoff = wait_random_exponential(multiplier=first, max=policy.wait_max)
        self._max_retry_after = max_retry_after

    def __call__(self, retry_state: RetryCallState) -> float:
        asked = getattr(_error_of(retry_state), "retry_after", None)
        if asked is None:
            return self._backoff(retry_state)
        # Up to a tenth on top, so that everybody who was told the same does not come back at once.
        return float(min(asked, self._max_retry_after) * random.uniform(1, 1.1))  # noqa: S311  # spreads only


def _error_of(retry_state: RetryCallState) -> BaseException | None:
    return retry_state.outcome.exception() if retry_state.outcome else None


def log_failure(logger: logging.Logger, subject: str, attempt: int, error: BaseException | None, delay: float) -> None:
    """Log that an attempt failed; the next one comes in `delay` seconds, or not at all if that is infinite."""
    upcoming = f"next one in {delay:.2f} s" if delay < math.inf else "no further one would be in time"
    logger.info("%s: attempt %d failed (%s); %s", subject, attempt, error, upcoming)


def retrying(policy: RetryPolicy, *, subject: str, max_retry_after: float) -> AsyncRetrying:
    """A fresh tenacity engine for one call; sharing one would mix the calls' attempts.

    Args:
        policy: attempts and backoff.
        subject: names what is tried, in the log of its failures.
        max_retry_after: seconds; a longer `Retry-After` is cut to it.
    """

    def log(state: RetryCallState) -> None:
        log_failure(logger, subject, state.attempt_number, _error_of(state), state.upcoming_sleep)

    return AsyncRetrying(
        stop=tenacity.stop_after_attempt(policy.attempts),
        wait=WaitAfterFailure(policy, max_retry_after),
        retry=RetryWorthwhile(),
        before_sleep=log,
        reraise=True,
    )
