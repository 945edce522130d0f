"""Predict from the counts of a batch's items when it will end, and when the next poll is worth its cost.

docs/explanation/schedule.md has the model and its formulas. This is arithmetic on instants of a monotonic clock; it
knows no ids and no single item, so a wait keeps a few numbers however large its batch is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from runflow_async._durations import SHORTEST_SECONDS, Durations, Prior
from runflow_async._forecasts import Forecast, foresee

if TYPE_CHECKING:
    from runflow_async._answers.tally import Tally

__all__ = ["Progress"]

PRIOR = Prior(weight=0.8, spread=0.2, spread_weight=6.0)
"""Optimistic: to poll too early costs a request, to poll too late costs time."""
FORECAST_PRIOR = Prior(weight=0.0, spread=0.7, spread_weight=10.0)
"""As wide as batches turn out to be. What has ended first was quick, so the first durations seen say little."""
FORECAST_FITS = 2
FORECAST_INDEPENDENCE = 0.65
"""As `INDEPENDENCE`, for forecasts."""
QUEUE_SPREAD = 0.2
"""Standard error, in logistic scales of log seconds, of the time that items wait for others."""
MOST_COHORTS = 8
"""Number of groups of items that started together; beyond it, the oldest two are merged."""
STEPS = 12
"""Number of steps in which the hazard is integrated."""
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
        "_durations",
        "_finished",
        "_forecast",  # None if it has to be computed
        "_observed_at",
        "_peak",
        "_waiting",
    )

    def __init__(self, since: float = 0.0) -> None:
        self._observed_at: float | None = None
        self._changed_at = since
        self._waiting = self._finished = self._peak = 0
        self._cohorts: list[tuple[float, int]] = []
        self._durations = Durations(PRIOR)
        self._forecast: Forecast | None = None

    def observe(self, now: float, tally: Tally) -> None:
        """Update the estimate with the counts at this instant."""
        self.note(now, tally)
        if self._waiting or self._cohorts:
            self._durations.fit(self._ages(now))

    def note(self, now: float, tally: Tally) -> None:
        """Take in the counts at this instant, but leave the estimate for when somebody wants it."""
        waiting, running, finished = (min(max(count, 0), MOST_ITEMS) for count in tally)
        if self._observed_at is None:
            self._cohorts = [(now, running)] if running else []
            self._changed_at = now
        else:
            self._compare(self._observed_at, now, running, finished)
        self._observed_at = now
        self._forecast = None
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
            self._durations.add(min(left, ended), math.log(max(between - start or unseen, SHORTEST_SECONDS)))
            ended -= min(left, ended)
            surplus -= left
            self._cohorts[0:1] = [(start, count - left)] if count > left else []
        while len(self._cohorts) > MOST_COHORTS:
            (start, count), (later, more) = self._cohorts[:2]
            self._cohorts[:2] = [((start * count + later * more) / (count + more), count + more)]

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
        groups = self._ages(now)
        if self._waiting:
            groups.append((-self._start_delay(now, self._durations), self._last_to_start))
        return groups

    def _ages(self, now: float) -> list[tuple[float, int]]:
        return [(now - start, count) for start, count in self._cohorts]

    @property
    def _last_to_start(self) -> int:
        """How many of the waiting items will be the last to start, together."""
        return min(self._waiting, max(self._peak, 1))

    def _start_delay(self, now: float, durations: Durations) -> float:
        running = sum(count for _, count in self._cohorts)
        if not running:
            return START_DELAY * (now - self._changed_at)
        usual = math.exp(durations.median)
        age = sum((now - start) * count for start, count in self._cohorts) / running
        rounds = self._waiting / running
        return max(0.0, usual * rounds - age * min(1.0, rounds))

    def _log_ended(self, groups: list[tuple[float, int]], after: float) -> float:
        """Return the log of the probability that all items end within `after` seconds."""
        log_ended = self._durations.log_ended
        total = 0.0
        for age, count in groups:
            total += count**INDEPENDENCE * log_ended(age, after)
        return total

    @property
    def forecast(self) -> Forecast | None:
        """When the batch will end, as seen from the last observation; None before an item was seen to end.

        It assumes less than `delay` does: the schedule may expect an end too early, because it asks again.
        """
        if self._forecast is None and self._observed_at is not None:
            self._forecast = self._foresee(self._observed_at)
        return self._forecast

    def _foresee(self, now: float) -> Forecast | None:
        if not self._waiting and not self._cohorts:
            return Forecast(now, now, now, now) if self._finished else None
        if not self._durations.count:
            return None
        running, durations = self._ages(now), self._durations.under(FORECAST_PRIOR)
        for _ in range(FORECAST_FITS):
            durations.fit(running)
        groups = [(durations, age, count) for age, count in running]
        if self._waiting:
            groups.append((self._until_waiting_end(now, durations), 0.0, self._last_to_start))

        def log_ended(after: float) -> float:
            return sum(math.pow(count, FORECAST_INDEPENDENCE) * one.log_ended(age, after) for one, age, count in groups)

        return foresee(now, log_ended)

    def _until_waiting_end(self, now: float, durations: Durations) -> Durations:
        """Return how long it takes from now until one of the last items to start has ended."""
        usual, delay = math.exp(durations.median), self._start_delay(now, durations)
        taken = durations.under(FORECAST_PRIOR)
        taken.median = math.log(delay + usual)
        taken.scale = math.hypot(durations.scale * usual, QUEUE_SPREAD * delay) / (delay + usual)
        return taken
