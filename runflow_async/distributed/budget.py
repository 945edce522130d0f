"""Divides requests per second among shards that come and go, so that all together never make more.

Pure: a part is lent for a while. What was lent stays reserved until its shard has heard of less, or the loan is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LEAST_RATE", "LOAN", "Budget", "Loan"]

LOAN = 3.0
"""Seconds for which a part is lent; it is renewed long before."""
DELIVERY = 1.0
"""Seconds that a grant may be on its way, so that its loan ends later than was meant."""
LEAST_RATE = 2.0
"""Requests per second that a shard has to get, for one of them may fall to the next second."""
LEAST_LOAN = 0.001
"""Requests per second below which a part is not worth lending; arithmetic leaves such rests."""
LATE = 1.02
"""By how much a shard's own pace makes up for late timers."""


class Loan(Struct):
    """A grant that a shard may be using.

    Attributes:
        number: of the grant.
        rate: requests per second.
        ends: instant from which on it can't be used any more.
    """

    number: int
    rate: float
    ends: float


class Budget:
    """So many requests per second, for so many shards at most.

    Each shard spaces its requests, so that in any second it makes one more than its rate at most; that much is kept
    back, unless so little is allowed that nothing would be left.

    Args:
        max_rate: requests per second, of all together.
        shards: how many there can be.
    """

    def __init__(self, max_rate: float, shards: int) -> None:
        self._usable = (max_rate - shards) / LATE if max_rate >= LEAST_RATE * shards else max_rate
        self._loans: dict[str, list[Loan]] = {}
        self._number = 0

    def lend(self, weights: Mapping[str, int], now: float) -> dict[str, Loan]:
        """Lend each shard its part by weight, as far as others do not still use it; nothing where nothing is left."""
        self._forget(now)
        total = sum(weights.values())
        wanted = {life: self._usable * weight / total for life, weight in weights.items()}
        lent: dict[str, Loan] = {}
        # Those that get less come first, though what they give back is free only once they have heard of it.
        for life in sorted(wanted, key=lambda life: wanted[life] - self._reserved(life)):
            free = self._usable - sum(self._reserved(other) for other in self._loans if other != life)
            rate = min(wanted[life], free)
            if rate > LEAST_LOAN:
                self._number += 1
                lent[life] = Loan(self._number, rate, now + LOAN + DELIVERY)
                self._loans.setdefault(life, []).append(lent[life])
        return lent

    def heard(self, life: str, number: int) -> None:
        """A shard follows the grant of this number now, so no earlier one."""
        loans = self._loans.get(life)
        if loans is not None:
            loans[:] = [loan for loan in loans if loan.number >= number]

    def ended(self, life: str) -> None:
        """A shard makes no requests any more."""
        self._loans.pop(life, None)

    def _reserved(self, life: str) -> float:
        return max((loan.rate for loan in self._loans.get(life, ())), default=0.0)

    def _forget(self, now: float) -> None:
        for life, loans in list(self._loans.items()):
            loans[:] = [loan for loan in loans if loan.ends > now]
            if not loans:
                del self._loans[life]
