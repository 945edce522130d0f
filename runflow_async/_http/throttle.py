"""The pace that all requests of one session share.

A bound that the user sets, and one that is learnt: a 429 on one request slows all of them, quiet brings the pace
back. Turns are given in the order in which they were asked for, so nobody starves.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["Throttle"]

BACK_OFF = 0.85
"""Share of the pace that is kept after a 429."""
RECOVERY = 6.0
"""Seconds until the pace before a 429 is reached again; after that it is probed for more, slowly at first."""
FORGET = 60.0
"""Seconds without a 429 after which there is no learnt bound any more."""
LEAST = 1.0
"""Requests per second that are made in any case."""
WINDOW = 1.0
"""Seconds over which the pace is measured."""
LATENESS_SECONDS = 0.02
"""Seconds of a late timer that are made up for; more would be a burst."""


class Throttle:
    """Gives requests their turn.

    The learnt bound follows a cubic curve, as TCP's congestion control does (RFC 9438): steep right after the
    decrease, flat around the pace that was too much, and steeper again once that has proved to be none.

    Args:
        max_rate: requests per second; None sets no bound but the learnt one.
        max_hold: seconds; a longer `Retry-After` is cut to this.

    Attributes:
        on_refused: called with the `Retry-After` of every 429, in seconds, or None.
    """

    def __init__(self, max_rate: float | None, max_hold: float = math.inf) -> None:
        self.on_refused: Callable[[float | None], None] | None = None
        self._max_hold = max_hold
        self._max_rate = math.inf if max_rate is None else max_rate
        self._granted_until = math.inf
        self._peak = math.inf
        self._decreased_at = -math.inf
        self._held_until = -math.inf
        self._free_at = -math.inf
        self._answered: deque[float] = deque()
        self._queue: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._deadlines: dict[asyncio.Timeout, float] = {}

    @property
    def is_open(self) -> bool:
        """Whether there is no bound at all at present, so that asking for a turn is needless."""
        unbound = self._peak == self._max_rate == self._granted_until == math.inf
        return unbound and not self._queue and self._held_until == -math.inf

    @property
    def is_crowded(self) -> bool:
        """Whether requests queue for their turn."""
        return any(not turn.done() for turn in self._queue)

    def held_for(self, now: float) -> float:
        """Seconds in which a `Retry-After` lets nobody have a turn; 0 if none does."""
        return max(0.0, self._held_until - now)

    @contextmanager
    def queueing(self, bound: asyncio.Timeout, deadline: float) -> Generator[None, None, None]:
        """While in here, `bound` expires as soon as a `Retry-After` holds all requests until after `deadline`."""
        self._deadlines[bound] = deadline
        try:
            self._give_up_beyond(bound, deadline)
            yield
        finally:
            del self._deadlines[bound]

    def _give_up_beyond(self, bound: asyncio.Timeout, deadline: float) -> None:
        now = asyncio.get_running_loop().time()
        if self.held_for(now) and self._held_until > deadline and not bound.expired():
            bound.reschedule(now)

    def grant(self, rate: float, until: float) -> None:
        """Set the bound anew, for a while: it is a part of a budget that somebody divides.

        Args:
            rate: requests per second.
            until: instant after which nobody gets a turn before the next grant.
        """
        loop = asyncio.get_running_loop()
        self._max_rate = rate
        self._granted_until = until
        self._free_at = min(self._free_at, loop.time() + 1 / rate)  # not as late as a smaller bound had it
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._set_timer(loop)

    def rate(self, now: float) -> float:
        """Requests per second that are allowed now."""
        elapsed = now - self._decreased_at
        if elapsed > FORGET:
            self._peak = math.inf
        if self._peak == math.inf:
            return self._max_rate
        learnt = self._peak * (1 + (1 - BACK_OFF) * ((elapsed - RECOVERY) / RECOVERY) ** 3)
        return min(self._max_rate, max(LEAST, learnt))

    def answered(self, now: float) -> None:
        """A request was answered and not refused."""
        self._answered.append(now)
        while self._answered[0] <= now - WINDOW:
            self._answered.popleft()
        if now < self._decreased_at + WINDOW:
            # Good answers overtaken by the first 429 belong to the pace that it was given at.
            self._peak = max(self._peak, len(self._answered) / WINDOW)

    def refused(self, sent_at: float, now: float, retry_after: float | None) -> None:
        """The server asked for fewer requests.

        Args:
            sent_at: when the request was sent.
            now: when it was refused.
            retry_after: seconds in which nobody gets a turn, or None.
        """
        self.slow_down(sent_at, now, retry_after)
        if self.on_refused is not None:
            self.on_refused(retry_after)

    def slow_down(self, sent_at: float, now: float, retry_after: float | None) -> None:
        """Take a refusal to heart, which may have been somebody else's; arguments as for `refused`."""
        if retry_after is not None:
            self._held_until = max(self._held_until, now + min(retry_after, self._max_hold))
            for bound, deadline in self._deadlines.items():
                self._give_up_beyond(bound, deadline)
        # Servers count over a while: what follows within it is the same refusal, not another one.
        if sent_at > self._decreased_at + WINDOW:
            good = sum(moment > now - WINDOW for moment in self._answered) / WINDOW
            self._peak = max(LEAST, min(good, self.rate(now)))
            self._decreased_at = now

    async def turn(self) -> None:
        """Return when it is this request's turn. Cancelled, it passes its turn on to the next one."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not self._queue and self._ready_at(now) <= now:
            self._take(now)
            return
        turn = loop.create_future()
        self._queue.append(turn)
        self._set_timer(loop)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given already; a cancelled one is passed over when its time comes
                self._free_at = -math.inf
            self._set_timer(loop)
            raise

    def _ready_at(self, now: float) -> float:
        ready = max(now, self._held_until, self._free_at)
        return ready if ready <= self._granted_until else math.inf

    def _take(self, now: float) -> None:
        rate = self.rate(now)
        if self._held_until <= now:
            self._held_until = -math.inf
        self._free_at = -math.inf if rate == math.inf else max(self._free_at, now - LATENESS_SECONDS) + 1 / rate

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is None and self._queue and (ready := self._ready_at(loop.time())) < math.inf:
            self._timer = loop.call_at(ready, self._give_turns, loop)

    def _give_turns(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        while self._queue and self._ready_at(now) <= now + 1e-6:
            turn = self._queue.popleft()
            if not turn.done():
                self._take(now)
                turn.set_result(None)
        self._set_timer(loop)
