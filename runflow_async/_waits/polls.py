"""One request for a batch, which all waits that want its response wait for, each as long as it can."""

from __future__ import annotations

import asyncio
import copy
import math
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from runflow_async._http.protocol import EVERY_REQUEST, held_back
from runflow_async._waits.agenda import SLACK
from runflow_async.errors import RunflowError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from runflow_async._http.replies import Reply
    from runflow_async._waits.subscription import Subscription

__all__ = ["NO_BOUNDS", "Bounds", "Poll", "copy_of"]


class Bounds(NamedTuple):
    """The bounds of a GET, as `Transport.get` has them."""

    limit: float
    longest: float
    deadline: float


NO_BOUNDS = Bounds(math.inf, math.inf, math.inf)


class Poll:
    """One request for a batch, and the waits that want its response.

    Attributes:
        number: counts the polls of a session in the order in which they began.
        sent_at: instant at which the request was first sent; None before that.
        ended_at: instant at which it was answered, failed or was cancelled; infinite before that.
        observed_at: the same instant on the wall clock; None if only the wait that made the poll uses it.
        outcome: the response or the failure, for other waits than the one that made the poll.
        held_until: instant before which a `Retry-After` does not let it be sent.
        wanted_by: the waits that want the response, the one that began the poll first.
        is_shared: whether other waits watched the batch when it began; if not, the wait that began it also makes it.
        task: makes a shared poll.
    """

    def __init__(self, number: int, clock: Callable[[], float]) -> None:
        self.number = number
        self._clock = clock
        self.sent_at: float | None = None
        self.ended_at = math.inf
        self.observed_at: datetime | None = None
        self.outcome: Reply | Exception
        self.held_until = -math.inf
        self._agreed: dict[object, tuple[int, float]] = {}
        self.wanted_by: dict[Subscription, None] = {}
        self.is_shared = False
        self.task: asyncio.Task[None] | None = None

    @property
    def has_failed(self) -> bool:
        """Whether the outcome is a failure."""
        return isinstance(self.outcome, Exception)

    @property
    def is_for_others(self) -> bool:
        """Whether it was offered to other waits than the one that made it."""
        return self.observed_at is not None

    def agree_on(self, purpose: object, delay: float, attempts: int = 0) -> float:
        """Return the delay until the next poll that was drawn for a purpose, by the wait with the fewest attempts.

        If each wait drew its own, the shortest would count, and many waits would poll more often than one.
        """
        agreed = self._agreed.get(purpose)
        if agreed is None or attempts < agreed[0]:
            self._agreed[purpose] = agreed = attempts, delay
        return agreed[1]

    def count_request(self) -> None:
        """Count a request that is sent, for the first wait that wants it."""
        now = self._clock()
        if self.sent_at is None:
            self.sent_at = now
            for subscriber in self.wanted_by:
                subscriber.alarm.ring()  # its bound counts from here
        for subscriber in self.wanted_by:
            subscriber.costs.count_request(now)
            break

    def hold(self, until: float) -> None:
        """Note that a `Retry-After` holds the request, for those who have no time to wait for it."""
        self.held_until = until
        for subscriber in self.wanted_by:
            subscriber.alarm.ring()

    async def wait(self, subscriber: Subscription, bounds: Bounds) -> None:
        """Return when it has ended. When the last wait leaves before that, the poll is cancelled.

        Args:
            subscriber: who waits.
            bounds: as `Transport.get` has them. Time counts from the sending of the request, or from now if that is
                later: a request that queues for its turn uses up none.

        Raises:
            RateLimitError: at once, if a `Retry-After` holds the request beyond `deadline`.
            TransportError: if it ends without an outcome.
        """
        self.wanted_by[subscriber] = None
        began = self._clock()
        try:
            while self.ended_at == math.inf:
                await subscriber.alarm.sleep_until(self._bound(began, bounds))
        except (asyncio.CancelledError, RunflowError):
            self._leave(subscriber)
            await self._until_gone()
            raise
        finally:
            self._leave(subscriber)

    def _bound(self, began: float, bounds: Bounds) -> float:
        """Return the instant until which a wait that began then waits for it; raise an error if it is over."""
        now, until = self._clock(), bounds.limit
        if self.sent_at is not None:
            until = min(until, max(self.sent_at, began) + bounds.longest)
        elif self.held_until > max(now, bounds.deadline):
            raise held_back(EVERY_REQUEST, self.held_until - now)
        if now >= until - SLACK:
            raise TransportError("the poll in flight was not answered in time")
        return until

    def _leave(self, subscriber: Subscription) -> None:
        if subscriber in self.wanted_by:
            del self.wanted_by[subscriber]
            if self.task is not None and not self.wanted_by:
                self.task.cancel()

    async def _until_gone(self) -> None:
        if self.task is not None and not self.wanted_by:
            await asyncio.wait([self.task])

    def reply(self) -> Reply:
        """Return the response, or raise the failure: a new error for each wait, which adds what it knows."""
        if isinstance(self.outcome, Exception):
            raise copy_of(self.outcome)
        return self.outcome


def copy_of(error: Exception) -> Exception:
    """Copy a failure for one of several waits, because each adds to its own: what it knows, where it was raised.

    Ours go without a traceback. An exception that can neither be copied as `copy.copy` does nor be made anew of its
    `args` and attributes is returned as it is.
    """
    for remake in (copy.copy, _made_anew):
        with suppress(Exception):  # of a user's class, which may not expect to be copied
            copied = remake(error)
            if type(copied) is type(error) and (copied.args, str(copied)) == (error.args, str(error)):
                copied.__cause__, copied.__context__ = error.__cause__, error.__context__
                copied.__suppress_context__ = error.__suppress_context__
                return copied.with_traceback(None if isinstance(error, RunflowError) else error.__traceback__)
    return error


def _made_anew(error: Exception) -> Exception:
    copied: Exception = type(error).__new__(type(error), *error.args)
    vars(copied).update(vars(error))
    return copied
