"""The same waits on a Dask cluster, for more batches than one process can poll.

    from distributed import Client
    from runflow_async.distributed import SessionConfig, wait_for_batches

    async with Client("tcp://scheduler:8786", asynchronous=True) as client:
        async for transition in wait_for_batches(client, batch_ids, max_rate=200.0):
            ...

The batches are divided into shards, coroutine tasks on the workers' own event loops. Dask decides where they run. When
a worker dies, Dask runs its shards elsewhere, and they continue from what their consumer knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distributed import Client
from distributed.protocol import pickle

from runflow_async._arguments.batches import parse_batch_ids, parse_since_of_many
from runflow_async._arguments.values import check_count, check_rate, check_type
from runflow_async._waits.options import WaitOptions
from runflow_async.distributed.budget import LEAST_RATE
from runflow_async.distributed.config import SessionConfig
from runflow_async.distributed.records import ShardPlan
from runflow_async.distributed.remote import RemoteWait
from runflow_async.distributed.waits import DistributedWait
from runflow_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta
    from uuid import UUID

    from tenacity import RetryCallState
    from tenacity.wait import wait_base

    from runflow_async.models import Batch

__all__ = ["DistributedWait", "RemoteWait", "SessionConfig", "wait_for_batches"]

DEFAULT_SHARDS = 16
"""Enough to use as many workers, and few enough that the consumer hears from each one often."""


def wait_for_batches(
    client: Client,
    batch_ids: Iterable[UUID | str],
    *,
    shards: int | None = None,
    max_rate: float | None = None,
    session: SessionConfig = SessionConfig(),
    timeout: float | timedelta | None = 3600.0,
    interval: float | timedelta | wait_base | Callable[[RetryCallState], float] | None = None,
    max_outage: float | timedelta = 300.0,
    until: Callable[[Batch], bool] | None = None,
    since: Iterable[Batch] = (),
    stalled_after: float | timedelta | None = None,
    end_when_stalled: bool = False,
) -> DistributedWait:
    """Wait for many batches on the workers of a Dask cluster: iterate, await, or iterate `as_completed()`.

    When a worker dies, its shards continue elsewhere from what was delivered; only time is lost. New workers get shards
    from the most loaded ones. A 429 that one shard gets slows all of them.

    Args:
        client: a Dask client with `asynchronous=True`, on this event loop.
        batch_ids: UUIDs or their texts; duplicates share one wait.
        shards: number of groups into which the batches are divided, and so the most workers that take part. The default
            is 16, or fewer if there are fewer batches, or if `max_rate` is too small for that many.
        max_rate: requests per second of all workers together; None means no limit but the one learned from 429.
        session: how the workers create their sessions. It does not contain the key.
        timeout: seconds for the whole wait, from its first step; None means no limit, 0 polls each batch once.
        interval: as for `RunflowSession.wait_for_batches`.
        max_outage: as for `RunflowSession.wait_for_batches`.
        until: as for `RunflowSession.wait_for_batches`; it runs on the workers.
        since: as for `RunflowSession.wait_for_batches`.
        stalled_after: as for `RunflowSession.wait_for_batches`; the warning is logged on the worker.
        end_when_stalled: as for `RunflowSession.wait_for_batches`.

    Raises:
        ConfigurationError: at once, if an argument is invalid.

    Awaiting or iterating it raises `ShardError` if a shard cannot run at all, for example without a key. If any wait
    failed, it raises an `ExceptionGroup` of their errors at the end.
    """
    if not isinstance(client, Client) or not client.asynchronous:
        raise ConfigurationError("client must be a dask.distributed.Client made with asynchronous=True")
    if client.status not in ("running", "connecting"):
        raise ConfigurationError(f"the client is {client.status}: use a connected one, with `async with Client(...)`")
    options = WaitOptions.check(
        timeout=timeout,
        interval=interval,
        max_outage=max_outage,
        until=until,
        stalled_after=stalled_after,
        end_when_stalled=end_when_stalled,
    )
    _check_pickles(interval=interval, until=until)
    plan = ShardPlan(check_type("session", session, SessionConfig), options, check_rate(max_rate))
    order = parse_batch_ids(batch_ids)
    earlier = parse_since_of_many(since)
    return DistributedWait(client, plan, order, _count_shards(shards, len(set(order)), plan.max_rate), earlier)


def _count_shards(shards: int | None, batches: int, max_rate: float | None) -> int:
    if shards is None:
        affordable = DEFAULT_SHARDS if max_rate is None else int(max_rate / (2 * LEAST_RATE))
        return max(1, min(DEFAULT_SHARDS, batches, affordable))
    shards = check_count("shards", shards)
    if max_rate is not None and max_rate < LEAST_RATE * shards:
        raise ConfigurationError(
            f"max_rate={max_rate:g} is too small for {shards} shards, which need {LEAST_RATE:g} requests per second "
            "each: pass fewer shards"
        )
    return shards


def _check_pickles(**arguments: object) -> None:
    for name, value in arguments.items():
        try:
            pickle.dumps(value)  # pyright: ignore[reportUnknownMemberType]  # annotated in part
        except Exception as error:
            raise ConfigurationError(f"{name} cannot be sent to workers: {error}") from error
