"""Requests for one batch that 1, 10 and 50 waits of a session watch, as the tabs of a web page do.

Bias first: the emulator answers at once, and all waits begin at the same moment with the default schedule. Batches of
other lengths, or waits with intervals of their own, give other figures.

Run `python -m benchmarks.watchers [--json]`. It repeats a batch of six seconds and five items in several rounds, over
real sockets, and prints the median of the requests and the CPU time for each watcher.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time

from runflow_async import RunflowSession
from runflow_async.emulator import Emulator

WATCHERS = (1, 10, 50)
ROUNDS = 5


async def watch(watchers: int, seed: int) -> tuple[int, float]:
    """Return the requests, and the seconds of CPU of client and emulator, for one batch."""
    async with (
        Emulator(seed=seed) as emulator,
        RunflowSession(emulator.api_key, base_url=emulator.url) as session,
    ):
        batch_id = emulator.create_batch(items=5, duration=6.0, seed=seed)
        began = time.process_time()
        await asyncio.gather(*(_exhaust(session, batch_id) for _ in range(watchers)))
        return len(emulator.requests), time.process_time() - began


async def _exhaust(session: RunflowSession, batch_id: object) -> None:
    async for _ in session.wait_for_batch(str(batch_id)):
        pass


async def compare() -> dict[str, dict[str, float]]:
    """Measure all numbers of watchers in turn, for several rounds."""
    rounds = [[await watch(watchers, seed) for watchers in WATCHERS] for seed in range(ROUNDS)]
    figures = {}
    for number, watchers in enumerate(WATCHERS):
        figures[str(watchers)] = {
            "requests": statistics.median(one[number][0] for one in rounds),
            "requests_ratio_to_one": statistics.median(one[number][0] / one[0][0] for one in rounds),
            "cpu_ms_per_watcher": 1000 * statistics.median(one[number][1] for one in rounds) / watchers,
        }
    return figures


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    results = asyncio.run(compare())
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for watchers, figures in results.items():
        requests, ratio, cpu = figures["requests"], figures["requests_ratio_to_one"], figures["cpu_ms_per_watcher"]
        print(f"{watchers:>3} watchers  {requests:5.0f} requests  {ratio:5.2f} x one  {cpu:6.1f} ms CPU each")


if __name__ == "__main__":
    main()
