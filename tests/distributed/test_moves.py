"""How shards are spread over workers: pure, from counts."""

from __future__ import annotations

import pytest

from runflow_async.distributed.records import ShardRecord
from runflow_async.distributed.spreading import choose_moves


def shards_on(counts: dict[str, int]) -> list[ShardRecord]:
    shards = []
    for worker, count in counts.items():
        for _ in range(count):
            shard = ShardRecord(len(shards), [])
            shard.worker = worker
            shards.append(shard)
    return shards


@pytest.mark.parametrize(
    ("counts", "willing", "moves", "target"),
    [
        ({"a": 4, "b": 4}, "ab", 0, None),
        ({"a": 4, "b": 3}, "ab", 0, None),
        ({"a": 6, "b": 2}, "ab", 2, "b"),
        ({"a": 8, "b": 0}, "ab", 1, "b"),
        ({"a": 1, "b": 0}, "ab", 0, None),
        ({"a": 6, "b": 1, "c": 3}, "ac", 1, "c"),
        ({"a": 6, "b": 0}, "a", 0, None),
        ({}, "a", 0, None),
    ],
    ids=[
        "even ones stay",
        "one more is even enough",
        "half of the difference moves",
        "one goes ahead to a worker that has none",
        "the last one stays",
        "not to an unwilling one",
        "nowhere but where they are",
        "none",
    ],
)
def test_shards_move_from_the_worker_with_the_most_to_the_one_with_the_fewest(counts, willing, moves, target):
    workers = sorted({*counts, *willing})
    shards = shards_on(counts)
    chosen = choose_moves(shards, workers, list(willing))
    assert [(shard.worker, to) for shard, to in chosen.items()] == [("a", target)] * moves
    assert [shard for shard in shards if shard.moving_to] == [], "choosing alone moves nothing"
