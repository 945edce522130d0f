"""Failures in a row: tenacity's engine decides whether and when to try again, its state outlives a cancelled step.

Logs the recovery at INFO, and once a WARNING if the outage lasts.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from tenacity import RetryCallState

from runflow_async._waits.retries import RetryPolicy, error_of, retrying
from runflow_async.errors import RunflowError, StatusError

if TYPE_CHECKING:
    from collections.abc import Callable

    from runflow_async._waits.agenda import Agenda

__all__ = ["OngoingOutage", "Outage"]


class OngoingOutage(NamedTuple):
    """A wait without a good answer; the instants are on the event loop's clock.

    Attributes:
        since: when the first of the failed requests was sent.
        until: when `max_outage` is over.
        error: the last failure.
    """

    since: float
    until: float
    error: RunflowError


logger = logging.getLogger("runflow_async._waits.outages")

LASTING = 30.0
"""Seconds without a good answer that are worth a warning."""


class Outage:
    """The failures of one wait since its last good answer.

    Args:
        agenda: says when the wait is over.
        subject: names the wait in the log.
        retry: the backoff.
        max_retry_after: seconds; a longer `Retry-After` is cut to it.
        limit_error: makes the error to raise when it is over, its cause included.
    """

    def __init__(
        self,
        agenda: Agenda,
        *,
        subject: str,
        retry: RetryPolicy,
        max_retry_after: float,
        limit_error: Callable[[], RunflowError],
    ) -> None:
        self._agenda = agenda
        self._limit_error = limit_error
        self._subject = subject
        self._began = _now()
        self._is_reported = False
        self._engine = retrying(retry, max_retry_after=max_retry_after, stop=self._is_hopeless, give_up=self._give_up)
        self._engine.begin()
        self._failures = RetryCallState(self._engine, None, (), {})

    @property
    def failures(self) -> int:
        """Attempts that failed."""
        return self._failures.attempt_number - 1

    async def delay_after(self, error: RunflowError) -> float:
        """Seconds until the next attempt.

        Raises:
            RunflowError: the error itself if trying again cannot mend it, or what ends the wait.
        """
        self._failures.set_exception((type(error), error, error.__traceback__))
        await self._engine.iter(retry_state=self._failures)
        delay = self._failures.upcoming_sleep
        self._failures.prepare_for_next_attempt()
        if not self._is_reported and self._lasted() >= LASTING:
            self._is_reported = True
            logger.warning("%s: no good answer for %.0f s (%s); still trying", self._subject, self._lasted(), error)
        return delay

    def recovered(self) -> None:
        """A good answer has ended it."""
        logger.info(
            "%s: a good answer again, after %d failed attempts in %.1f s",
            self._subject,
            self.failures,
            self._lasted(),
        )

    def _lasted(self) -> float:
        return _now() - self._began

    def _is_hopeless(self, failures: RetryCallState) -> bool:
        return self._agenda.is_over(_now()) or self._is_asked_beyond(error_of(failures))

    def _is_asked_beyond(self, error: BaseException | None) -> bool:
        asked = error.retry_after if isinstance(error, StatusError) else None
        return asked is not None and _now() + asked > self._agenda.deadline

    def _give_up(self, failures: RetryCallState) -> None:
        error = error_of(failures)
        if error is not None and self._is_asked_beyond(error):
            raise error
        raise self._limit_error()


def _now() -> float:
    return asyncio.get_running_loop().time()
