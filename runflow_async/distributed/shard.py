"""One shard: a coroutine task on a worker's own event loop that waits for its batches and reports to its consumer.

The consumer sends its batches, where to resume and its rate. The shard ends when all batches have ended, when the
consumer asks it to, or when it has not heard from the consumer for too long.
"""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from distributed import get_worker
from distributed.worker_state_machine import SecedeEvent
from msgspec.structs import asdict

from runflow_async.distributed.channels import Channel
from runflow_async.distributed.config import open_session
from runflow_async.distributed.messages import (
    Assignment,
    Grant,
    News,
    Refused,
    SlowDown,
    Started,
    Stop,
    decode_order,
    encode,
    encode_outcome,
)
from runflow_async.models import Batch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runflow_async import BatchesWait, BatchWait
    from runflow_async._waits.options import WaitOptions
    from runflow_async.distributed.config import SessionConfig, ShardSession
    from runflow_async.models import ItemTransition

__all__ = ["Shard", "run_shard"]

REPORT_INTERVAL_SECONDS = 0.05
"""Shortest time between two reports."""
MOST_PENDING = 2_000
"""Number of unsent transitions at which polling stops."""
CONSUMER_TIMEOUT_SECONDS = 30.0
"""Without a message from the consumer for this long, it counts as gone."""
REFUSAL_PAUSE_SECONDS = 0.5
"""Time between two reports of a 429; one that follows sooner is the same refusal."""


async def run_shard(
    queue: str, number: int, key: str, config: SessionConfig, options: WaitOptions, *, paced: bool
) -> None:
    """Run a shard as a Dask task: connect it to its consumer and start it.

    Args:
        queue: name of the queue to the consumer.
        number: number of the shard.
        key: key of this task.
        config: creates the session.
        options: options of the waits.
        paced: whether polling has to wait for a grant.
    """
    worker: Any = get_worker()
    # It waits and hardly computes, so it does not occupy a thread of the worker.
    worker.handle_stimulus(SecedeEvent(key=key, compute_duration=0.01, stimulus_id=f"secede-{time.time()}"))
    run = uuid4().hex
    reports = Reports(Channel(worker.scheduler, queue), number, run)
    orders = Channel(worker.scheduler, f"{queue}-{run}")
    await reports.started(worker.address)
    await orders.open()  # only once there was a consumer, which releases it for us
    async with open_session(config) as session:
        if paced:
            session.throttle.grant(1.0, until=-math.inf)
        await Shard(session, options, reports, orders).run()


class Reports:
    """What a shard sends to its consumer; every call returns once there was room for it.

    Args:
        channel: the queue to the consumer.
        number: number of the shard.
        run: identifies this run of it.
    """

    def __init__(self, channel: Channel, number: int, run: str) -> None:
        self._channel = channel
        self._number = number
        self._run = run

    async def started(self, worker: str) -> None:
        """Report that it runs on this worker."""
        await self._channel.put(encode(Started(self._number, self._run, worker)))

    async def refused(self, retry_after: float | None) -> None:
        """Report a 429."""
        await self._channel.put(encode(Refused(self._number, self._run, retry_after)))

    async def news(self, grant: int, transitions: list[ItemTransition], ended: Iterable[BatchWait]) -> None:
        """Report transitions, ends, and the last grant that was received."""
        outcomes = [encode_outcome(wait) for wait in ended]
        await self._channel.put(encode(News(self._number, self._run, grant, transitions, outcomes)))


class Refusals:
    """The 429s that are worth a report."""

    def __init__(self) -> None:
        self._unreported: asyncio.Queue[float | None] = asyncio.Queue()
        self._noted_at = -math.inf

    def note(self, retry_after: float | None) -> None:
        """Note a 429 with this `Retry-After`."""
        now = asyncio.get_running_loop().time()
        if retry_after is not None or now >= self._noted_at + REFUSAL_PAUSE_SECONDS:
            self._noted_at = now
            self._unreported.put_nowait(retry_after)

    async def next(self) -> float | None:
        """Wait for the next one; return its `Retry-After`."""
        return await self._unreported.get()


class Shard:
    """A running shard.

    Args:
        session: sends the polls.
        options: options of the waits.
        reports: sends to the consumer.
        orders: the queue from the consumer.
    """

    def __init__(self, session: ShardSession, options: WaitOptions, reports: Reports, orders: Channel) -> None:
        self._session = session
        self._options = options
        self._reports = reports
        self._orders = orders
        self._grant = 0
        self._heard_at = 0.0
        self._assigned: asyncio.Future[Assignment] = asyncio.get_running_loop().create_future()
        self._transitions: list[ItemTransition] = []
        self._has_room = asyncio.Event()
        self._refusals = Refusals()

    async def run(self) -> None:
        """Run until there is nothing left to wait for, or no consumer."""
        self._heard_at = self._now()
        self._session.throttle.on_refused = self._refusals.note
        tasks = {
            asyncio.create_task(task) for task in (self._obey(), self._watch(), self._report_refusals(), self._wait())
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _obey(self) -> None:
        throttle = self._session.throttle
        while True:
            order = decode_order(await self._orders.get())
            self._heard_at = now = self._now()
            match order:
                case Assignment():
                    if not self._assigned.done():
                        self._assigned.set_result(order)
                case Grant():
                    self._grant = order.number
                    if order.rate is not None:
                        throttle.grant(order.rate, now + order.seconds)
                case SlowDown():
                    throttle.slow_down(now, now, order.retry_after)
                case Stop():
                    return

    async def _watch(self) -> None:
        """Return once the consumer seems to be gone."""
        silent = 0.0
        while silent < CONSUMER_TIMEOUT_SECONDS:
            await asyncio.sleep(CONSUMER_TIMEOUT_SECONDS - silent)
            silent = self._now() - self._heard_at

    async def _report_refusals(self) -> None:
        while True:
            await self._reports.refused(await self._refusals.next())

    async def _wait(self) -> None:
        order = await self._assigned
        keywords = asdict(self._options)
        keywords["timeout"] = order.timeout
        waits = self._session.wait_for_batches(
            [known.batch_id for known in order.batches],
            **keywords,
            since=[Batch(id=known.batch_id, items=known.items) for known in order.batches if known.items],
        )
        async with waits:
            sending = asyncio.create_task(self._send(waits))
            try:
                with suppress(ExceptionGroup):  # each wait reports its own error
                    async for transitions in waits.batched():
                        self._transitions += transitions
                        if len(self._transitions) >= MOST_PENDING:
                            self._has_room.clear()
                            await self._has_room.wait()
                await sending
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, waits: BatchesWait) -> None:
        """Send news from time to time, until all waits have ended and this was reported."""
        seen = sent_grant = 0
        unreported: list[BatchWait] = []
        while True:
            await asyncio.sleep(REPORT_INTERVAL_SECONDS)
            unreported += waits.ended[seen:]
            seen = len(waits.ended)
            ended = [wait for wait in unreported if not wait.has_pending]
            unreported = [wait for wait in unreported if wait.has_pending]
            transitions, self._transitions = self._transitions, []
            self._has_room.set()
            if transitions or ended or self._grant != sent_grant:
                sent_grant = self._grant
                await self._reports.news(sent_grant, transitions, ended)
            if seen == len(waits.waits) and not unreported and not self._transitions:
                return
