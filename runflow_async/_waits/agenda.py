"""When a wait polls next and when it ends: the deadline, the outage, and what the server asked for.

This is arithmetic on instants of a monotonic clock; it never reads a clock.
"""

from __future__ import annotations

import math

__all__ = ["SLACK", "Agenda"]

SLACK = 0.001
"""Seconds by which a timer may fire early; an instant that is closer than this counts as reached."""
MARGIN = 0.01
"""Seconds that are left beside the usual round trip when the last poll is made earlier."""


class Agenda:
    """The instants of one wait.

    Args:
        timeout: seconds, infinite without a limit; 0 stands for exactly one poll, as long as a request may take.
        max_outage: seconds without a valid response after which the wait ends.

    Attributes:
        started: instant of the wait's first step; None before it.
        ended: instant at which the wait ended; None before it.
        deadline: instant at which `timeout` is over.
        due: instant of the next poll, unless the server wants it later; infinite if no further one could be in time.
        outage_started: instant since which no valid response arrived; None after one.
    """

    __slots__ = (
        "_held_until",
        "_hurried_for",
        "_hurried_to",
        "_max_outage",
        "_roundtrip",
        "_timeout",
        "_unpolled",
        "deadline",
        "due",
        "ended",
        "outage_started",
        "started",
    )

    def __init__(self, timeout: float, max_outage: float) -> None:
        self.started: float | None = None
        self.ended: float | None = None
        self.deadline = math.inf
        self.due = -math.inf
        self.outage_started: float | None = None
        self._timeout = timeout
        self._max_outage = max_outage
        self._unpolled = True  # until the first poll has ended
        self._held_until = -math.inf  # by the server's Retry-After
        self._hurried_for: float | None = None  # the limit for which a poll was planned earlier
        self._hurried_to = math.inf  # the instant of that poll
        self._roundtrip = 0.0

    def start(self, now: float) -> None:
        """Set the deadline: the wait takes its first step now."""
        self.started = now
        self.deadline = now + self._timeout

    def elapsed(self, now: float) -> float:
        """Return the seconds from the first step until now, or until the end."""
        if self.started is None:
            return 0.0
        return (now if self.ended is None else self.ended) - self.started

    @property
    def expires_at(self) -> float:
        """The deadline; with a `timeout` of 0, infinite until its one poll has ended."""
        return math.inf if self._unpolled and self._timeout == 0 else self.deadline

    @property
    def limit(self) -> float:
        """The instant at which the wait ends: its deadline, or the limit of its outage."""
        return self.expires_at if self.outage_started is None else min(self.expires_at, self.outage_limit)

    @property
    def next_at(self) -> float:
        """The instant at which there is something to do: to poll, or to end the wait."""
        return min(max(self.due, self._held_until), self.limit)

    @property
    def next_poll_at(self) -> float:
        """The instant of the next poll that will be made; infinite if the wait ends before it."""
        planned = max(self.due, self._held_until)
        return planned if planned < self.limit else math.inf

    @property
    def outage_limit(self) -> float:
        """The instant at which the outage has lasted too long; infinite while there is none."""
        return math.inf if self.outage_started is None else self.outage_started + self._max_outage

    def is_over(self, now: float) -> bool:
        """Whether the limit is reached."""
        return now >= self.limit - SLACK

    def is_due(self, now: float) -> bool:
        """Whether it is time to poll."""
        return now >= max(self.due, self._held_until) - SLACK

    def was_due(self, then: float) -> bool:
        """Whether the next poll was planned for no later than an instant that is over."""
        return then >= self.due - SLACK

    def answered(self, roundtrip: float) -> None:
        """Note a valid response: any outage is over."""
        self._unpolled = False
        self.outage_started = None
        # A fading maximum: one quick response does not hide that an earlier one was slow.
        self._roundtrip = max(roundtrip, 0.5 * self._roundtrip)

    def failed(self, sent_at: float | None) -> None:
        """Note a failed poll: the first one in a row that sent a request starts an outage."""
        self._unpolled = False
        if self.outage_started is None:
            self.outage_started = sent_at

    def plan(self, now: float, delay: float, *, retry_after: float = 0.0) -> None:
        """Set the next poll `delay` seconds from now, or once earlier, if its response would miss the limit.

        Args:
            now: this instant.
            delay: seconds.
            retry_after: seconds that the server asked for; no poll is earlier.
        """
        self.due = now + max(delay, retry_after)
        self._held_until = now + retry_after
        limit = self.limit
        latest = limit - 1.5 * self._roundtrip - MARGIN
        if self.due <= latest:
            return
        is_made = self._hurried_for == limit and now >= self._hurried_to - SLACK
        if latest > now and latest >= self._held_until and not is_made:
            self.due = self._hurried_to = latest
            self._hurried_for = limit
        elif self.due >= limit:
            self.due = math.inf

    def hold(self, until: float) -> None:
        """Poll no earlier than the instant that the server named in a response to another wait."""
        self._held_until = max(self._held_until, until)

    @property
    def is_held_back(self) -> bool:
        """Whether the server allows no poll before the deadline, though none was made yet."""
        return self._unpolled and self._held_until > self.deadline

    def hurry(self, now: float) -> None:
        """Move the next poll to the earliest instant that the server allows."""
        self.due = min(self.due, max(now, self._held_until))
