"""Failures in a row, from the first one to the next valid response, and the delays between them.

Logs the recovery. Failures are events, and so are outages of the whole session.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from tenacity import RetryCallState

from runflow_async._eventlog import fields
from runflow_async._waits.retries import RetryWorthwhile
from runflow_async.errors import OutageError, WaitTimeoutError
from runflow_async.schedules import UNUSED_ENGINE

if TYPE_CHECKING:
    from runflow_async._answers.ledger import Ledger
    from runflow_async._verdict import Verdict
    from runflow_async._waits.agenda import Agenda
    from runflow_async._waits.options import WaitOptions
    from runflow_async._waits.retries import Retries
    from runflow_async._waits.witness import Witness
    from runflow_async.errors import RunflowError

__all__ = ["OngoingOutage", "Outage", "limit_error"]

logger = logging.getLogger("runflow_async.outages")


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


class Outage:
    """The failures of one wait since its last valid response. A cancelled step changes nothing.

    Args:
        now: instant of the first failure.
        retries: the session's backoff.

    Attributes:
        error: the last failure of a request that was sent; the first failure of all until one was sent.
    """

    def __init__(self, now: float, retries: Retries) -> None:
        self.error: RunflowError | None = None
        self._began = now
        self._worthwhile = RetryWorthwhile()
        self._retries = retries
        self._state = RetryCallState(UNUSED_ENGINE, None, (), {})

    def failed(self, error: RunflowError, verdict: Verdict, *, was_sent: bool) -> float | None:
        """Return the seconds from this failure to the next attempt, or None if none is worth it."""
        if was_sent or self.error is None:
            self.error = error  # a request that was not sent says nothing about the server
        if not self._worthwhile.allows(verdict):
            return None
        self._state.set_exception((type(error), error, error.__traceback__))
        delay = self._retries.delay(self._state)
        self._state.prepare_for_next_attempt()
        return delay

    def recovered(self, now: float, witness: Witness) -> None:
        """Log that a valid response has ended the outage of a wait."""
        text = "batch %s: a valid response again, after %d failed attempts in %.1f s"
        extra = fields(witness.batch_id, witness.wait_id, attempt=self.failures + 1)
        logger.info(text, witness.batch_id, self.failures, now - self._began, extra=extra)

    @property
    def failures(self) -> int:
        """Number of failures in a row after which another attempt was planned."""
        return self._state.attempt_number - 1


def limit_error(ledger: Ledger, options: WaitOptions, agenda: Agenda, cause: RunflowError | None) -> RunflowError:
    """The error for a wait whose time is up: that of `timeout`, or that of `max_outage` if it came first."""
    if agenda.deadline <= agenda.limit:
        reason = cause or "it was not answered"
        return WaitTimeoutError(ledger.batch_id, options.timeout, reason=reason, batch=ledger.batch)
    return OutageError(ledger.batch_id, options.max_outage, reason=cause)
