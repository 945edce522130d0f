"""The cost of a transition, delivered one by one and in lists, and the event-loop lag while a million are delivered.

Bias first: the server is ours and responds at once with prepared bytes (100 items, 23 kB); the consumer only counts.
The cost of a transition is what a poll in which all items have changed costs beyond one in which nothing has, divided
by the number of items: decoding, comparing, delivering and iterating, but not the request. The lag is how late the
ticks of a 5 ms timer are while 10,000 batches of 100 items deliver their first snapshots.

Run `python -m benchmarks.stream [--json]`. Each contender runs in its own process, all in turn, for several rounds. The
figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING
from uuid import UUID

from benchmarks.fleet import watch_lag
from benchmarks.server import serving
from runflow_async import RunflowSession

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runflow_async import BatchesWait

ITEMS = 100
BATCHES = 50
POLLS = 4000
WARM_UP = 500
FIRST_SNAPSHOTS = 10_000
ROUNDS = 3
NOTHING = "nothing changed"
WAYS = {"one by one": "flipping", "in lists": "flipping", NOTHING: "same"}
"""Ways to iterate, and the responses that each one gets."""


class EnoughError(Exception):
    """Everything was measured."""


async def count(waits: BatchesWait, way: str, most: float) -> int:
    """Iterate in one of the ways and count the transitions, until there were this many or the waits have failed."""
    counted = 0
    try:
        if way == "in lists":
            async for transitions in waits.batched():
                counted += len(transitions)
                if counted >= most:
                    break
        else:
            async for _ in waits:
                counted += 1
                if counted >= most:
                    break
    except* EnoughError:
        pass
    return counted


async def measure_polls(url: str, way: str) -> dict[str, float]:
    """Poll without pauses, and return the CPU microseconds and the transitions per poll, and transitions per second."""
    polls = 0
    clocks: list[tuple[int, int]] = []

    def no_pause(_: object) -> float:
        nonlocal polls
        polls += 1
        if polls in {WARM_UP, WARM_UP + POLLS}:
            clocks.append((time.process_time_ns(), time.perf_counter_ns()))
        if polls >= WARM_UP + POLLS:
            raise EnoughError
        return 0.0

    async with RunflowSession("rf_bench", base_url=f"{url}/{WAYS[way]}", max_connections=BATCHES) as session:
        ids = [UUID(int=number + 1) for number in range(BATCHES)]
        counted = await count(session.wait_for_batches(ids, interval=no_pause), way, float("inf"))
    cpu, wall = ((after - before) / 1000 for before, after in zip(*clocks, strict=True))
    return {"cpu_us": cpu / POLLS, "transitions": counted / polls, "per_s": 1e6 * counted / polls * POLLS / wall}


async def measure_lag(url: str, way: str) -> dict[str, float]:
    """Deliver the first snapshots of many batches, and return the lag and the CPU time that this takes."""
    lags: list[float] = []
    async with RunflowSession("rf_bench", base_url=f"{url}/same", request_timeout=120.0) as session:
        watcher = asyncio.create_task(watch_lag(lags))
        ids = [UUID(int=number + 1) for number in range(FIRST_SNAPSHOTS)]
        cpu, wall = time.process_time(), time.monotonic()
        async with session.wait_for_batches(ids, interval=3600.0, timeout=None) as waits:
            await count(waits, way, FIRST_SNAPSHOTS * ITEMS)
            cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
    lags.sort()
    return {"p50_ms": statistics.median(lags), "p99_ms": lags[int(len(lags) * 0.99)], "cpu_s": cpu, "wall_s": wall}


MEASURES = {"polls": measure_polls, "lag": measure_lag}


def measure_apart(measure: str, way: str, url: str) -> dict[str, float]:
    """Measure in a separate process."""
    command = [sys.executable, "-m", "benchmarks.stream", "--measure", measure, "--way", way, "--url", url]
    run = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  # ourselves
    measured: dict[str, float] = json.loads(run.stdout)
    return measured


def compare(ways: list[str]) -> dict[str, dict[str, float]]:
    """Run all contenders in turn, for several rounds."""
    with serving() as url:
        rounds = [dict(one_round(ways, url)) for _ in range(ROUNDS)]
    return {way: {name: statistics.median(one[way][name] for one in rounds) for name in rounds[0][way]} for way in ways}


def one_round(ways: list[str], url: str) -> Iterator[tuple[str, dict[str, float]]]:
    """Measure each way once, beside polls that bring nothing."""
    idle = measure_apart("polls", NOTHING, url)["cpu_us"]
    for way in ways:
        polls = measure_apart("polls", way, url)
        cost = (polls["cpu_us"] - idle) / polls["transitions"]
        lag = measure_apart("lag", way, url)
        yield (
            way,
            {"cpu_us_per_transition": cost, "transitions_per_s": polls["per_s"]}
            | {f"first_snapshots_{name}": value for name, value in lag.items()},
        )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--measure", choices=MEASURES, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(asyncio.run(MEASURES[options.measure](options.url, options.way))))
        return
    results = compare([way for way in WAYS if way != NOTHING])
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for way, figures in results.items():
        print(f"{way:<12}", "  ".join(f"{name} {value:.4g}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
