"""What the counts of a batch's items say about when it will end, and the moment to look again that follows from it.

Pure arithmetic on instants of a monotonic clock. Knows no ids and no single item: items that are alike need only be
counted, so a wait remembers a few numbers and not a hundred.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runflow_async._answers.tally import Tally

__all__ = ["Progress"]

USUAL_MEDIAN = math.log(8.0)
"""Log of the seconds that an item takes before anything is known of this batch."""
USUAL_WEIGHT = 0.8
"""Items that this prior knowledge counts for."""
BETWEEN = 0.65
"""Standard deviation of log durations from one batch to the next."""
WITHIN = 0.2
"""Standard deviation of log durations inside of a batch, before they are seen."""
WITHIN_WEIGHT = 6.0
"""Items that `WITHIN` counts for."""
LOGISTIC = math.pi**2 / 3
"""Variance of the standard logistic distribution."""
COHORTS = 8
"""Groups of items that started together; older ones are merged beyond that."""
SHORTEST = 0.05
"""Seconds; no duration is taken for shorter."""
CELLS = 12
TOO_YOUNG = -4.0
"""Scales below the median at which an item that still runs tells nothing yet."""
UNLIKELY = -12.0
"""Log of the probability below which an end within the longest interval is not reckoned with."""
ALIKE = 0.5
"""Power to which a number of items counts as independent: what slows one often slows all."""
MOST = 1_000_000
"""Items; no count is taken for larger, for the difference would change no interval but spoil the arithmetic."""
START_DELAY = 0.5
"""Seconds until the first item begins, for each second in which none did."""
FIRST_INTERVAL = 1.05
"""Seconds; the longest first interval, just long enough that a batch of one second needs two polls."""
GROWTH = 2.32
"""Seconds by which the square of the longest interval grows with each second of the wait."""


class Progress:
    """What a wait has seen of its batch's items, as counts at instants, and the belief that they leave.

    An item's duration is taken as log-logistic: like the usual lognormal in the middle, but with a tail so long that an
    item which should have ended long ago is asked for more and more rarely. Items finish in the order in which
    they started, as far as counts can tell.

    Args:
        since: instant from which on nothing was seen.
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
        self._median = USUAL_MEDIAN
        self._scale = math.sqrt((BETWEEN**2 + WITHIN**2) / LOGISTIC)

    def observe(self, now: float, tally: Tally) -> None:
        """Take in how far the items are at this instant."""
        waiting, running, finished = (min(max(count, 0), MOST) for count in tally)
        if self._observed_at is None:
            self._cohorts = [(now, running)] if running else []
            self._changed_at = now
        else:
            self._compare(self._observed_at, now, running, finished)
        self._observed_at = now
        self._waiting, self._finished = waiting, finished
        self._peak = max(self._peak, running)
        if waiting or self._cohorts:
            self._fit(now)

    def _compare(self, before: float, now: float, running: int, finished: int) -> None:
        between = (before + now) / 2
        known = sum(count for _, count in self._cohorts)
        ended = max(0, finished - self._finished)
        started = max(0, running - known + ended)
        # Of an item that began and ended between two polls neither instant is known: Little's law gives the mean
        # duration from how many ended and how many run at a time. Two instants of which nothing is known are a third
        # of the interval apart.
        unseen = (now - before) * min(max(running / max(ended, 1), 1 / 3), 1.0)
        if started:
            self._cohorts.append((between, started))
        if started or ended:
            self._changed_at = now
        surplus = known + started - running
        while surplus > 0 and self._cohorts:
            start, count = self._cohorts[0]
            taken = min(count, surplus)
            self._learn(min(taken, ended), math.log(max(between - start or unseen, SHORTEST)))
            ended -= min(taken, ended)
            surplus -= taken
            self._cohorts[0:1] = [(start, count - taken)] if count > taken else []
        while len(self._cohorts) > COHORTS:
            (start, count), (later, more) = self._cohorts[:2]
            self._cohorts[:2] = [((start * count + later * more) / (count + more), count + more)]

    def _learn(self, count: int, log_duration: float) -> None:
        self._count += count
        self._sum += count * log_duration
        self._squares += count * log_duration**2

    def _fit(self, now: float) -> None:
        """One step of expectation maximisation: what still runs counts with the duration to be expected of it."""
        median, scale = self._median, self._scale
        weight = USUAL_WEIGHT + self._count
        total = USUAL_WEIGHT * USUAL_MEDIAN + self._sum
        spread_weight = WITHIN_WEIGHT + self._count
        spread = WITHIN_WEIGHT * WITHIN**2
        for start, count in self._cohorts:
            z = (math.log(max(now - start, SHORTEST)) - median) / scale
            if z < TOO_YOUNG:
                continue
            expected = scale * _expected_beyond(min(z, 30.0))
            told = count / (1 + math.exp(-z))
            weight += told
            total += told * (median + expected)
            spread_weight += told
            spread += told * (expected**2 / 2 + scale**2)
        self._median = median = total / weight
        spread += self._squares - 2 * median * self._sum + self._count * median**2
        within = spread / spread_weight
        between = BETWEEN**2 / (1 + (weight - USUAL_WEIGHT) * BETWEEN**2 / within)
        self._scale = math.sqrt((within + between) / LOGISTIC)

    def delay(self, now: float, longest: float, eagerness: float) -> float:
        """Seconds until a poll is worth its cost.

        Between two polls the square root of the hazard of the end adds up, times `eagerness`, to one: for an end that
        may come at any time alike, that is the interval which makes cost and lateness least.

        Args:
            now: this instant.
            longest: seconds; the answer is never more.
            eagerness: polls are this many times as dense.
        """
        if self._observed_at is None or not (self._waiting or self._cohorts):
            return self._without_belief(now, longest, eagerness)
        groups = self._groups(now)
        if self._log_ended(groups, longest) < UNLIKELY:
            return longest
        worth = alive = before = 0.0
        for cell in range(1, CELLS + 1):
            after = longest * (cell / CELLS) ** 2
            ended = math.exp(self._log_ended(groups, after))
            left = math.log1p(-min(ended, 1 - 1e-12))
            gain = eagerness * math.sqrt(max(alive - left, 0.0) * (after - before))
            if worth + gain >= 1:
                return before + (after - before) * (1 - worth) / gain
            worth, alive, before = worth + gain, left, after
        return longest

    def longest_interval(self, age: float, eagerness: float) -> float:
        """Seconds that an interval may last in a batch of which next to nothing is known but its age.

        Where any order of magnitude is as likely as another, the hazard of the end falls with the age, so that the
        interval grows with its square root. What has not begun cannot end before it does.

        Args:
            age: seconds since the wait began.
            eagerness: as in `delay`; above 1 it shortens the first interval alone, because the belief knows better
                later on.
        """
        grown = math.sqrt(GROWTH * age) / min(eagerness, 1.0)
        return math.hypot(FIRST_INTERVAL / eagerness, grown) + (START_DELAY * age if self._waiting else 0.0)

    def _without_belief(self, now: float, longest: float, eagerness: float) -> float:
        return min(longest, math.sqrt(now - self._changed_at + 1) / eagerness)

    def _groups(self, now: float) -> list[tuple[float, int]]:
        """Age and number of items; those that have not begun have an age below zero."""
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
        """Log of the probability that all will have ended."""
        total = 0.0
        for age, count in groups:
            later = age + after
            if later <= 0:
                return -math.inf
            share = 1 - self._surviving(later) / self._surviving(age)
            if share <= 0:
                return -math.inf
            total += count**ALIKE * math.log(share)
        return total


def _expected_beyond(z: float) -> float:
    """Mean of a standard logistic variable that is known to be beyond z."""
    return z + (1 + math.exp(z)) * math.log1p(math.exp(-z))
