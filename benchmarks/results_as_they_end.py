"""The requests for each result as it ends, against those of waiting for the end and then paging.

Bias first: the server is the emulator, whose items are small and never lag behind their batch; time is virtual, and a
round trip takes none. Both contenders follow the same batches of 100 items with the default schedule. "late" is the
time from the end of an item to its result; of those who wait, all results come with the end of the batch.

Run `python -m benchmarks.results_as_they_end [--json]`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
import looptime

from runflow_async import RunflowSession
from runflow_async.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from runflow_async import BatchItem

ITEMS = 100
SEEDS = range(5)
KINDS = {
    "10 s": {"duration": 10.0},
    "1 min": {"duration": 60.0},
    "10 min": {"duration": 600.0},
    "10 min, 2 workers": {"duration": 600.0, "workers": 2},
    "10 min, stragglers": {"duration": 600.0, "stragglers": 5},
    "1 h": {"duration": 3600.0},
    "1 h, failures": {"duration": 3600.0, "fail": 0.2, "cancel": 0.1},
}


class Cost(NamedTuple):
    """What it took to get all results of one batch."""

    requests: float
    kilobytes: float
    late: float


async def as_they_end(session: RunflowSession, batch_id: UUID) -> AsyncIterator[BatchItem]:
    """Each result as it ends."""
    async for item in session.iter_results(batch_id, timeout=None):
        yield item


async def wait_then_page(session: RunflowSession, batch_id: UUID) -> AsyncIterator[BatchItem]:
    """All results at the end."""
    await session.wait_for_batch(batch_id, timeout=None)
    async for item in session.iter_batch_items(batch_id):
        yield item


WAYS = {"as they end": as_they_end, "wait, then page": wait_then_page}


async def follow(way: str, kind: str, seed: int) -> Cost:
    """Get all results of one batch."""
    received = 0

    async def count(_: object, __: object, params: aiohttp.TraceRequestEndParams) -> None:
        nonlocal received
        received += int(params.response.headers["Content-Length"])

    tracing = aiohttp.TraceConfig()
    tracing.on_request_end.append(count)
    async with (
        Emulator(seed=seed) as emulator,
        aiohttp.ClientSession(trace_configs=[tracing]) as http,
        RunflowSession(emulator.api_key, base_url=emulator.url, http=http) as session,
    ):
        batch_id = emulator.create_batch(ITEMS, **KINDS[kind])  # type: ignore[arg-type]
        created, delays = emulator.now(), []
        async for item in WAYS[way](session, batch_id):
            assert item.completed_at is not None and item.created_at is not None  # noqa: S101, PT018
            delays.append(emulator.now() - created - (item.completed_at - item.created_at).total_seconds())
        assert len(delays) == ITEMS  # noqa: S101
        return Cost(len(emulator.requests), received / 1000, statistics.mean(delays))


def measure(way: str, kind: str) -> Cost:
    """Return the means over all seeds, in virtual time."""
    costs = []
    for seed in SEEDS:
        with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
            costs.append(runner.run(follow(way, kind, seed)))
    return Cost(*(round(statistics.mean(values), 2) for values in zip(*costs, strict=True)))


def compare(kind: str) -> dict[str, dict[str, float]]:
    """Measure both ways on the same batches, and how many times as much the first one costs."""
    ours, theirs = (measure(way, kind) for way in WAYS)
    ratio = {name: round(getattr(ours, name) / getattr(theirs, name), 2) for name in ("requests", "kilobytes")}
    return {**{way: cost._asdict() for way, cost in zip(WAYS, (ours, theirs), strict=True)}, "ratio": ratio}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    results = {kind: compare(kind) for kind in KINDS}
    if options.json:
        print(json.dumps(results, indent=2))
        return
    print(f"{'':<36} requests  kilobytes  late, s")
    for kind, ways in results.items():
        for way, cost in ways.items():
            print(f"{kind:<20}{way:<16}", *(f"{value:>9.2f}" for value in cost.values()))


if __name__ == "__main__":
    main()
