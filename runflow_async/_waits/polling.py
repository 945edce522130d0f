"""The loop: poll when it is time, take in the answer, decide when to poll next, until the batch has ended.

Knows nothing of HTTP but "get bytes or raise", and nothing of items but what the ledger makes of an answer.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import Struct
from tenacity import RetryCallState

from runflow_async._answers.decoding import decode_poll
from runflow_async._answers.ledger import Ledger
from runflow_async._http.protocol import batch_path, check_answer_id
from runflow_async._waits.agenda import SLACK, Agenda
from runflow_async._waits.alarm import Alarm
from runflow_async._waits.outages import OngoingOutage, Outage
from runflow_async._waits.retries import JUST_CREATED_SECONDS, RetryPolicy, log_failure, verdict_of
from runflow_async._waits.usercode import UserCode
from runflow_async.errors import (
    ConfigurationError,
    MalformedResponseError,
    NotFoundError,
    OutageError,
    RunflowError,
    Verdict,
    WaitTimeoutError,
)
from runflow_async.models import Batch, WaitStats
from runflow_async.schedules import PollState

if TYPE_CHECKING:
    from uuid import UUID

    from runflow_async._http.transport import Reply, Transport

__all__ = ["Polling", "WaitOptions"]

logger = logging.getLogger("runflow_async")

LARGE_BODY = 1_000_000


class WaitOptions(Struct, frozen=True, kw_only=True):
    """The checked keywords of a wait; `RunflowSession.wait_for_batch` says what each one means."""

    timeout: float | None
    strategy: Callable[[RetryCallState], float]
    patience: Callable[[RetryCallState], float] | None = None
    """Stands in for the strategy until somebody nudges."""
    max_outage: float
    until: Callable[[Batch], bool] | None
    retry: RetryPolicy
    max_retry_after: float


class Polling:
    """The polls of one wait, one `step` after the other, in whoever's task takes the steps.

    Attributes:
        ledger: what the answers said.
        ended: whether there is nothing left to poll for.
        transitions: transitions yielded; counted by whoever yields them.
    """

    def __init__(self, transport: Transport, batch_id: UUID, options: WaitOptions, since: Batch | None = None) -> None:
        self.ledger = Ledger(batch_id, since)
        self.ended = False
        self.transitions = 0
        self._batch_id = batch_id
        self._transport = transport
        self._options = options
        self._agenda = Agenda(options.timeout, options.max_outage)
        self._loop: asyncio.AbstractEventLoop | None = None
        ledger = self.ledger  # not self: a cycle would keep a dropped wait until the collector comes
        self._state = PollState(lambda: ledger.batch)
        self._alarm = Alarm()
        self._nudged = False
        self._strategy = options.patience or options.strategy
        self._sent_at: float | None = None
        self._first_sent_at: float | None = None
        self._outage: Outage | None = None
        self._polls = self._requests = self._retries = self._failures = self._repeats = self._cut = 0
        self._elapsed: float | None = None

    @property
    def stats(self) -> WaitStats:
        """What the wait has cost so far."""
        running = self._agenda.elapsed(self._loop.time()) if self._loop else 0.0
        return WaitStats(
            polls=self._polls,
            requests=self._requests,
            retries=self._retries,
            failures=self._failures,
            repeats=self._repeats,
            cut=self._cut,
            transitions=self.transitions,
            elapsed=running if self._elapsed is None else self._elapsed,
        )

    @property
    def next_at(self) -> float:
        """The instant at which the next `step` has something to do, on the loop's clock."""
        return min(self._agenda.due, self._agenda.limit)

    @property
    def deadline(self) -> float:
        """The instant at which `timeout` is over, on the loop's clock; infinite before the first step."""
        return self._agenda.deadline

    @property
    def next_poll_at(self) -> float:
        """The instant of the next poll, on the loop's clock; infinite if there will be none."""
        return self._agenda.next_poll_at

    @property
    def outage(self) -> OngoingOutage | None:
        """The failures in a row up to now; None after a good answer, and before the first one failed."""
        since, outage = self._agenda.outage_started, self._outage
        if since is None or outage is None or outage.error is None or self.ended:
            return None
        return OngoingOutage(since, self._agenda.outage_limit, outage.error)

    def nudge(self) -> bool:
        """Poll as soon as the server allows, and once more if a poll is under way; False if that is so already."""
        if self._nudged:
            return False
        self._nudged = True
        self._strategy = self._options.strategy
        if self._loop is not None:
            self._agenda.hurry(self._loop.time())
        self._alarm.ring()
        return True

    def end(self) -> None:
        """Poll no more."""
        self._elapsed = self.stats.elapsed
        self.ended = True
        self.ledger.report_missing()

    @property
    def preparation(self) -> float | None:
        """Seconds from the start in which everything before the first poll must be over; None without a bound.

        A timeout of 0 is one poll, which may take as long as a request may; so may what comes before it.
        """
        timeout = self._options.timeout
        return self._transport.request_timeout if timeout == 0 else timeout

    def start(self) -> float:
        """Start the clock of the wait, unless it runs; the instant at which it was started."""
        self._loop = asyncio.get_running_loop()
        if self._agenda.started is None:
            self._state.start_time = self._loop.time()
            self._agenda.start(self._loop.time())
        return self._state.start_time

    async def step(self) -> None:
        """Wait until it is time, poll once, and take in what comes back.

        Cancelled in any place, it leaves the schedule and all that is known as they were.

        Raises:
            RunflowError: what ends the wait.
        """
        self.start()
        await self._sleep_until_due()
        if self.ended:
            return
        self._nudged = False
        self._sent_at = None
        try:
            reply = await self._poll()
        except RunflowError as error:
            self._after_failure(error)
        else:
            self._after_answer(reply)
        if self._nudged:
            self._agenda.hurry(self._now())

    async def _poll(self) -> Reply:
        try:
            reply = await self._transport.get(
                self._transport.url(batch_path(self._batch_id)),
                sent=self._count_request,
                limit=self._attempt_limit(),
                longest=self._options.max_outage,
                deadline=self._agenda.deadline,
            )
            self._take(reply)
        except Exception:
            self._failures += self._sent_at is not None
            raise
        except BaseException:
            self._cut += self._sent_at is not None
            raise
        self._polls += 1
        return reply

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _sleep_until_due(self) -> None:
        agenda = self._agenda
        while not agenda.is_over(self._now()):
            if agenda.is_due(self._now()):
                return
            await self._alarm.sleep_until(min(agenda.due, agenda.limit))
        if self.ledger.is_terminal:
            self.end()
        elif not agenda.is_due(self._now()) or agenda.deadline <= self._now() + SLACK:
            raise self._limit_error()

    def _attempt_limit(self) -> float:
        # Nobody stepped while the outage's limit went by: the attempt that was due is made all the same.
        return self._agenda.deadline if self._agenda.is_over(self._now()) else self._agenda.limit

    def _take(self, reply: Reply) -> None:
        if self.ledger.is_unchanged(reply.body):
            return
        began = self._now()
        answer = decode_poll(reply.body, self.ledger.warn)
        try:
            check_answer_id(answer.id, self._batch_id, reply.body, self.ledger.warn)
        except MalformedResponseError:
            reply.distrust()
            raise
        self.ledger.take(reply.body, answer, datetime.now(UTC))
        if len(reply.body) > LARGE_BODY:
            stalled = 1000 * (self._now() - began)
            logger.debug("taking in %d bytes held the event loop for %.0f ms", len(reply.body), stalled)

    def _after_answer(self, reply: Reply) -> None:
        now = self._now()
        if self._outage is not None:
            self._outage.recovered(now)
        self._outage = None
        self._agenda.answered(reply.roundtrip)
        self._state.answered(now, self.ledger.tally)
        if self.ledger.is_terminal:
            self._settle(now)
        elif self._options.until is not None and (batch := self.ledger.batch) and _holds(self._options.until, batch):
            self.end()
        else:
            with UserCode("the interval strategy"):
                delay = self._state.delay(self._strategy)
            asked = min(reply.retry_after or 0.0, self._options.max_retry_after)
            self._agenda.plan(now, delay, asked=asked)

    def _settle(self, now: float) -> None:
        delay = self.ledger.next_settling_delay()
        if delay is not None:
            self._agenda.plan(now, delay)
        if delay is None or self._agenda.due == math.inf:
            self.end()

    def _after_failure(self, error: RunflowError) -> None:
        now = self._now()
        if self.ledger.is_terminal:
            logger.debug("batch %s has ended; a poll to settle its items failed: %s", self._batch_id, error)
            if error.verdict is Verdict.FINAL:
                self.end()
            else:
                self._settle(now)
            return
        self._agenda.failed(self._sent_at)
        age = 0.0 if self._first_sent_at is None else now - self._first_sent_at
        outage = self._ongoing_outage(now)
        delay = outage.failed(error, verdict_of(error, self._polls, age), was_sent=self._sent_at is not None)
        asked = getattr(error, "retry_after", None)
        if delay is None or (asked is not None and now + asked > self._agenda.deadline):
            raise error
        if self._agenda.is_over(now):
            raise self._limit_error()
        self._retries += 1
        if asked is not None:
            self._agenda.plan(now, delay, asked=delay)
        elif isinstance(error, NotFoundError) and not self._polls:  # once more just before it becomes final
            self._agenda.plan(now, min(delay, JUST_CREATED_SECONDS - age))
        else:
            self._agenda.plan(now, delay)
        outage.warn_if_lasting(now, error)
        log_failure(f"batch {self._batch_id}", outage.failures, error, self._agenda.next_poll_at - now)

    def _ongoing_outage(self, now: float) -> Outage:
        if self._outage is None:
            self._outage = Outage(
                now,
                subject=f"batch {self._batch_id}",
                retry=self._options.retry,
                max_retry_after=self._options.max_retry_after,
            )
        return self._outage

    def _limit_error(self) -> RunflowError:
        error = self._describe_limit()
        error.__cause__ = self._last_error
        return error

    @property
    def _last_error(self) -> RunflowError | None:
        return None if self._outage is None else self._outage.error

    def _describe_limit(self) -> RunflowError:
        batch, stats = self.ledger.batch, self.stats
        if self._agenda.deadline <= self._agenda.limit:
            if batch is None:
                return WaitTimeoutError(
                    f"batch {self._batch_id} may be still running; nothing was learnt of it in "
                    f"{self._options.timeout} s ({self._last_error}): wait again with a longer timeout",
                    batch_id=self._batch_id,
                    stats=stats,
                )
            return WaitTimeoutError(
                f"batch {self._batch_id} is still running (last seen {batch.status_code!r}) after "
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
        if self._sent_at is None:
            self._sent_at = self._now()
        else:
            self._repeats += 1  # the one before it
        if self._first_sent_at is None:
            self._first_sent_at = self._sent_at


def _holds(until: Callable[[Batch], bool], batch: Batch) -> bool:
    with UserCode("until"):
        verdict = until(batch)
    if verdict is not True and verdict is not False and inspect.isawaitable(verdict):
        if isinstance(verdict, Coroutine):
            verdict.close()
        raise ConfigurationError("until must return True or False, not an awaitable: make it a plain `def`")
    return bool(verdict)
