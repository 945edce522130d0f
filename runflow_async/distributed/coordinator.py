"""The consumer's side of the shards: submits them to Dask, sends them orders, and processes their messages.

Dask decides where a shard runs, and runs it again when its worker has died. This module decides where the shard
resumes.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from distributed import KilledWorker

from runflow_async.distributed.budget import LOAN, Budget
from runflow_async.distributed.channels import Channel
from runflow_async.distributed.messages import (
    Assignment,
    Grant,
    Known,
    News,
    Refused,
    SlowDown,
    Started,
    Stop,
    decode_frame,
    tell_error,
)
from runflow_async.distributed.records import ShardPlan, ShardRecord, choose_moves
from runflow_async.distributed.shard import run_shard
from runflow_async.errors import RunflowError, ShardError, WaitTimeoutError
from runflow_async.models import WaitStats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from distributed import Client

    from runflow_async.distributed.messages import Ended

__all__ = ["Coordinator"]

logger = logging.getLogger("runflow_async")

TICK = 0.5
"""Seconds between messages to every shard, and between checks of how the shards are spread over the workers."""
FAILURES = 3
"""How many times in a row a shard may fail without sending a message in between."""
NOTHING_MORE = b""
"""Ends the receiver. A cancelled request to the queue would wait at the scheduler forever."""
UNWILLING = 60.0
"""How long in seconds to leave a worker alone after Dask placed its shard elsewhere."""
OVERDUE = 5.0
"""Seconds after the deadline before giving up on a shard without a worker."""
FAREWELL = 5.0
"""Seconds that shards get to end after they were asked to."""
UNHEARD = 0.3
"""Seconds for a task that started without our knowing to report in, so that it can be stopped."""
CLEARING = 2.0
"""Seconds that the scheduler gets to forget the shards' queues and tasks."""


class Coordinator:
    """Keeps the shards of one wait running.

    Args:
        client: an asynchronous Dask client.
        plan: the settings that all shards share.
        groups: the batches of each shard.
        deadline: time at which the wait's timeout expires; infinite without one.
        known: returns what is known of a shard's unfinished batches when it starts afresh.
        take: processes news; returns once there is room for more.
        fail: called with the error that ends everything.
    """

    def __init__(
        self,
        client: Client,
        plan: ShardPlan,
        groups: Sequence[Sequence[UUID]],
        *,
        deadline: float,
        known: Callable[[set[UUID]], list[Known]],
        take: Callable[[News], Any],
        fail: Callable[[Exception], None],
    ) -> None:
        self._client: Any = client  # annotated in part
        self._plan = plan
        self._deadline = deadline
        self._known = known
        self._take = take
        self._fail = fail
        self._run = f"runflow-{uuid4().hex[:12]}"
        self._shards = [ShardRecord(number, group) for number, group in enumerate(groups)]
        self._budget = None if plan.max_rate is None else Budget(plan.max_rate, len(groups))
        self._frames: Channel | None = None
        self._receiving: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._stopping = False
        self._unwilling: dict[str, float] = {}

    async def start(self) -> None:
        """Submit all shards."""
        self._frames = await Channel.open(self._client, self._run, most=max(8, 2 * len(self._shards)))
        for shard in self._shards:
            self._submit(shard)
        self._receiving = asyncio.create_task(self._receive(self._frames))
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
            async with asyncio.timeout(FAREWELL):
                await self._say_farewell()
        with suppress(Exception):
            async with asyncio.timeout(CLEARING):
                await self._clear_away()
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.gather(self._receiving, return_exceptions=True)
        with suppress(Exception):
            self._let_go_of_queues()
        self._keeping = self._receiving = None  # their errors hold their frames, and so this object

    def _let_go_of_queues(self) -> None:
        # Without waiting for a response: the scheduler gets the message, however slow it is.
        for shard in self._shards:
            shard.release_orders()
        if self._frames is not None:
            self._frames.close()

    async def _say_farewell(self) -> None:
        running = [shard for shard in self._shards if shard.future is not None]
        queued = [shard.future for shard in running if shard.life is None]
        if queued:
            await self._client.cancel(queued, force=True)
            await asyncio.sleep(UNHEARD)
        await asyncio.gather(*(shard.order(Stop()) for shard in running))
        # The receiver still takes the messages on their way, and ignores them.
        await asyncio.gather(*(_settled(shard.future) for shard in running))

    async def _clear_away(self) -> None:
        await self._client.cancel([shard.future for shard in self._shards if shard.future is not None], force=True)
        await asyncio.gather(*(shard.order(Stop()) for shard in self._shards))
        if self._frames is not None:
            await self._frames.put(NOTHING_MORE)
            if self._receiving is not None:
                await asyncio.gather(self._receiving, return_exceptions=True)

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error if isinstance(error, Exception) else RuntimeError(str(error)))

    def _submit(self, shard: ShardRecord) -> None:
        shard.submissions += 1
        key = f"{self._run}-{shard.number}-{shard.submissions}"
        shard.preferred, shard.moving_to = shard.moving_to, None
        where = {"workers": [shard.preferred], "allow_other_workers": True} if shard.preferred else {}
        shard.future = self._client.submit(
            run_shard,
            self._run,
            shard.number,
            key,
            self._plan.config,
            self._plan.options,
            paced=self._budget is not None,
            key=key,
            pure=False,
            **where,
        )

    async def _receive(self, frames: Channel) -> None:
        while True:
            for message in [await frames.get(), *await frames.get_waiting()]:
                if message == NOTHING_MORE:
                    return
                frame = decode_frame(message)
                shard = self._shards[frame.shard]
                if isinstance(frame, Started):
                    await self._greet(shard, frame)
                elif frame.life == shard.life and not self._stopping:  # else it is from a run that was given up
                    await self._hear(shard, frame)

    async def _greet(self, shard: ShardRecord, started: Started) -> None:
        await shard.close_orders()
        orders = await Channel.open(self._client, f"{self._run}-{started.life}")
        now = asyncio.get_running_loop().time()
        if shard.preferred is not None and shard.preferred != started.worker:
            self._unwilling[shard.preferred] = now + UNWILLING
        shard.life, shard.worker, shard.orders, shard.moving_to = started.life, started.worker, orders, None
        if self._stopping:
            await shard.order(Stop())
            return
        left = max(0.0, self._deadline - now)
        await shard.order(Assignment(self._known(shard.unfinished), left if left < math.inf else None))
        await self._grant_all()

    async def _hear(self, shard: ShardRecord, frame: News | Refused) -> None:
        if isinstance(frame, Refused):
            others = [other for other in self._shards if other is not shard and other.life is not None]
            await asyncio.gather(*(other.order(SlowDown(frame.retry_after)) for other in others))
            return
        if self._budget is not None:
            self._budget.heard(frame.life, frame.grant)
        shard.unfinished.difference_update(ended.batch_id for ended in frame.ended)
        if not shard.unfinished and self._budget is not None:
            self._budget.ended(frame.life)
        shard.failures = 0
        await self._take(frame)

    async def _keep(self) -> None:
        """Renew the grants, resubmit shards that ended too soon, and use workers that have joined."""
        while True:
            await asyncio.sleep(TICK)
            await self._grant_all()
            workers = list(await self._client.nthreads())
            for shard in self._shards:
                if shard.unfinished and (shard.future.status != "pending" or shard.is_stranded(workers)):
                    await self._revive(shard)
            await self._spread(workers)
            await self._end_overdue(workers)

    async def _grant_all(self) -> None:
        alive = {shard.life: shard for shard in self._shards if shard.life is not None and shard.unfinished}
        if self._budget is None:
            await asyncio.gather(*(shard.order(Grant(0, None, LOAN)) for shard in alive.values()))
            return
        weights = {life: len(shard.unfinished) for life, shard in alive.items()}
        loans = self._budget.lend(weights, asyncio.get_running_loop().time())
        await asyncio.gather(*(alive[life].order(Grant(loan.number, loan.rate, LOAN)) for life, loan in loans.items()))

    async def _revive(self, shard: ShardRecord) -> None:
        if shard.future.status == "error":
            error = await shard.future.exception()
            if not isinstance(error, KilledWorker):
                shard.failures += 1
            if isinstance(error, RunflowError) or shard.failures == FAILURES:
                raise ShardError(shard.number, shard.worker, f"{type(error).__name__}: {error}") from error
            logger.info("shard %d failed (%r) and is submitted again", shard.number, error)
        elif shard.future.status == "finished" and shard.life is not None and self._budget is not None:
            self._budget.ended(shard.life)
        await self._client.cancel([shard.future], force=True)
        shard.life = shard.worker = None
        self._submit(shard)

    async def _end_overdue(self, workers: Sequence[str]) -> None:
        """End the waits whose time is up and whose shard has no worker to report that."""
        if asyncio.get_running_loop().time() < self._deadline + OVERDUE:
            return
        for shard in self._shards:
            if shard.unfinished and shard.worker not in workers:
                ended = [self._tell_timeout(batch_id) for batch_id in shard.unfinished]
                shard.unfinished.clear()
                await self._take(News(shard.number, "", 0, [], ended))

    def _tell_timeout(self, batch_id: UUID) -> Ended:
        error = WaitTimeoutError(
            batch_id, self._plan.options.timeout, reason="no worker was waiting for it: add workers"
        )
        return tell_error(batch_id, error, WaitStats())

    async def _spread(self, workers: Sequence[str]) -> None:
        """Move shards from the worker with the most to the one with the fewest, if that balances them."""
        now = asyncio.get_running_loop().time()
        running = [shard for shard in self._shards if shard.worker in workers and shard.unfinished]
        willing = [worker for worker in workers if self._unwilling.get(worker, now) <= now]
        if willing and not any(shard.moving_to for shard in running):
            for shard, worker in choose_moves(running, workers, willing).items():
                shard.moving_to = worker
                await shard.order(Stop())


async def _settled(future: Any) -> None:
    with suppress(Exception):  # its outcome does not matter
        await future
