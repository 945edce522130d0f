"""Retries of failed requests: which errors are worth one, how many there are, and after how long."""

from __future__ import annotations

from datetime import timedelta  # of a struct
from typing import TYPE_CHECKING

import tenacity
from msgspec import Struct
from tenacity import AsyncRetrying, RetryCallState
from tenacity.wait import wait_random, wait_random_exponential

from runflow_async._arguments.values import check_count, check_seconds
from runflow_async._observing import UNOBSERVED
from runflow_async._verdict import Verdict
from runflow_async.errors import NotFoundError, RunflowError
from runflow_async.observers import Retrying

if TYPE_CHECKING:
    from runflow_async._observing import Call, Observing

__all__ = ["Retries", "RetryPolicy", "RetryWorthwhile", "verdict_of"]

SUSPECT_LIMIT = 3
"""Number of suspect failures in a row after which the last of them is raised."""
JUST_CREATED_SECONDS = 3.0
"""Age of a wait up to which 404 means that the batch has not reached every replica yet."""


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """How failed requests are retried: exponential backoff with full jitter.

    Attributes:
        attempts: the most requests that one `get_batch` makes, the first included. Waits do not count attempts; they
            have `max_outage` and `timeout`.
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
    """Whether a wait polls again after an error: the error's own verdict, except for a 404.

    Args:
        error: what a poll ended with.
        polls: number of valid responses before it.
        age: seconds since the wait's first request.
    """
    if not isinstance(error, NotFoundError):
        return error.verdict
    if polls:
        return Verdict.SUSPECT  # a replica that lags behind
    return Verdict.TRANSIENT if age < JUST_CREATED_SECONDS else Verdict.FINAL


class RetryWorthwhile(tenacity.retry_base):
    """Retries transient errors, and suspect ones up to the limit in a row; nothing else."""

    def __init__(self) -> None:
        self._suspects = 0

    def __call__(self, retry_state: RetryCallState) -> bool:
        error = _error_of(retry_state)
        return isinstance(error, RunflowError) and self.allows(error.verdict)

    def allows(self, verdict: Verdict) -> bool:
        """Whether an error with this verdict, the next one in a row, is worth another attempt."""
        self._suspects = self._suspects + 1 if verdict is Verdict.SUSPECT else 0
        return verdict is not Verdict.FINAL and self._suspects < SUSPECT_LIMIT


class Retries:
    """What one session does about failed requests.

    Args:
        policy: attempts and backoff.
        max_retry_after: seconds; a longer `Retry-After` is capped at this.
        observing: the observers of the session.
    """

    def __init__(self, policy: RetryPolicy, max_retry_after: float, observing: Observing = UNOBSERVED) -> None:
        first = check_seconds("wait_initial", policy.wait_initial)
        self._attempts = policy.attempts
        self._backoff = wait_random_exponential(multiplier=first, max=policy.wait_max)
        self._max_retry_after = max_retry_after
        self._observing = observing

    def cap(self, retry_after: float | None) -> float:
        """Return the seconds that the server asked to wait, at most `max_retry_after`; 0 if it asked for nothing."""
        return min(retry_after or 0.0, self._max_retry_after)

    def delay(self, state: RetryCallState) -> float:
        """Return the seconds to the next attempt: the backoff, or what the server asked for."""
        error = _error_of(state)
        if not isinstance(error, RunflowError) or error.retry_after is None:
            return self._backoff(state)
        # Up to a tenth on top, so that all who got the same answer do not come back at once.
        least = self.cap(error.retry_after)
        return wait_random(least, 1.1 * least)(state)

    def engine(self, subject: str, call: Call) -> AsyncRetrying:
        """Make a tenacity engine for one call; sharing one would mix the calls' attempts.

        Args:
            subject: names what is tried, in the log of its failures.
            call: the origin of its requests.
        """
        call.attempt = 1

        def report(state: RetryCallState) -> None:
            error, attempt = _error_of(state), state.attempt_number
            call.attempt = attempt + 1
            if isinstance(error, RunflowError):  # no other is retried
                self._observing.emit(
                    Retrying(
                        batch_id=call.batch_id,
                        wait_id=None,
                        subject=subject,
                        attempt=attempt,
                        delay=state.upcoming_sleep,
                        error=error,
                    )
                )

        return AsyncRetrying(
            stop=tenacity.stop_after_attempt(self._attempts),
            wait=self.delay,
            retry=RetryWorthwhile(),
            before_sleep=report,
            reraise=True,
        )


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
