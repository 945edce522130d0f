"""Failures in a row: how long until the next attempt, by tenacity's strategies. The state outlives a cancelled step.

Logs the recovery at INFO, and once a WARNING if the outage lasts.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from tenacity import AsyncRetrying, RetryCallState

from runflow_async._waits.retries import RetryWorthwhile, WaitAfterFailure, log_failure

if TYPE_CHECKING:
    from runflow_async._verdict import Verdict
    from runflow_async._waits.options import WaitOptions
    from runflow_async.errors import RunflowError

__all__ = ["OngoingOutage", "Outage"]


class OngoingOutage(NamedTuple):
    """A wait without a valid response; the instants are on the event loop's clock.

    Attributes:
        since: when the first of the failed requests was sent.
        until: when `max_outage` is over.
        error: the last failure.
    """

    since: float
    until: float
    error: RunflowError


logger = logging.getLogger("runflow_async.outages")

LASTING = 30.0
"""Seconds without a valid response that are worth a warning."""


class Outage:
    """The failures of one wait since its last valid response.

    Args:
        now: instant of the first failure.
        subject: names the wait in the log.
        options: have the backoff and the longest `Retry-After`.

    Attributes:
        error: the last failure of a request that was sent; before there is one, the first that was not.
    """

    def __init__(self, now: float, subject: str, options: WaitOptions) -> None:
        self.error: RunflowError | None = None
        self._subject = subject
        self._began = now
        self._is_reported = False
        self._worthwhile = RetryWorthwhile()
        self._wait = WaitAfterFailure(options.retry, options.max_retry_after)
        self._state = RetryCallState(_unused_engine, None, (), {})

    def failed(self, error: RunflowError, verdict: Verdict, *, was_sent: bool) -> float | None:
        """Seconds from this failure to the next attempt, or None if none is worth it."""
        if was_sent or self.error is None:
            self.error = error  # what was not even sent says nothing of the server
        if not self._worthwhile.allows(verdict):
            return None
        self._state.set_exception((type(error), error, error.__traceback__))
        delay = self._wait(self._state)
        self._state.prepare_for_next_attempt()
        return delay

    def report(self, error: RunflowError, now: float, delay: float) -> None:
        """Log this failure, and once that the outage lasts; the next attempt comes in `delay` seconds, or never."""
        lasted = now - self._began
        if not self._is_reported and lasted >= LASTING:
            self._is_reported = True
            logger.warning("%s: no valid response for %.0f s (%s); still trying", self._subject, lasted, error)
        log_failure(logger, self._subject, self._state.attempt_number - 1, error, delay)

    def recovered(self, now: float) -> None:
        """A valid response has ended it."""
        logger.info(
            "%s: a valid response again, after %d failed attempts in %.1f s",
            self._subject,
            self._state.attempt_number - 1,
            now - self._began,
        )


_unused_engine = AsyncRetrying()
"""Tenacity's call state wants one; none of its attempts is made."""
