"""What follows the end of a batch: a few polls for items that lag behind it."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from runflow_async._eventlog import fields
from runflow_async._verdict import Verdict
from runflow_async.models import TERMINAL_STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runflow_async._answers.ledger import Ledger
    from runflow_async._waits.agenda import Agenda
    from runflow_async.errors import RunflowError

__all__ = ["Settling", "next_settling_delay"]

logger = logging.getLogger("runflow_async")

SETTLING_INSTANTS = (0.25, 1.25, 4.25)
"""Seconds after the end of a batch at which polls let its items catch up."""
SETTLING_SLACK = 0.01


class Settling:
    """The polls of one wait after the end of its batch was seen.

    Args:
        ledger: what the responses said.
        agenda: when to poll next.
    """

    __slots__ = ("_agenda", "_ledger", "_terminal_at")

    def __init__(self, ledger: Ledger, agenda: Agenda) -> None:
        self._ledger = ledger
        self._agenda = agenda
        self._terminal_at: float | None = None  # when the batch was seen to have ended

    def plan(self, now: float) -> bool:
        """Plan the next poll. Return False if none is needed, left or in time."""
        self._terminal_at = now if self._terminal_at is None else self._terminal_at
        delay = next_settling_delay(self._ledger.statuses.values(), now - self._terminal_at)
        if delay is None:
            return False
        self._agenda.plan(now, delay)
        return self._agenda.due < math.inf

    def failed(self, error: RunflowError, now: float) -> bool:
        """Plan the poll after one that failed. Return False if there is none, or if it would fail as well."""
        text, batch_id = "batch %s has ended; a poll to settle its items failed: %s", self._ledger.batch_id
        logger.debug(text, batch_id, error, extra=fields(batch_id))
        return error.verdict is not Verdict.FINAL and self.plan(now)


def next_settling_delay(statuses: Iterable[str], elapsed: float) -> float | None:
    """Return the seconds until the next poll for items that lag behind their terminal batch.

    Args:
        statuses: of all items.
        elapsed: seconds since the batch was seen to be terminal.

    Returns:
        None if every item has ended or no such poll is left.
    """
    if TERMINAL_STATUSES.issuperset(statuses):
        return None
    return next((instant - elapsed for instant in SETTLING_INSTANTS if instant > elapsed + SETTLING_SLACK), None)
