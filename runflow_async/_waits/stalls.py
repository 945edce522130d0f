"""Stalls: the time since something of a batch has changed, and what follows if it is too long.

A stall is declared only by a response, and a poll is made just when one would begin, so that it is true.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from runflow_async._waits.agenda import SLACK
from runflow_async.errors import StalledError

if TYPE_CHECKING:
    from runflow_async._answers.ledger import Ledger
    from runflow_async._waits.options import WaitOptions
    from runflow_async._waits.witness import Witness

__all__ = ["Stalls"]


class Stalls:
    """The stalls of one wait.

    Args:
        ledger: what the responses said.
        options: of the wait; whether `stalled_after` is set is up to the caller.
        witness: reports each stall.

    Attributes:
        changed_at: the instant of the last change; None before the first response.
    """

    __slots__ = ("_declared_at", "_ledger", "_options", "_witness", "changed_at")

    def __init__(self, ledger: Ledger, options: WaitOptions, witness: Witness) -> None:
        self._ledger = ledger
        self._witness = witness
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
        self._witness.stalled(self._ledger, now - changed_at)
        if self._options.end_when_stalled:
            raise StalledError(self._ledger.batch_id, now - changed_at, seen=self._seen())
        return math.inf

    def _seen(self) -> str:
        seen, tally = f"last seen {self._ledger.status_code!r}", self._ledger.tally
        return f"{seen}, {tally.finished} of {sum(tally)} items ended" if tally else seen
