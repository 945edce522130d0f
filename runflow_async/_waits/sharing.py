"""One poll at a time for each batch of a session, shared by all waits that watch the batch.

A wait that is due while a poll is in flight waits for that one instead of sending another. Waits that sleep are offered
every response, and plan their next poll from there. So the most eager wait sets the pace, and the others ride along.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from runflow_async._waits.agenda import SLACK
from runflow_async._waits.polls import NO_BOUNDS, Bounds, Poll, copy_of
from runflow_async._waits.registry import Registry
from runflow_async.errors import RateLimitError

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from runflow_async._http.replies import Reply
    from runflow_async._lifetime import Lifetime
    from runflow_async._waits.subscription import Subscription

__all__ = ["Fetch", "Sharing"]


class Fetch(Protocol):
    """One GET of a batch, bounded as `Transport.get` says."""

    async def __call__(
        self,
        *,
        sent: Callable[[], None],
        limit: float,
        longest: float,
        deadline: float,
        on_hold: Callable[[float], None] | None = None,
    ) -> Reply:
        """Return a valid response, or raise a RunflowError."""
        ...


class Sharing:
    """The polls of one session, at most one in flight for each batch.

    Args:
        lifetime: of the session.

    Attributes:
        clock: the event loop's.
        registry: the waits of the session.
        begun: number of polls that have begun.
    """

    __slots__ = ("_held", "_in_flight", "_lifetime", "begun", "clock", "registry")

    def __init__(self, lifetime: Lifetime) -> None:
        self._lifetime = lifetime
        self._in_flight: dict[int, Poll] = {}  # by the number that the batch's id is, which hashes faster
        self._held: dict[int, float] = {}  # until when the server wants no poll of a batch; the oldest one first
        self.clock = lifetime.now
        self.registry = Registry()
        self.begun = 0

    def held_until(self, batch_id: UUID) -> float:
        """Return the instant before which the server wants no poll of a batch."""
        return self._held.get(batch_id.int, -math.inf)

    def hold(self, batch_id: UUID, until: float) -> None:
        """Hold the polls of a batch, also those of waits that begin later."""
        if until <= self.held_until(batch_id):
            return
        while self._held and next(iter(self._held.values())) <= self.clock():
            del self._held[next(iter(self._held))]
        self._held.pop(batch_id.int, None)
        self._held[batch_id.int] = until
        for run in self.registry.runs(batch_id):
            run.hold(until)

    async def poll(self, subscriber: Subscription, fetch: Fetch, bounds: Bounds) -> Reply | None:
        """Make a poll, or wait for the one in flight.

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
            poll.wanted_by[subscriber] = None
            if not self.registry.is_shared(batch_id):
                return await self._make(poll, batch_id, fetch, bounds)
            poll.is_shared = True
            making = self._make_for_all(poll, batch_id, fetch, NO_BOUNDS)  # each wait bounds its own waiting
            poll.task = asyncio.create_task(making, name=f"poll {batch_id}")
            poll.task.add_done_callback(lambda _: self._end(poll, batch_id, None))  # cancelled before it began
        await poll.wait(subscriber, bounds)
        return None

    async def _make_for_all(self, poll: Poll, batch_id: UUID, fetch: Fetch, bounds: Bounds) -> None:
        with suppress(Exception):  # every wait that wants the poll raises it
            await self._make(poll, batch_id, fetch, bounds)

    async def _make(self, poll: Poll, batch_id: UUID, fetch: Fetch, bounds: Bounds) -> Reply:
        limit, longest, deadline = bounds
        try:
            reply = await fetch(
                sent=poll.count_request, limit=limit, longest=longest, deadline=deadline, on_hold=poll.hold
            )
        except Exception as error:
            self._end(poll, batch_id, None if self._is_cut(poll, bounds, error) else error)
            raise
        except BaseException:
            self._end(poll, batch_id, None)
            raise
        self._end(poll, batch_id, reply)
        return reply

    def _is_cut(self, poll: Poll, bounds: Bounds, error: Exception) -> bool:
        """Whether a poll failed because of the bounds of the wait that made it, which say nothing to others."""
        if poll.sent_at is None:
            return isinstance(error, RateLimitError) or self.clock() >= bounds.limit - SLACK
        return self.clock() >= min(bounds.limit, poll.sent_at + bounds.longest) - SLACK

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
            poll.outcome = copy_of(outcome) if isinstance(outcome, Exception) else outcome
            for run in sorted(self.registry.runs(batch_id), key=lambda run: run.polling.attempts):
                if run.polling.subscription is not maker:
                    run.offer(poll)
        poll.wanted_by.clear()  # they refer to the poll, too
