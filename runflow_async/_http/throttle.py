"""The rate that all requests of one session share.

It has a limit that the user sets and one that is learned: a 429 on one request slows all of them, and without another
one the rate recovers. Requests get their turns in the order in which they queue, so none starves.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runflow_async._observing import UNOBSERVED
from runflow_async.observers import PaceChanged

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from runflow_async._observing import Observing

__all__ = ["Throttle"]

KEPT_AFTER_REFUSAL = 0.85
"""Share of the rate that is left after a 429."""
RECOVERY_SECONDS = 6.0
"""Time until the rate before a 429 is reached again. Then a higher one is tried, slowly at first."""
MEMORY_SECONDS = 60.0
"""Time without a 429 after which the learned limit is dropped."""
LEAST_RATE = 1.0
"""Requests per second that the learned limit always allows."""
WINDOW_SECONDS = 1.0
"""Period over which the rate is measured, by us and by most servers."""
LATENESS_SECONDS = 0.02
"""How much of a timer's delay is made up for. More would be a burst."""


class Throttle:
    """Gives requests their turn.

    The learned limit follows a cubic curve, as in TCP's congestion control (RFC 9438): steep right after a decrease,
    flat around the rate that was too high, and steep again once that rate is accepted.

    Args:
        max_rate: requests per second; None leaves only the learned limit.
        max_hold: seconds; a longer `Retry-After` is capped at this.
        observing: the observers of the session.

    Attributes:
        on_refused: called after every refusal with its `Retry-After` in seconds, or None.
    """

    def __init__(self, max_rate: float | None, max_hold: float = math.inf, observing: Observing = UNOBSERVED) -> None:
        self.on_refused: Callable[[float | None], None] | None = None
        self._max_hold = max_hold
        self._observing = observing
        self._max_rate = math.inf if max_rate is None else max_rate
        self._granted_until = math.inf  # from then on, no turns
        self._peak = math.inf  # the rate that was refused; infinite while nothing is learned
        self._decreased_at = -math.inf  # when that was
        self._held_until = -math.inf  # by a Retry-After
        self._free_at = -math.inf  # when the next turn may be given
        self._answered: deque[float] = deque()  # instants of the valid responses within the latest window
        self._queue: deque[asyncio.Future[None]] = deque()  # in the order of the turns; some may be cancelled
        self._timer: asyncio.TimerHandle | None = None  # set while there is a queue and a turn can be given
        self._notices: dict[Callable[[float], None], None] = {}  # of those who queue

    @property
    def is_open(self) -> bool:
        """Whether nothing limits the rate at present, so that no request needs a turn."""
        is_unlimited = self._peak == self._max_rate == self._granted_until == math.inf
        return is_unlimited and not self._queue and self._held_until == -math.inf

    @property
    def is_crowded(self) -> bool:
        """Whether requests queue for their turn."""
        return any(not turn.done() for turn in self._queue)

    def held_for(self, now: float) -> float:
        """Seconds for which a `Retry-After` still holds all requests; 0 if none does."""
        return max(0.0, self._held_until - now)

    @contextmanager
    def queueing(self, on_hold: Callable[[float], None]) -> Generator[None, None, None]:
        """A context in which a function is called with the instant until which a `Retry-After` holds all requests.

        It is called at once if one does, and for every further one.
        """
        self._notices[on_hold] = None
        try:
            if self.held_for(asyncio.get_running_loop().time()):
                on_hold(self._held_until)
            yield
        finally:
            del self._notices[on_hold]

    def grant(self, rate: float, until: float) -> None:
        """Replace `max_rate` for a limited time, by a share of a larger budget.

        Args:
            rate: requests per second.
            until: instant after which no request gets a turn before the next grant.
        """
        loop = asyncio.get_running_loop()
        is_change = rate != self._max_rate
        self._max_rate = rate
        self._granted_until = until
        self._free_at = min(self._free_at, loop.time() + 1 / rate)  # a lower rate may have set it later
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._set_timer(loop)
        if is_change:
            self._report(loop.time(), "this session's share of the budget has changed")

    def rate(self, now: float) -> float:
        """Requests per second that are allowed at an instant."""
        elapsed = now - self._decreased_at
        if elapsed > MEMORY_SECONDS and self._peak < math.inf:
            self._peak = math.inf
            self._report(now, f"no refusal for {MEMORY_SECONDS:.0f} s")
        if self._peak == math.inf:
            return self._max_rate
        learned = self._peak * (1 + (1 - KEPT_AFTER_REFUSAL) * ((elapsed - RECOVERY_SECONDS) / RECOVERY_SECONDS) ** 3)
        return min(self._max_rate, max(LEAST_RATE, learned))

    def answered(self, now: float) -> None:
        """Note a response that was not a refusal."""
        self._answered.append(now)
        while self._answered[0] <= now - WINDOW_SECONDS:
            self._answered.popleft()
        if now < self._decreased_at + WINDOW_SECONDS:
            # A 429 can overtake valid responses, which belong to the same rate as it does.
            self._peak = max(self._peak, len(self._answered) / WINDOW_SECONDS)

    def refused(self, sent_at: float, now: float, retry_after: float | None) -> None:
        """Slow down because the server refused a request of this session, and report it to `on_refused`.

        Args:
            sent_at: when the request was sent.
            now: when it was refused.
            retry_after: seconds for which no request gets a turn, or None.
        """
        self.slow_down(sent_at, now, retry_after)
        if self.on_refused is not None:
            self.on_refused(retry_after)

    def slow_down(self, sent_at: float, now: float, retry_after: float | None) -> None:
        """Slow down because of a refusal, perhaps of another session that shares the budget; see `refused`."""
        held_until = self._held_until
        if retry_after is not None:
            self._held_until = max(held_until, now + min(retry_after, self._max_hold))
            for on_hold in self._notices:
                on_hold(self._held_until)
        # Servers count over a period: further refusals within it are part of the same one.
        if sent_at > self._decreased_at + WINDOW_SECONDS:
            accepted = sum(moment > now - WINDOW_SECONDS for moment in self._answered) / WINDOW_SECONDS
            self._peak = max(LEAST_RATE, min(accepted, self.rate(now)))
            self._decreased_at = now
        if held_until < self._held_until or self._decreased_at == now:
            self._report(now, "the server refused a request" + (" and sent Retry-After" if retry_after else ""))

    def _report(self, now: float, reason: str) -> None:
        rate = self.rate(now)
        held_for = self.held_for(now)
        self._observing.emit(PaceChanged(rate=None if rate == math.inf else rate, reason=reason, held_for=held_for))

    async def turn(self) -> None:
        """Return when it is this request's turn. If it is cancelled, the next request gets the turn."""
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
            if not turn.cancelled():  # it had been given already; a cancelled turn is skipped anyway
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
