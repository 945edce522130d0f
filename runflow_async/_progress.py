"""Predict from the counts of a batch's items when it will end, and when the next poll is worth its cost.

docs/schedule.md has the model and its formulas. This is arithmetic on instants of a monotonic clock; it knows no ids
and no single item, so a wait keeps a few numbers however large its batch is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runflow_async._answers.tally import Tally

__all__ = ["Progress"]

PRIOR_MEDIAN = math.log(8.0)
"""Log of an item's duration in seconds, before any of this batch is known."""
PRIOR_WEIGHT = 0.8
"""Number of items that this prior counts for."""
SPREAD_BETWEEN = 0.65
"""Standard deviation of log durations from one batch to the next."""
SPREAD_WITHIN = 0.2
"""Standard deviation of log durations within a batch, before any is known."""
SPREAD_WITHIN_WEIGHT = 6.0
"""Number of items that `SPREAD_WITHIN` counts for."""
LOGISTIC_VARIANCE = math.pi**2 / 3
"""Variance of the standard logistic distribution."""
MOST_COHORTS = 8
"""Number of groups of items that started together; beyond it, the oldest two are merged."""
SHORTEST_SECONDS = 0.05
"""The least duration that an item is assumed to have."""
STEPS = 12
"""Number of steps in which the hazard is integrated."""
LEAST_AGE = -4.0
"""Age, in scales from the median, below which a running item says nothing about the durations."""
LEAST_LOG_CHANCE = -12.0
"""Log of the probability below which no end is expected within the longest interval."""
INDEPENDENCE = 0.5
"""Exponent: n items count as n to this power independent ones, because what slows one often slows all."""
MOST_ITEMS = 1_000_000
"""Larger counts are cut to this; they would change no interval, but lose precision."""
START_DELAY = 0.5
"""Seconds until the first item is expected to start, for each second in which none did."""
FIRST_INTERVAL = 1.05
"""Seconds; the longest first interval, just enough for a batch of one second to need two polls."""
GROWTH = 2.32
"""Growth per second of the square of the longest interval."""


class Progress:
    """What a wait has seen of its batch's items, as counts at instants, and the estimate of their durations.

    Args:
        since: instant before which nothing was seen.
    """

    __slots__ = (
        "_changed_at",
        "_cohorts",
        "_count",
        "_finished",
        "_median",
        "_observed_at",
        "_peak",
        "_scale",
        "_squares",
        "_sum",
        "_waiting",
    )

    def __init__(self, since: float = 0.0) -> None:
        self._observed_at: float | None = None
        self._changed_at = since
        self._waiting = self._finished = self._peak = 0
        self._cohorts: list[tuple[float, int]] = []
        self._count = 0
        self._sum = self._squares = 0.0
        self._median = PRIOR_MEDIAN
        self._scale = math.sqrt((SPREAD_BETWEEN**2 + SPREAD_WITHIN**2) / LOGISTIC_VARIANCE)

    def observe(self, now: float, tally: Tally) -> None:
        """Update the estimate with the counts at this instant."""
        self.note(now, tally)
        if self._waiting or self._cohorts:
            self._fit(now)

    def note(self, now: float, tally: Tally) -> None:
        """Take in the counts at this instant, but leave the estimate for when somebody wants it."""
        waiting, running, finished = (min(max(count, 0), MOST_ITEMS) for count in tally)
        if self._observed_at is None:
            self._cohorts = [(now, running)] if running else []
            self._changed_at = now
        else:
            self._compare(self._observed_at, now, running, finished)
        self._observed_at = now
        self._waiting, self._finished = waiting, finished
        self._peak = max(self._peak, running)

    def _compare(self, before: float, now: float, running: int, finished: int) -> None:
        between = (before + now) / 2
        known = sum(count for _, count in self._cohorts)
        ended = max(0, finished - self._finished)
        started = max(0, running - known + ended)
        # If an item started and ended between two polls, neither instant is known. Little's law gives the mean duration
        # from the numbers that ended and that run at a time; two random instants are a third of the interval apart.
        unseen = (now - before) * min(max(running / max(ended, 1), 1 / 3), 1.0)
        if started:
            self._cohorts.append((between, started))
        if started or ended:
            self._changed_at = now
        surplus = known + started - running
        while surplus > 0 and self._cohorts:
            start, count = self._cohorts[0]
            left = min(count, surplus)
            self._add_duration(min(left, ended), math.log(max(between - start or unseen, SHORTEST_SECONDS)))
            ended -= min(left, ended)
            surplus -= left
            self._cohorts[0:1] = [(start, count - left)] if count > left else []
        while len(self._cohorts) > MOST_COHORTS:
            (start, count), (later, more) = self._cohorts[:2]
            self._cohorts[:2] = [((start * count + later * more) / (count + more), count + more)]

    def _add_duration(self, count: int, log_duration: float) -> None:
        self._count += count
        self._sum += count * log_duration
        self._squares += count * log_duration**2

    def _fit(self, now: float) -> None:
        """Do one step of expectation maximisation: a running item counts with the duration expected of it by now."""
        median, scale = self._median, self._scale
        weight = PRIOR_WEIGHT + self._count
        total = PRIOR_WEIGHT * PRIOR_MEDIAN + self._sum
        spread_weight = SPREAD_WITHIN_WEIGHT + self._count
        spread = SPREAD_WITHIN_WEIGHT * SPREAD_WITHIN**2
        for start, count in self._cohorts:
            z = (math.log(max(now - start, SHORTEST_SECONDS)) - median) / scale
            if z < LEAST_AGE:
                continue
            expected = scale * _expected_beyond(min(z, 30.0))
            share = count / (1 + math.exp(-z))
            weight += share
            total += share * (median + expected)
            spread_weight += share
            spread += share * (expected**2 / 2 + scale**2)
        self._median = median = total / weight
        spread += self._squares - 2 * median * self._sum + self._count * median**2
        within = spread / spread_weight
        between = SPREAD_BETWEEN**2 / (1 + (weight - PRIOR_WEIGHT) * SPREAD_BETWEEN**2 / within)
        self._scale = math.sqrt((within + between) / LOGISTIC_VARIANCE)

    def delay(self, now: float, longest: float, eagerness: float) -> float:
        """Return the seconds until the integral of the root of the end's hazard, times `eagerness`, reaches one.

        Args:
            now: this instant.
            longest: seconds; the result is never more.
            eagerness: factor on the density of polls.
        """
        if self._observed_at is None or not (self._waiting or self._cohorts):
            return min(longest, math.sqrt(now - self._changed_at + 1) / eagerness)
        groups = self._groups(now)
        if self._log_ended(groups, longest) < LEAST_LOG_CHANCE:
            return longest
        worth = alive = before = 0.0
        for step in range(1, STEPS + 1):
            after = longest * (step / STEPS) ** 2
            ended = math.exp(self._log_ended(groups, after))
            left = math.log1p(-min(ended, 1 - 1e-12))
            gain = eagerness * math.sqrt(max(alive - left, 0.0) * (after - before))
            if worth + gain >= 1:
                return before + (after - before) * (1 - worth) / gain
            worth, alive, before = worth + gain, left, after
        return longest

    def longest_interval(self, age: float, eagerness: float) -> float:
        """Return the longest interval, in seconds, for a batch of which little more than the age is known.

        Args:
            age: seconds since the wait began.
            eagerness: as in `delay`; above 1 it only shortens the first interval, because later ones have an estimate.
        """
        grown = math.sqrt(GROWTH * age) / min(eagerness, 1.0)
        return math.hypot(FIRST_INTERVAL / eagerness, grown) + (START_DELAY * age if self._waiting else 0.0)

    def _groups(self, now: float) -> list[tuple[float, int]]:
        """Return pairs of an age and a number of items; the age of items that have not started is negative."""
        groups = [(now - start, count) for start, count in self._cohorts]
        if self._waiting:
            groups.append((-self._start_delay(now), min(self._waiting, max(self._peak, 1))))
        return groups

    def _start_delay(self, now: float) -> float:
        running = sum(count for _, count in self._cohorts)
        if not running:
            return START_DELAY * (now - self._changed_at)
        usual = math.exp(self._median)
        age = sum((now - start) * count for start, count in self._cohorts) / running
        rounds = self._waiting / running
        return max(0.0, usual * rounds - age * min(1.0, rounds))

    def _surviving(self, age: float) -> float:
        if age <= 0:
            return 1.0
        return 1 / (1 + math.exp(min((math.log(age) - self._median) / self._scale, 700.0)))

    def _log_ended(self, groups: list[tuple[float, int]], after: float) -> float:
        """Return the log of the probability that all items end within `after` seconds."""
        total = 0.0
        for age, count in groups:
            later = age + after
            if later <= 0:
                return -math.inf
            share = 1 - self._surviving(later) / self._surviving(age)
            if share <= 0:
                return -math.inf
            total += count**INDEPENDENCE * math.log(share)
        return total


def _expected_beyond(z: float) -> float:
    """Return the mean of a standard logistic variable, given that it exceeds z."""
    return z + (1 + math.exp(z)) * math.log1p(math.exp(-z))
