"""The loop: poll when it is time, read the response, decide when to poll next, until the batch has ended."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from runflow_async._answers.ledger import Ledger
from runflow_async._eventlog import fields
from runflow_async._http.protocol import held_back
from runflow_async._waits.agenda import SLACK, Agenda
from runflow_async._waits.costs import Costs
from runflow_async._waits.failures import Failures
from runflow_async._waits.pacing import Pacing
from runflow_async._waits.polls import Bounds, Poll
from runflow_async._waits.settling import Settling
from runflow_async._waits.stalls import Stalls
from runflow_async._waits.subscription import Subscription
from runflow_async.errors import RunflowError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from runflow_async._forecasts import Forecast
    from runflow_async._http.replies import Reply
    from runflow_async._waits.options import WaitOptions
    from runflow_async._waits.outages import OngoingOutage
    from runflow_async._waits.retries import Retries
    from runflow_async._waits.sharing import Fetch, Sharing
    from runflow_async._waits.witness import Witness
    from runflow_async.models import Batch, WaitStats

__all__ = ["Polling"]

logger = logging.getLogger("runflow_async")
LARGE_BODY = 1_000_000


class Polling:
    """The polls of one wait, one `step` after the other.

    Args:
        sharing: the polls of the session, of which each batch has one at a time.
        fetch: one GET of the batch.
        witness: reports to the observers.
        options: what to do.
        retries: what happens after a failure.
        clock: the event loop's; every instant in here is on it.
        utc_now: the wall clock, for the instants at which transitions were observed.
        take_turn: returns when there is room for heavy work in this iteration of the event loop.
        since: what was delivered earlier.

    Attributes:
        witness: reports to the observers.
        ledger: what the responses said.
        costs: what was counted; whoever delivers transitions counts them.
        agenda: when to poll next, and when to end. A cancelled step does not change it.
        subscription: the polls that this wants, and those that it is offered.
        stalls: since when nothing has changed.
    """

    def __init__(
        self,
        sharing: Sharing,
        fetch: Fetch,
        witness: Witness,
        options: WaitOptions,
        *,
        retries: Retries,
        clock: Callable[[], float],
        utc_now: Callable[[], datetime],
        take_turn: Callable[[], Awaitable[None]],
        since: Batch | None = None,
    ) -> None:
        batch_id = witness.batch_id
        self.witness = witness
        self.ledger = ledger = Ledger(batch_id, since)
        self.costs = Costs()
        self.agenda = Agenda(options.timeout, options.max_outage)
        self.subscription = Subscription(sharing, fetch, batch_id, self.costs)
        self.agenda.hold(self.subscription.held_until)
        self._options = options
        self._retries = retries
        self._clock = clock
        self._utc_now = utc_now
        self._take_turn = take_turn
        # The pacing has the ledger, not this: a cycle would keep a dropped wait until the collector comes.
        self._pacing = Pacing(options, lambda: ledger.batch)
        self.stalls = Stalls(ledger, options, witness)
        self._settling = Settling(ledger, self.agenda)
        self._failures = Failures(
            ledger, self.costs, self.agenda, self.subscription, witness, options=options, retries=retries
        )

    @property
    def ended(self) -> bool:
        """Whether the last poll was made."""
        return self.agenda.ended is not None

    @property
    def attempts(self) -> int:
        """How often it polled, or would have if no other wait had."""
        return self._pacing.state.attempt_number

    @property
    def stats(self) -> WaitStats:
        """What the wait has cost so far."""
        return self.costs.stats(self.agenda.elapsed(self._clock()))

    @property
    def outage(self) -> OngoingOutage | None:
        """The failures in a row up to now; None after a valid response, and before the first one failed."""
        return self._failures.ongoing

    @property
    def clocks(self) -> tuple[float, datetime]:
        """This instant on the event loop's clock and on the wall clock."""
        return self._clock(), self._utc_now()

    @property
    def forecast(self) -> Forecast | None:
        """When the batch will end; None while nothing says so, and once the wait has ended."""
        return None if self.ended else self._pacing.forecast

    def nudge(self) -> bool:
        """Poll as soon as the server allows, and again if a poll is in flight. Return False if that was due anyway."""
        if not self.subscription.nudge():
            return False
        self._pacing.nudged()
        self.agenda.hurry(self._clock())
        return True

    def begin_with(self, reply: Reply, *, is_loaded: bool) -> None:
        """Start, and have the first poll use this response. Its snapshot is known at once, if nothing is to load."""
        self.subscription.begin_with(reply, self.start(), self._utc_now())
        if is_loaded:
            self._take(reply)

    def offer(self, poll: Poll) -> bool:
        """Have the next step use a poll of another wait. Return False if it is of no use."""
        if self.agenda.started is None or self.ended:
            return False
        return self.subscription.offer(poll, is_retrying=self._failures.outage is not None)

    def end(self) -> None:
        """Stop polling."""
        self.agenda.ended = self._clock()
        self.ledger.report_missing()

    def start(self) -> float:
        """Start the wait's clock, unless it has started. Return the instant at which it did."""
        state = self._pacing.state
        if self.agenda.started is None:
            state.start_time = self._clock()
            self.agenda.start(state.start_time)
            if self.witness.observing.is_watched:
                self.witness.started(state.start_time)
        return state.start_time

    async def step(self) -> None:
        """Wait until it is time, poll once, and read the response.

        If it is cancelled, wherever that happens, the schedule and all that is known stay as they were.

        Raises:
            RunflowError: what ends the wait.
        """
        self.start()
        await self._sleep_until_due()
        if self.ended:
            return
        try:
            with self.costs:
                reply = await self._next_reply()
                if not self.ledger.is_unchanged(reply.body):
                    await self._take_turn()
                    self._take(reply)
        except RunflowError as error:
            self._after_failure(error)
        else:
            self._after_answer(reply)
        if self.subscription.settle():
            self.agenda.hurry(self._clock())

    async def _sleep_until_due(self) -> None:
        agenda, now = self.agenda, self._clock()
        if agenda.is_held_back and not self.subscription.has_offer:
            raise held_back("every poll of this batch", self.subscription.held_until - now)
        while self.subscription.has_offer or not agenda.is_over(now):
            if self.subscription.has_offer or agenda.is_due(now):
                return
            await self.subscription.alarm.sleep_until(agenda.next_at)
            now = self._clock()
        if self.ledger.is_terminal:
            self.end()
        elif not agenda.is_due(now) or agenda.deadline <= now + SLACK:
            self._failures.raise_limit()

    async def _next_reply(self) -> Reply:
        # If no step was taken until the outage's limit had passed, the attempt that was due is still made.
        limit = self.agenda.deadline if self.agenda.is_over(self._clock()) else self.agenda.limit
        return await self.subscription.next(Bounds(limit, self._options.max_outage, self.agenda.deadline))

    def _take(self, reply: Reply) -> None:
        began, known = self._clock(), (self.ledger.changes, self.ledger.tally, self.ledger.status_code)
        answer = self.ledger.read(reply.body)
        reply.require_batch(self.ledger.batch_id, answer.envelope.id, self.ledger.warn)
        self.ledger.take(reply.body, answer, self.subscription.latest_poll.observed_at or self._utc_now())
        if (self.ledger.changes, self.ledger.tally, self.ledger.status_code) != known:
            self.stalls.changed_at = began
        if len(reply.body) > LARGE_BODY:
            milliseconds, extra = 1000 * (self._clock() - began), fields(self.ledger.batch_id)
            logger.debug("%d bytes held the event loop for %.0f ms", len(reply.body), milliseconds, extra=extra)

    def _after_answer(self, reply: Reply) -> None:
        now = self.subscription.latest_poll.ended_at  # another wait's poll may have ended a while ago
        if self._failures.outage is not None:
            self._failures.recovered(now)
        if self.witness.silence.since is not None:
            self.witness.silence.answered(now)
        if self.witness.observing.is_watched:
            self.witness.polled(self.ledger, now)
        self.agenda.answered(reply.roundtrip)
        self._pacing.answered(now, self.ledger.tally, was_due=self.agenda.was_due(now))
        if self.ledger.is_terminal:
            if not self._settling.plan(now):
                self.end()
        elif self._options.ends_early(self.ledger):
            self.end()
        else:
            asked = self._retries.cap(reply.retry_after)
            if asked:
                self.subscription.hold(now + asked)
            delay = self._pacing.delay_after(self.subscription.latest_poll)
            if self._options.stalled_after is not None:
                delay = min(delay, self.stalls.check(now))
            self.agenda.plan(now, delay, retry_after=asked)

    def _after_failure(self, error: RunflowError) -> None:
        now = self._clock()
        if not self.ledger.is_terminal:
            self._failures.plan_retry(error, now, self.start())
        elif not self._settling.failed(error, now):
            self.end()
