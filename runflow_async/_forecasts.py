"""When a batch will end, as three instants, and when the last one of many will."""

from __future__ import annotations

import math
from heapq import nlargest
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Forecast", "combine", "foresee"]

CHANCES = (0.1, 0.5, 0.9)
"""Probabilities that the batch has ended by the three instants of a forecast."""
ODDS = math.log(9.0)
"""Log of the odds of the last of them."""
SHORTEST_SECONDS = 0.05
LONGEST_SECONDS = 1e8
"""The longest time that is forecast: three years."""
HALVINGS = 20
"""On a logarithmic scale, they leave 0.002 % between the bounds of a forecast."""
MOST_COMBINED = 200
"""Of more batches, those that end last decide when all have ended."""


class Forecast(NamedTuple):
    """When a batch will end, on a monotonic clock.

    Attributes:
        seen_at: the instant of the last observation.
        earliest: it will have ended by this instant with a probability of 10 %.
        expected: the same with 50 %.
        latest: the same with 90 %.
    """

    seen_at: float
    earliest: float
    expected: float
    latest: float

    def log_ended(self, instant: float) -> float:
        """Return the log of the probability that it has ended by then, log-logistic between the three instants."""
        after, usual = max(instant - self.seen_at, SHORTEST_SECONDS), self.expected - self.seen_at
        if usual <= SHORTEST_SECONDS:
            return 0.0
        other = self.earliest if instant < self.expected else self.latest
        scale = max(abs(math.log(max(other - self.seen_at, SHORTEST_SECONDS) / usual)), 1e-6) / ODDS
        return -math.log1p(math.exp(min(-math.log(after / usual) / scale, 700.0)))


def foresee(now: float, log_ended: Callable[[float], float]) -> Forecast:
    """Make a forecast of the log of the probability that everything has ended within some seconds from now."""
    return Forecast(now, *(now + _solve(log_ended, math.log(chance)) for chance in CHANCES))


def combine(forecasts: Sequence[Forecast], now: float) -> Forecast:
    """Forecast when the last of some batches will end."""
    if len(forecasts) == 1:
        return forecasts[0]
    last = nlargest(MOST_COMBINED, forecasts, key=lambda forecast: forecast.latest)
    return foresee(now, lambda after: sum(forecast.log_ended(now + after) for forecast in last))


def _solve(log_chance: Callable[[float], float], wanted: float) -> float:
    """Return the seconds at which a rising function reaches a value."""
    low, high = SHORTEST_SECONDS, LONGEST_SECONDS
    if log_chance(low) >= wanted:
        return 0.0
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if log_chance(middle) < wanted else (low, middle)
    return high
