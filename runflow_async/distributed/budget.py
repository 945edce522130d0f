"""Divides requests per second among shards that come and go, so that their sum never exceeds the limit.

Pure: a share is lent for a while. It stays reserved until its shard has confirmed a smaller one, or the loan is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LEAST_RATE", "LOAN", "Budget", "Loan"]

LOAN = 3.0
"""Seconds for which a share is lent; it is renewed well before."""
DELIVERY = 1.0
"""Seconds that a grant may take to arrive, which prolongs its loan."""
LEAST_RATE = 2.0
"""Smallest useful rate of a shard in requests per second, because one request may slip into the next second."""
LEAST_LOAN = 0.001
"""Shares below this many requests per second are not lent; rounding leaves such remainders."""
LATE = 1.02
"""Factor by which a shard raises its own rate to make up for late timers."""


class Loan(Struct):
    """A grant that a shard may be using.

    Attributes:
        number: number of the grant.
        rate: requests per second.
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
        self._usable = (max_rate - shards) / LATE if max_rate >= LEAST_RATE * shards else max_rate
        self._loans: dict[str, list[Loan]] = {}
        self._number = 0

    def lend(self, weights: Mapping[str, int], now: float) -> dict[str, Loan]:
        """Lend each shard its share by weight, as far as it is free; a shard for which nothing is left gets nothing."""
        self._forget(now)
        total = sum(weights.values())
        wanted = {life: self._usable * weight / total for life, weight in weights.items()}
        lent: dict[str, Loan] = {}
        # Shards that get less come first, although what they return is free only once they have confirmed it.
        for life in sorted(wanted, key=lambda life: wanted[life] - self._reserved(life)):
            free = self._usable - sum(self._reserved(other) for other in self._loans if other != life)
            rate = min(wanted[life], free)
            if rate > LEAST_LOAN:
                self._number += 1
                lent[life] = Loan(self._number, rate, now + LOAN + DELIVERY)
                self._loans.setdefault(life, []).append(lent[life])
        return lent

    def heard(self, life: str, number: int) -> None:
        """Note that a shard now follows the grant of this number, and no earlier one."""
        loans = self._loans.get(life)
        if loans is not None:
            loans[:] = [loan for loan in loans if loan.number >= number]

    def ended(self, life: str) -> None:
        """Note that a shard makes no more requests."""
        self._loans.pop(life, None)

    def _reserved(self, life: str) -> float:
        return max((loan.rate for loan in self._loans.get(life, ())), default=0.0)

    def _forget(self, now: float) -> None:
        for life, loans in list(self._loans.items()):
            loans[:] = [loan for loan in loans if loan.ends > now]
            if not loans:
                del self._loans[life]
