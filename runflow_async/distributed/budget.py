"""Divides requests per second among shards that come and go, so that their sum never exceeds the limit.

Pure: a share is lent for a while. It stays reserved until its shard has confirmed a smaller one, or the loan is over.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LEAST_RATE", "LOAN_SECONDS", "Budget", "Loan", "NoBudget"]

LOAN_SECONDS = 3.0
"""How long a share is lent; it is renewed well before."""
DELIVERY_SECONDS = 1.0
"""How long a grant may take to arrive, which prolongs its loan."""
LEAST_RATE = 2.0
"""Smallest useful rate of a shard in requests per second, because one request may slip into the next second."""
LEAST_LOAN_RATE = 0.001
"""Shares below this many requests per second are not lent; rounding leaves such remainders."""
LATE_TIMER_FACTOR = 1.02
"""Factor by which a shard raises its own rate to make up for late timers."""


class Loan(Struct):
    """A grant that a shard may be using.

    Attributes:
        number: number of the grant.
        rate: requests per second; infinite means no limit.
        ends: time from which it can no longer be used.
    """

    number: int
    rate: float
    ends: float


class Budget:
    """A rate divided among at most a given number of shards.

    A shard spaces its requests, so it makes at most one more than its rate in any second. That much is kept back,
    unless the limit is so small that nothing would be left.

    Args:
        max_rate: requests per second of all shards together.
        shards: largest number of shards.
    """

    def __init__(self, max_rate: float, shards: int) -> None:
        self._usable = (max_rate - shards) / LATE_TIMER_FACTOR if max_rate >= LEAST_RATE * shards else max_rate
        self._loans: dict[str, list[Loan]] = {}
        self._number = 0

    def lend(self, weights: Mapping[str, int], now: float) -> dict[str, Loan]:
        """Lend each shard its share by weight, as far as it is free; a shard for which nothing is left gets nothing."""
        self._forget(now)
        total = sum(weights.values())
        wanted = {run: self._usable * weight / total for run, weight in weights.items()}
        lent: dict[str, Loan] = {}
        # Shards that get less come first, although what they return is free only once they have confirmed it.
        for run in sorted(wanted, key=lambda run: wanted[run] - self._reserved(run)):
            free = self._usable - sum(self._reserved(other) for other in self._loans if other != run)
            rate = min(wanted[run], free)
            if rate > LEAST_LOAN_RATE:
                self._number += 1
                lent[run] = Loan(self._number, rate, now + LOAN_SECONDS + DELIVERY_SECONDS)
                self._loans.setdefault(run, []).append(lent[run])
        return lent

    def confirm(self, run: str, number: int) -> None:
        """Note that a shard now follows the grant of this number, and no earlier one."""
        loans = self._loans.get(run)
        if loans is not None:
            loans[:] = [loan for loan in loans if loan.number >= number]

    def release(self, run: str) -> None:
        """Note that a shard makes no more requests."""
        self._loans.pop(run, None)

    def _reserved(self, run: str) -> float:
        return max((loan.rate for loan in self._loans.get(run, ())), default=0.0)

    def _forget(self, now: float) -> None:
        for run, loans in list(self._loans.items()):
            loans[:] = [loan for loan in loans if loan.ends > now]
            if not loans:
                del self._loans[run]


class NoBudget:
    """Lends every shard any rate, so that all of them hear from the consumer."""

    def lend(self, weights: Mapping[str, int], now: float) -> dict[str, Loan]:
        """Lend each shard a rate without a limit."""
        return {run: Loan(0, math.inf, now + LOAN_SECONDS) for run in weights}

    def confirm(self, run: str, number: int) -> None:
        """Do nothing."""

    def release(self, run: str) -> None:
        """Do nothing."""
