"""Which shards should move to which workers, so that all workers have equally many. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runflow_async.distributed.records import ShardRecord

__all__ = ["Spreading", "choose_moves"]

UNWILLING_SECONDS = 60.0
"""How long to leave a worker alone after Dask placed its shard elsewhere."""


class Spreading:
    """Remembers which workers Dask passed over."""

    def __init__(self) -> None:
        self._unwilling: dict[str, float] = {}

    def placed(self, shard: ShardRecord, worker: str, now: float) -> None:
        """Note where Dask has placed a shard."""
        if shard.preferred is not None and shard.preferred != worker:
            self._unwilling[shard.preferred] = now + UNWILLING_SECONDS

    def moves(self, shards: Sequence[ShardRecord], workers: Sequence[str], now: float) -> dict[ShardRecord, str]:
        """Return the shards to move now, each with its new worker; none while others are moving."""
        running = [shard for shard in shards if shard.worker in workers and shard.unfinished]
        willing = [worker for worker in workers if self._unwilling.get(worker, now) <= now]
        if not willing or any(shard.moving_to for shard in running):
            return {}
        return choose_moves(running, workers, willing)


def choose_moves(
    running: Sequence[ShardRecord], workers: Sequence[str], willing: Sequence[str]
) -> dict[ShardRecord, str]:
    """Return the shards to move from the worker with the most to the willing one with the fewest."""
    counts = Counter(dict.fromkeys(workers, 0))
    counts.update(shard.worker for shard in running if shard.worker)
    most, highest = counts.most_common(1)[0]
    fewest = min(willing, key=counts.__getitem__)
    # Send an idle worker one shard first: it may be busy with other tasks.
    count = (highest - counts[fewest]) // 2 if counts[fewest] else min(1, highest // 2)
    return dict.fromkeys([shard for shard in running if shard.worker == most][:count], fewest)
