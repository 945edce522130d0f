"""Estimate how long an item of a batch takes, from those that have ended and those that still run.

Durations are log-logistic, so an item that should have ended long ago is ever less likely to end soon.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LOGISTIC_VARIANCE", "SHORTEST_SECONDS", "Durations", "Prior"]

PRIOR_MEDIAN = math.log(8.0)
"""Log of an item's duration in seconds, before any of this batch is known."""
SPREAD_BETWEEN = 0.65
"""Standard deviation of log durations from one batch to the next."""
LOGISTIC_VARIANCE = math.pi**2 / 3
"""Variance of the standard logistic distribution."""
SHORTEST_SECONDS = 0.05
"""The least duration that an item is assumed to have."""
LEAST_AGE = -4.0
"""Age, in scales from the median, below which a running item says nothing about the durations."""


class Prior(NamedTuple):
    """What is assumed of a batch before anything of it is known.

    Attributes:
        weight: number of items that `PRIOR_MEDIAN` counts for.
        spread: standard deviation of log durations within a batch.
        spread_weight: number of items that `spread` counts for.
    """

    weight: float
    spread: float
    spread_weight: float


class Durations:
    """The durations of one batch's items.

    Attributes:
        count: how many items have ended with a known duration.
        median: log of the median, in seconds.
        scale: of the logistic distribution of log durations.
    """

    __slots__ = ("_prior", "_squares", "_sum", "count", "median", "scale")

    def __init__(self, prior: Prior) -> None:
        self._prior = prior
        self.count = 0
        self._sum = self._squares = 0.0
        self.median = PRIOR_MEDIAN
        self.scale = math.sqrt((SPREAD_BETWEEN**2 + prior.spread**2) / LOGISTIC_VARIANCE)

    def under(self, prior: Prior) -> Durations:
        """Return a copy with another prior; it still has to be fitted."""
        copied = Durations(prior)
        copied.count, copied._sum, copied._squares = self.count, self._sum, self._squares
        copied.median, copied.scale = self.median, self.scale
        return copied

    def add(self, count: int, log_duration: float) -> None:
        """Count items that ended after this long."""
        self.count += count
        self._sum += count * log_duration
        self._squares += count * log_duration**2

    def fit(self, running: Iterable[tuple[float, int]]) -> None:
        """Do one step of expectation maximisation: a running item counts with the duration expected of it by now.

        Args:
            running: pairs of an age in seconds and a number of items.
        """
        median, scale, prior = self.median, self.scale, self._prior
        weight = prior.weight + self.count
        total = prior.weight * PRIOR_MEDIAN + self._sum
        spread_weight = prior.spread_weight + self.count
        spread = prior.spread_weight * prior.spread**2
        for age, count in running:
            z = (math.log(max(age, SHORTEST_SECONDS)) - median) / scale
            if z < LEAST_AGE:
                continue
            expected = scale * _expected_beyond(min(z, 30.0))
            share = count / (1 + math.exp(-z))
            weight += share
            total += share * (median + expected)
            spread_weight += share
            spread += share * (expected**2 / 2 + scale**2)
        self.median = median = total / weight
        spread += self._squares - 2 * median * self._sum + self.count * median**2
        within = spread / spread_weight
        between = SPREAD_BETWEEN**2 / (1 + (weight - prior.weight) * SPREAD_BETWEEN**2 / within)
        self.scale = math.sqrt((within + between) / LOGISTIC_VARIANCE)

    def log_ended(self, age: float, after: float) -> float:
        """Return the log of the probability that an item ends within `after` seconds.

        Args:
            age: of the item; negative before its start.
            after: seconds.
        """
        share = 1 - self._surviving(age + after) / self._surviving(age)
        return math.log(share) if share > 0 else -math.inf

    def _surviving(self, age: float) -> float:
        if age <= 0:
            return 1.0
        return 1 / (1 + math.exp(min((math.log(age) - self.median) / self.scale, 700.0)))


def _expected_beyond(z: float) -> float:
    """Return the mean of a standard logistic variable, given that it exceeds z."""
    return z + (1 + math.exp(z)) * math.log1p(math.exp(-z))
