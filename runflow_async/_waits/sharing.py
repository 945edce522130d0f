"""One poll at a time for each batch of a session, shared by all waits that watch the batch.

A wait that is due while a poll is in flight waits for that one instead of sending another. Waits that sleep are offered
every response, and plan their next poll from there. So the most eager wait sets the pace, and the others ride along.
"""

from __future__ import annotations

import asyncio
import copy
import math
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

from runflow_async._waits.agenda import SLACK
from runflow_async._waits.registry import Registry
from runflow_async.errors import RunflowError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from runflow_async._http.replies import Reply
    from runflow_async._lifetime import Lifetime
    from runflow_async._waits.subscription import Subscription

__all__ = ["Fetch", "Poll", "Sharing"]


class Fetch(Protocol):
    """One GET of a batch, bounded as `Transport.get` says."""

    async def __call__(self, *, sent: Callable[[], None], limit: float, longest: float, deadline: float) -> Reply:
        """Return a valid response, or raise a RunflowError."""
        ...


class Bounds(NamedTuple):
    """The bounds of a GET, as `Transport.get` has them."""

    limit: float
    longest: float
    deadline: float


class Poll:
    """One request for a batch, and the waits that want its response.

    Attributes:
        number: counts the polls of a session in the order in which they began.
        sent_at: instant at which the request was first sent; None before that.
        ended_at: instant at which it was answered, failed or was cancelled; infinite before that.
        observed_at: the same instant on the wall clock; None if only the wait that made the poll uses it.
        outcome: the response or the failure, for other waits than the one that made the poll.
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
        self._agreed: dict[object, float] = {}
        self.wanted_by: dict[Subscription, None] = {}
        self.is_shared = False
        self.task: asyncio.Task[None] | None = None

    @property
    def has_failed(self) -> bool:
        """Whether the outcome is a failure."""
        return isinstance(self.outcome, Exception)

    def agree_on(self, purpose: object, delay: float) -> float:
        """Return the delay until the next poll that the first wait drew for a purpose.

        If each wait drew its own, the shortest would count, and many waits would poll more often than one.
        """
        return self._agreed.setdefault(purpose, delay)

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

    async def wait(self, subscriber: Subscription, limit: float, longest: float) -> None:
        """Return when it has ended. When the last wait leaves before that, the poll is cancelled.

        Args:
            subscriber: who waits.
            limit: instant at which the waiting ends.
            longest: seconds from the sending of the request, or from now if that is later, until then.

        Raises:
            TransportError: if it ends without an outcome.
        """
        self.wanted_by[subscriber] = None
        began = self._clock()
        try:
            bound = math.inf
            while self.ended_at == math.inf and self._clock() < bound - SLACK:
                # A request that queues for its turn was not sent, and uses up none of its time.
                bound = limit if self.sent_at is None else min(limit, max(self.sent_at, began) + longest)
                await subscriber.alarm.sleep_until(bound)
        except asyncio.CancelledError:
            self._leave(subscriber)
            await self._until_gone()
            raise
        finally:
            self._leave(subscriber)
        if self.ended_at == math.inf:
            await self._until_gone()
            raise TransportError("the poll in flight was not answered in time")

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
            raise _copy(self.outcome)
        return self.outcome


class Sharing:
    """The polls of one session, at most one in flight for each batch.

    Args:
        lifetime: of the session.

    Attributes:
        clock: the event loop's.
        registry: the waits of the session.
        begun: number of polls that have begun.
    """

    __slots__ = ("_in_flight", "_lifetime", "begun", "clock", "registry")

    def __init__(self, lifetime: Lifetime) -> None:
        self._lifetime = lifetime
        self._in_flight: dict[int, Poll] = {}  # by the number that the batch's id is, which hashes faster
        self.clock = lifetime.now
        self.registry = Registry()
        self.begun = 0

    def number_in_flight(self, batch_id: UUID) -> int:
        """Return the number of the poll in flight for a batch; 0 if there is none."""
        poll = self._in_flight.get(batch_id.int)
        return 0 if poll is None else poll.number

    async def poll(
        self, subscriber: Subscription, fetch: Fetch, *, limit: float, longest: float, deadline: float
    ) -> Reply | None:
        """Make a poll, or wait for the one in flight. The bounds are those of `Transport.get`.

        Returns:
            The response, if the wait made the poll itself. None if it was offered a poll, or the one in flight was
            cancelled.
        """
        batch_id = subscriber.batch_id
        poll = self._in_flight.get(batch_id.int)
        if poll is not None:
            subscriber.latest_poll = poll
        else:
            self.begun += 1
            subscriber.latest_poll = poll = self._in_flight[batch_id.int] = Poll(self.begun, self.clock)
            if not self.registry.is_shared(batch_id):
                poll.wanted_by[subscriber] = None
                return await self._make(poll, batch_id, fetch, Bounds(limit, longest, deadline))
            poll.is_shared = True
            poll.wanted_by[subscriber] = None
            # Each wait bounds its own waiting. Whoever has the least time left is told of a long `Retry-After` at once.
            deadline = min(run.deadline for run in self.registry.watching(batch_id))
            making = self._make_for_all(poll, batch_id, fetch, Bounds(math.inf, math.inf, deadline))
            poll.task = asyncio.create_task(making, name=f"poll {batch_id}")
            poll.task.add_done_callback(lambda _: self._end(poll, batch_id, None))  # cancelled before it began
        await poll.wait(subscriber, limit, longest)
        return None

    async def _make_for_all(self, poll: Poll, batch_id: UUID, fetch: Fetch, bounds: Bounds) -> None:
        with suppress(Exception):  # every wait that wants the poll raises it
            await self._make(poll, batch_id, fetch, bounds)

    async def _make(self, poll: Poll, batch_id: UUID, fetch: Fetch, bounds: Bounds) -> Reply:
        limit, longest, deadline = bounds
        outcome: Reply | Exception | None = None
        try:
            outcome = reply = await fetch(sent=poll.count_request, limit=limit, longest=longest, deadline=deadline)
        except Exception as error:
            is_cut = poll.sent_at is not None and self.clock() >= min(limit, poll.sent_at + longest) - SLACK
            outcome = None if is_cut and isinstance(error, TransportError) else _copy(error)
            raise
        finally:
            self._end(poll, batch_id, outcome)
        return reply

    def _end(self, poll: Poll, batch_id: UUID, outcome: Reply | Exception | None) -> None:
        if poll.ended_at < math.inf:
            return
        del self._in_flight[batch_id.int]
        poll.ended_at = self.clock()
        maker = None if poll.is_shared else next(iter(poll.wanted_by))
        if outcome is None:
            for subscriber in poll.wanted_by:
                subscriber.alarm.ring()  # the next one makes a poll
        elif poll.is_shared or self.registry.is_shared(batch_id):  # others may have left meanwhile
            poll.observed_at = self._lifetime.utc_now()
            poll.outcome = outcome
            for run in self.registry.runs(batch_id):
                if run.polling.subscription is not maker:
                    run.offer(poll)
        poll.wanted_by.clear()  # they refer to the poll, too


def _copy(error: Exception) -> Exception:
    """Copy an error of ours, without its traceback: each wait adds what it knows to its own."""
    if not isinstance(error, RunflowError):
        return error
    copied = copy.copy(error)
    copied.__cause__ = error.__cause__
    return copied
