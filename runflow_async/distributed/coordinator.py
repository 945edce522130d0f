"""The consumer's side of the shards: keeps them running, sends them orders, and processes their reports.

Dask decides where a shard runs, and runs it again when its worker has died. This module decides where the shard
resumes.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from typing import TYPE_CHECKING

from distributed import KilledWorker

from runflow_async.distributed.budget import LOAN_SECONDS, Budget, Loan, NoBudget
from runflow_async.distributed.cluster import Cluster
from runflow_async.distributed.messages import (
    Assignment,
    Ended,
    Grant,
    News,
    Refused,
    SlowDown,
    Started,
    Stop,
    decode_report,
    encode_error,
)
from runflow_async.distributed.records import Consumer, ShardPlan, ShardRecord
from runflow_async.distributed.spreading import Spreading
from runflow_async.errors import RunflowError, ShardError, WaitTimeoutError
from runflow_async.models import WaitStats

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from distributed import Client

__all__ = ["Coordinator"]

logger = logging.getLogger("runflow_async")

TICK_SECONDS = 0.5
"""Time between messages to every shard, and between checks of how the shards are spread over the workers."""
MOST_FAILURES = 3
"""How many times in a row a shard may fail without sending a message in between."""
NOTHING_MORE = b""
"""Ends the receiver. A cancelled request to the queue would wait at the scheduler forever."""
OVERDUE_SECONDS = 5.0
"""Time after the deadline before giving up on a shard without a worker."""
FAREWELL_SECONDS = 5.0
"""How long shards may take to end after they were asked to."""
UNREPORTED_START_SECONDS = 0.3
"""Grace for a task that started without our knowing to report in, so that it can be stopped."""
CLEARING_SECONDS = 2.0
"""How long the scheduler may take to forget the shards' queues and tasks."""


class Coordinator:
    """Keeps the shards of one wait running.

    Args:
        client: an asynchronous Dask client.
        plan: the settings that all shards share.
        groups: the batches of each shard.
        deadline: time at which the wait's timeout expires; infinite without one.
        consumer: gets all news.
    """

    def __init__(
        self,
        client: Client,
        plan: ShardPlan,
        groups: Sequence[Sequence[UUID]],
        *,
        deadline: float,
        consumer: Consumer,
    ) -> None:
        self._timeout = plan.options.timeout
        self._deadline = deadline
        self._consumer = consumer
        self._cluster = Cluster(client, plan)
        self._reports = self._cluster.reports
        self._shards = [ShardRecord(number, group) for number, group in enumerate(groups)]
        self._budget = NoBudget() if plan.max_rate is None else Budget(plan.max_rate, len(groups))
        self._spreading = Spreading()
        self._receiving: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Submit all shards."""
        await self._reports.open(most=max(8, 2 * len(self._shards)))
        for shard in self._shards:
            self._cluster.submit(shard)
        self._receiving = asyncio.create_task(self._receive())
        self._keeping = asyncio.create_task(self._keep())
        for task in (self._receiving, self._keeping):
            task.add_done_callback(self._note_failure)

    async def stop(self) -> None:
        """End all shards. When this returns they have stopped polling, unless their workers cannot be reached."""
        self._stopping = True
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        with suppress(Exception):  # if the scheduler is gone, so are its shards
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._say_farewell()
        with suppress(Exception):
            async with asyncio.timeout(CLEARING_SECONDS):
                await self._clear_away()
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.gather(self._receiving, return_exceptions=True)
        with suppress(Exception):
            self._close_queues()
        self._keeping = self._receiving = None  # their errors hold their tracebacks, and so this object

    def _close_queues(self) -> None:
        # Without waiting for a response: the scheduler gets the message, however slow it is.
        for shard in self._shards:
            shard.release_orders()
        self._reports.close()

    async def _say_farewell(self) -> None:
        running = [shard for shard in self._shards if shard.future is not None]
        queued = [shard for shard in running if shard.run is None]
        if queued:
            await self._cluster.cancel(queued)
            await asyncio.sleep(UNREPORTED_START_SECONDS)
        await asyncio.gather(*(shard.order(Stop()) for shard in running))
        # The receiver still takes the messages on their way, and ignores them.
        await asyncio.gather(*(shard.settled() for shard in running))

    async def _clear_away(self) -> None:
        await self._cluster.cancel(self._shards)
        await asyncio.gather(*(shard.order(Stop()) for shard in self._shards))
        await self._reports.put(NOTHING_MORE)
        if self._receiving is not None:
            await asyncio.gather(self._receiving, return_exceptions=True)

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._consumer.fail(error if isinstance(error, Exception) else RuntimeError(str(error)))

    async def _receive(self) -> None:
        while True:
            for message in [await self._reports.get(), *await self._reports.get_waiting()]:
                if message == NOTHING_MORE:
                    return
                report = decode_report(message)
                shard = self._shards[report.shard]
                if isinstance(report, Started):
                    await self._greet(shard, report)
                elif report.run == shard.run and not self._stopping:  # else it is from a run that was given up
                    await self._process(shard, report)

    async def _greet(self, shard: ShardRecord, started: Started) -> None:
        await shard.close_orders()
        orders = self._cluster.orders(started.run)
        await orders.open()
        now = self._now()
        self._spreading.placed(shard, started.worker, now)
        shard.run, shard.worker, shard.orders, shard.moving_to = started.run, started.worker, orders, None
        if self._stopping:
            await shard.order(Stop())
            return
        left = max(0.0, self._deadline - now)
        await shard.order(Assignment(self._consumer.known(shard.unfinished), left if left < math.inf else None))
        await self._grant_all()

    async def _process(self, shard: ShardRecord, report: News | Refused) -> None:
        if isinstance(report, Refused):
            others = [other for other in self._shards if other is not shard and other.run is not None]
            await asyncio.gather(*(other.order(SlowDown(report.retry_after)) for other in others))
            return
        self._budget.confirm(report.run, report.grant)
        shard.unfinished.difference_update(ended.batch_id for ended in report.ended)
        if not shard.unfinished:
            self._budget.release(report.run)
        shard.failures = 0
        await self._consumer.take(report)

    async def _keep(self) -> None:
        """Renew the grants, resubmit shards that ended too soon, and use workers that have joined."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            await self._grant_all()
            workers = await self._cluster.workers()
            for shard in self._shards:
                if shard.unfinished and (shard.future.status != "pending" or shard.is_stranded(workers)):
                    await self._revive(shard)
            for shard, worker in self._spreading.moves(self._shards, workers, self._now()).items():
                shard.moving_to = worker
                await shard.order(Stop())
            if self._now() >= self._deadline + OVERDUE_SECONDS:
                await self._end_overdue(workers)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _grant_all(self) -> None:
        alive = {shard.run: shard for shard in self._shards if shard.run is not None and shard.unfinished}
        loans = self._budget.lend({run: len(shard.unfinished) for run, shard in alive.items()}, self._now())
        await asyncio.gather(*(alive[run].order(_grant(loan)) for run, loan in loans.items()))

    async def _revive(self, shard: ShardRecord) -> None:
        if shard.future.status == "error":
            error = await shard.future.exception()
            if not isinstance(error, KilledWorker):
                shard.failures += 1
            if isinstance(error, RunflowError) or shard.failures == MOST_FAILURES:
                raise ShardError(shard.number, shard.worker, f"{type(error).__name__}: {error}") from error
            logger.info("shard %d failed (%r) and is submitted again", shard.number, error)
        elif shard.future.status == "finished" and shard.run is not None:
            self._budget.release(shard.run)
        await self._cluster.cancel([shard])
        shard.run = shard.worker = None
        self._cluster.submit(shard)

    async def _end_overdue(self, workers: Sequence[str]) -> None:
        """End the waits whose shard has no worker to report that their time is up."""
        for shard in self._shards:
            if shard.unfinished and shard.worker not in workers:
                ended = [self._timed_out(batch_id) for batch_id in shard.unfinished]
                shard.unfinished.clear()
                await self._consumer.take(News(shard.number, "", 0, [], ended))

    def _timed_out(self, batch_id: UUID) -> Ended:
        error = WaitTimeoutError(batch_id, self._timeout, reason="no worker was waiting for it: add workers")
        return encode_error(batch_id, error, WaitStats())


def _grant(loan: Loan) -> Grant:
    return Grant(loan.number, loan.rate if loan.rate < math.inf else None, LOAN_SECONDS)
