"""Stalls: the time since something of a batch has changed, and what follows if it is too long.

A stall is declared only by a response, and a poll is made just when one would begin, so that it is true.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from runflow_async._waits.agenda import SLACK
from runflow_async.errors import StalledError

if TYPE_CHECKING:
    from runflow_async._answers.ledger import Ledger
    from runflow_async._waits.options import WaitOptions

__all__ = ["Stalls"]

logger = logging.getLogger("runflow_async")


class Stalls:
    """The stalls of one wait.

    Args:
        ledger: what the responses said.
        options: of the wait; whether `stalled_after` is set is up to the caller.

    Attributes:
        changed_at: the instant of the last change; None before the first response.
    """

    __slots__ = ("_declared_at", "_ledger", "_options", "changed_at")

    def __init__(self, ledger: Ledger, options: WaitOptions) -> None:
        self._ledger = ledger
        self._options = options
        self._declared_at: float | None = None  # the change since which the declared stall lasts
        self.changed_at: float | None = None

    def check(self, now: float) -> float:
        """Declare a stall if this response shows one. Return the seconds until the next one could begin.

        Raises:
            StalledError: if a stall ends the wait.
        """
        changed_at, longest = self.changed_at, self._options.stalled_after
        if changed_at is None or longest is None or self._declared_at == changed_at:
            return math.inf
        left = changed_at + longest - now
        if left > SLACK:
            return left
        self._declared_at = changed_at
        self._declare(now - changed_at)
        return math.inf

    def _declare(self, seconds: float) -> None:
        batch_id, seen = self._ledger.batch_id, f"last seen {self._ledger.status_code!r}"
        if self._ledger.tally:
            seen += f", {self._ledger.tally.finished} of {sum(self._ledger.tally)} items ended"
        if self._options.end_when_stalled:
            raise StalledError(batch_id, seconds, seen=seen)
        logger.warning("batch %s: nothing has changed for %.0f s (%s); still waiting", batch_id, seconds, seen)
