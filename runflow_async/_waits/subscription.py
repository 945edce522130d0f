"""One wait's part in the polls of its batch: those that it wants, those that it is offered, and nudges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runflow_async._waits.alarm import Alarm
from runflow_async._waits.polls import Poll

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from runflow_async._http.replies import Reply
    from runflow_async._waits.costs import Costs
    from runflow_async._waits.polls import Bounds
    from runflow_async._waits.sharing import Fetch, Sharing

__all__ = ["Subscription"]

STALE_SECONDS = 1.0
"""Age of a failed poll from which on a wait makes an attempt of its own instead."""


class Subscription:
    """A wait's subscription to the polls of its batch.

    Args:
        sharing: the polls of the session, of which each batch has one at a time.
        fetch: one GET of the batch.
        batch_id: the batch.
        costs: of the wait.

    Attributes:
        alarm: rung by a nudge and by an offer; nothing else ends a pause early.
        latest_poll: the last one that the wait waited for, made or used.
    """

    __slots__ = ("_fetch", "_nudged_at", "_offered", "_sharing", "alarm", "batch_id", "costs", "latest_poll")

    def __init__(self, sharing: Sharing, fetch: Fetch, batch_id: UUID, costs: Costs) -> None:
        self.batch_id = batch_id
        self.costs = costs
        self.alarm = Alarm()
        self.latest_poll = Poll(0, sharing.clock)
        self._sharing = sharing
        self._fetch = fetch
        self._offered: Poll | None = None  # another wait's; used instead of the next poll
        self._nudged_at: int | None = None  # how many polls had begun; None once a later one was used

    def nudge(self) -> bool:
        """Want a poll that begins later than this. Return False if such a poll was wanted anyway."""
        if self._nudged_at == self._sharing.begun:
            return False
        self._nudged_at = self._sharing.begun
        self.alarm.ring()
        return True

    def settle(self) -> bool:
        """Note that the latest poll was used. Return whether a nudge came too late for it, so that it needs another."""
        if self._offered is self.latest_poll:
            self._offered = None
        if self._nudged_at is not None and self.latest_poll.number > self._nudged_at:
            self._nudged_at = None
        return self._nudged_at is not None

    @property
    def has_offer(self) -> bool:
        """Whether there is a poll to use."""
        return self._offered is not None

    def offer(self, poll: Poll, *, is_retrying: bool) -> bool:
        """Offer a poll that has ended. Return False if it is of no use.

        A failure is of use only if the poll is wanted, or if the wait retries anyway.
        """
        if poll.has_failed and self not in poll.wanted_by and (self.has_offer or not is_retrying):
            return False
        self._offered = poll
        self.alarm.ring()
        return True

    @property
    def held_until(self) -> float:
        """The instant before which the server wants no poll of the batch."""
        return self._sharing.held_until(self.batch_id)

    def hold(self, until: float) -> None:
        """Hold the polls of every wait for the batch."""
        self._sharing.hold(self.batch_id, until)

    def begin_with(self, reply: Reply, ended_at: float, observed_at: datetime) -> None:
        """Use this response, which was no poll, instead of the first poll."""
        self._offered = poll = Poll(0, self._sharing.clock)
        poll.ended_at = ended_at
        poll.observed_at = observed_at
        poll.outcome = reply

    def _drop_stale_failure(self) -> None:
        """An attempt that is due is worth more than a failure that nobody was there to use."""
        poll = self._offered
        if poll is not None and poll.has_failed and self._sharing.clock() > poll.ended_at + STALE_SECONDS:
            self._offered = None

    async def next(self, bounds: Bounds) -> Reply:
        """Return the response to the next poll: the offered one, the one in flight, or a new one.

        An offered one stays until `settle`, so that a step that is cancelled loses nothing.

        Raises:
            RunflowError: of that poll.
        """
        self._drop_stale_failure()
        while (poll := self._offered) is None:
            reply = await self._sharing.poll(self, self._fetch, bounds)
            if reply is not None:
                return reply
        self.latest_poll = poll
        return poll.reply()
