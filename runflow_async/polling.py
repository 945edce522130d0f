"""The loop: poll when it is time, take in the answer, decide when to poll next, until the batch has ended.

Knows nothing of HTTP but "get bytes or raise", and nothing of items but what the ledger makes of an answer.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import Struct
from tenacity import RetryCallState

from runflow_async.agenda import Agenda
from runflow_async.decoding import PollAnswer, decode_poll
from runflow_async.errors import (
    MalformedResponseError,
    NotFoundError,
    OutageError,
    RunflowError,
    StatusError,
    Verdict,
    WaitTimeoutError,
)
from runflow_async.ledger import Ledger
from runflow_async.models import KNOWN_STATUSES, Batch, WaitStats
from runflow_async.protocol import batch_path, check_answer_id
from runflow_async.waits import PollState, RetryPolicy, error_of, retrying

if TYPE_CHECKING:
    from uuid import UUID

    from tenacity import AsyncRetrying

    from runflow_async.transport import Reply, Transport

__all__ = ["Polling", "WaitOptions"]

logger = logging.getLogger("runflow_async")

JUST_CREATED = 3.0
"""Seconds from the first poll in which 404 means that the batch has not reached every replica yet."""
SETTLING_DELAYS = (0.25, 1.0, 3.0)
"""Seconds before each of the polls that let the items of a terminal batch catch up: under 5 s in all."""


class WaitOptions(Struct, frozen=True, kw_only=True):
    """The checked keywords of a wait; `RunflowSession.wait_for_batch` says what each one means."""

    timeout: float | None
    strategy: Callable[[RetryCallState], float]
    max_outage: float
    until: Callable[[Batch], bool] | None
    since: Batch | None
    retry: RetryPolicy
    max_retry_after: float


class Polling:
    """The polls of one wait, one `step` after the other, in whoever's task takes the steps.

    Attributes:
        ledger: what the answers said.
        ended: whether there is nothing left to poll for.
        transitions: transitions yielded; counted by whoever yields them.
    """

    def __init__(self, transport: Transport, batch_id: UUID, options: WaitOptions) -> None:
        self.ledger = Ledger(batch_id, options.since)
        self.ended = False
        self.transitions = 0
        self._batch_id = batch_id
        self._transport = transport
        self._url = transport.url(batch_path(batch_id))
        self._options = options
        self._agenda = Agenda(options.timeout, options.max_outage)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._state = PollState(lambda: self.ledger.batch)
        self._alarm: asyncio.Future[None] | None = None
        self._nudged = False
        self._terminal = False
        self._settling = 0
        self._status_reported = False
        self._last_error: RunflowError | None = None
        self._outage: tuple[AsyncRetrying, RetryCallState] | None = None
        self._polls = self._requests = self._retries = 0
        self._elapsed: float | None = None

    @property
    def stats(self) -> WaitStats:
        """What the wait has cost so far."""
        running = self._agenda.elapsed(self._loop.time()) if self._loop else 0.0
        return WaitStats(
            polls=self._polls,
            requests=self._requests,
            retries=self._retries,
            transitions=self.transitions,
            elapsed=running if self._elapsed is None else self._elapsed,
        )

    def nudge(self) -> None:
        """Poll now, or once more as soon as the poll under way is answered."""
        self._nudged = True
        if self._alarm is not None and not self._alarm.done():
            self._alarm.set_result(None)

    def end(self) -> None:
        """Poll no more."""
        self._elapsed = self.stats.elapsed
        self.ended = True
        self.ledger.report_missing()

    async def step(self) -> None:
        """Wait until it is time, poll once, and take in what comes back.

        Cancelled in any place, it leaves the schedule and all that is known as they were.

        Raises:
            RunflowError: what ends the wait.
        """
        self._loop = asyncio.get_running_loop()
        if self._agenda.started is None:
            self._state.start_time = self._loop.time()
            self._agenda.start(self._loop.time())
        await self._sleep_until_due()
        if self.ended:
            return
        self._nudged = False
        began = self._now()
        try:
            reply = await self._transport.get(self._url, sent=self._count_request, limit=self._agenda.limit)
            self._take(reply)
        except RunflowError as error:
            await self._after_failure(error, began)
        else:
            self._after_answer(reply)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _sleep_until_due(self) -> None:
        agenda = self._agenda
        while not agenda.is_over(self._now()):
            if self._nudged:
                self._nudged = False
                agenda.hurry(self._now())
            if agenda.is_due(self._now()):
                return
            await self._pause(min(agenda.due, agenda.limit))
        if not self._settling:
            raise self._limit_error() from self._last_error
        self.end()

    async def _pause(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        self._alarm = alarm = loop.create_future()
        timer = loop.call_at(until, _ring, alarm)
        try:
            await alarm
        finally:
            timer.cancel()
            self._alarm = None

    def _take(self, reply: Reply) -> None:
        if self.ledger.is_unchanged(reply.body):
            return
        answer = decode_poll(reply.body)
        try:
            check_answer_id(answer.id, self._batch_id)
        except MalformedResponseError:
            reply.distrust()
            raise
        if self._terminal and not answer.is_terminal:
            logger.debug("batch %s has ended; a stale answer says %r", self._batch_id, answer.status_code)
            return
        self.ledger.take(reply.body, answer, datetime.now(UTC))
        self._terminal = answer.is_terminal
        self._report_odd_status(answer)

    def _report_odd_status(self, answer: PollAnswer) -> None:
        if answer.status_code not in KNOWN_STATUSES and not self._status_reported:
            self._status_reported = True
            logger.warning(
                "batch %s has the unknown status %r, taken as not terminal",
                self._batch_id,
                answer.status_code,
            )

    def _after_answer(self, reply: Reply) -> None:
        now = self._now()
        self._polls += 1
        self._outage = self._last_error = None
        self._agenda.answered(reply.roundtrip)
        self._state.answered(now)
        if self._terminal:
            self._settle(now)
        elif self._options.until is not None and self._is_enough(self._options.until):
            self.end()
        else:
            delay = self._state.delay(self._options.strategy)
            asked = min(reply.retry_after or 0.0, self._options.max_retry_after)
            self._agenda.plan(now, max(delay, asked), held=asked >= delay)

    def _is_enough(self, until: Callable[[Batch], bool]) -> bool:
        batch = self.ledger.batch
        return batch is not None and until(batch)

    def _settle(self, now: float) -> None:
        # A batch can be said to have ended before its items are: they get a few short polls to catch up.
        if self._settling == len(SETTLING_DELAYS) or not self.ledger.unfinished:
            self.end()
            return
        self._agenda.plan(now, SETTLING_DELAYS[self._settling])
        self._settling += 1
        if self._agenda.due == math.inf:
            self.end()

    async def _after_failure(self, error: RunflowError, began: float) -> None:
        if self._settling:
            logger.debug("batch %s has ended; its items could not be settled: %s", self._batch_id, error)
            self.end()
            return
        newborn = isinstance(error, NotFoundError) and not self._polls
        patience = JUST_CREATED - self._agenda.elapsed(self._now())
        if newborn:
            error.verdict = Verdict.TRANSIENT if patience > 0 else Verdict.FINAL
        elif isinstance(error, NotFoundError):
            error.verdict = Verdict.SUSPECT  # a replica that lags behind
        self._last_error = error
        self._agenda.failed(began)
        delay = await self._delay_after(error)
        self._retries += 1
        asked = getattr(error, "retry_after", None) is not None
        self._agenda.plan(self._now(), min(delay, patience) if newborn else delay, held=asked)

    async def _delay_after(self, error: RunflowError) -> float:
        """Seconds to the next attempt, or raise: tenacity's engine decides.

        Its state is the wait's, not the step's, so that a cancelled step does not start the backoff anew.
        """
        if self._outage is None:
            engine = retrying(
                self._options.retry,
                max_retry_after=self._options.max_retry_after,
                stop=self._is_hopeless,
                give_up=self._give_up,
            )
            engine.begin()
            self._outage = engine, RetryCallState(engine, None, (), {})
        engine, failures = self._outage
        failures.set_exception((type(error), error, error.__traceback__))
        await engine.iter(retry_state=failures)
        delay = failures.upcoming_sleep
        failures.prepare_for_next_attempt()
        return delay

    def _is_hopeless(self, failures: RetryCallState) -> bool:
        return self._agenda.is_over(self._now()) or self._is_asked_beyond(error_of(failures))

    def _is_asked_beyond(self, error: BaseException | None) -> bool:
        asked = error.retry_after if isinstance(error, StatusError) else None
        return asked is not None and self._now() + asked > self._agenda.deadline

    def _give_up(self, failures: RetryCallState) -> None:
        error = error_of(failures)
        if error is not None and self._is_asked_beyond(error):
            raise error
        raise self._limit_error() from error

    def _limit_error(self) -> RunflowError:
        batch, stats = self.ledger.batch, self.stats
        if self._agenda.deadline <= self._agenda.limit:
            return WaitTimeoutError(
                f"batch {self._batch_id} is still running (last seen {batch.status_code if batch else None!r}) after "
                f"{self._options.timeout} s; it goes on at the server: wait again with a longer timeout, and "
                "since=wait.delivered to take up the transitions where they were cut",
                batch_id=self._batch_id,
                batch=batch,
                stats=stats,
            )
        return OutageError(
            f"no good answer about batch {self._batch_id} for {self._options.max_outage} s: {self._last_error}",
            batch_id=self._batch_id,
            batch=batch,
            stats=stats,
        )

    def _count_request(self) -> None:
        self._requests += 1


def _ring(alarm: asyncio.Future[None]) -> None:
    if not alarm.done():
        alarm.set_result(None)
