"""Checkpoints in Redis, shared by any number of workers. Copy `write_behind.py` beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from write_behind import WriteBehind

from runflow_async import BatchItemHandle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from redis.asyncio import Redis

    from runflow_async import ItemTransition

SECONDS_KEPT = 30 * 24 * 3600


class RedisCheckpoint(WriteBehind):
    """Two hashes for each batch. HSETNX keeps the first end of an item, whoever writes last."""

    def __init__(self, redis: Redis) -> None:
        super().__init__()
        self._redis = redis

    async def read(self, batch_id: UUID) -> Sequence[BatchItemHandle]:
        """Return the items, at their end if they have one."""
        async with self._redis.pipeline() as pipeline:
            pipeline.hgetall(f"runflow:{batch_id}:open")
            pipeline.hgetall(f"runflow:{batch_id}:ended")
            unfinished, ended = await pipeline.execute()
        return [msgspec.json.decode(item, type=BatchItemHandle) for item in (unfinished | ended).values()]

    async def write(self, transitions: Sequence[ItemTransition]) -> None:
        """Write all in one transaction."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            for transition in transitions:
                state = "ended" if transition.is_terminal else "open"
                key = f"runflow:{transition.batch_id}:{state}"
                put = pipeline.hsetnx if transition.is_terminal else pipeline.hset
                put(key, str(transition.item.id), msgspec.json.encode(transition.item))
                pipeline.expire(key, SECONDS_KEPT)
            await pipeline.execute()
