"""A server that allows L requests per second, and waits that want ten times as many: with and without the shared rate.

Bias first: the server is the project's own emulator, whose limit is a sliding window of one second; real limits differ
in shape and are not documented. The first 10 s, in which the rate is learned, do not count as steady state. After 40 s
the server responds with 503 for 10 s.

Run `python -m benchmarks.throttle [--seconds 75] [--json]`. The server runs in its own process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from contextlib import nullcontext
from typing import Any
from unittest.mock import patch

import aiohttp

from benchmarks.server import running
from runflow_async import RunflowSession
from runflow_async._http.throttle import Throttle
from runflow_async.emulator import Emulator, faults

LIMIT = 50
WANTED = 10 * LIMIT
WAITS = 100
LEARNING = 10.0
OUTAGE_AT = 40.0
OUTAGE = 10.0


async def serve() -> None:
    """Run an emulator with batches that never end, with a period of downtime if requested; print its URL."""
    async with Emulator(rate_limit=LIMIT) as emulator:
        ids = [str(emulator.create_scripted_batch([[(0.0, "running")]])) for _ in range(WAITS)]
        print(json.dumps({"url": emulator.url, "key": emulator.api_key, "ids": ids}), flush=True)
        await asyncio.sleep(OUTAGE_AT)
        emulator.faults.append(faults.status(503, times=float("inf")))
        await asyncio.sleep(OUTAGE)
        emulator.faults.clear()
        await asyncio.Event().wait()


async def measure(place: dict[str, Any], seconds: float) -> dict[str, float]:
    """Poll for a while; return shares of 429 and of L in steady state, and seconds from a 429 to 90 % of the rate."""
    answers: list[tuple[float, int]] = []

    async def note(_session: object, _context: object, parameters: aiohttp.TraceRequestEndParams) -> None:
        answers.append((time.monotonic(), parameters.response.status))

    tracing = aiohttp.TraceConfig()
    tracing.on_request_end.append(note)
    async with (
        aiohttp.ClientSession(trace_configs=[tracing]) as http,
        RunflowSession(place["key"], base_url=place["url"], http=http) as session,
    ):
        started = time.monotonic()
        fleet = session.wait_for_batches(place["ids"], interval=WAITS / WANTED, timeout=None)
        try:
            async with asyncio.timeout(seconds):
                await fleet
        except TimeoutError:
            pass
    down_at = started + OUTAGE_AT
    steady = [(moment, status) for moment, status in answers if started + LEARNING < moment < down_at]
    counts = Counter(status for _, status in steady)
    return {
        "requests_per_s": len(steady) / (min(seconds, OUTAGE_AT) - LEARNING),
        "share_of_429": counts[429] / max(1, len(steady)),
        "share_of_limit_used": counts[200] / (min(seconds, OUTAGE_AT) - LEARNING) / LIMIT,
        "slowest_recovery_s": slowest_recovery([one for one in answers if one[0] < down_at]),
        **after_outage(answers),
    }


def after_outage(answers: list[tuple[float, int]]) -> dict[str, float]:
    """How the rate recovers after the last 503: seconds until 90 % of the limit, and the busiest 100 ms over L."""
    failed = [moment for moment, status in answers if status == 503]  # noqa: PLR2004  # the outage
    if not failed:
        return {}
    over = failed[-1]
    good = [moment - over for moment, status in answers if status == 200 and moment > over]  # noqa: PLR2004  # OK
    back = (m for m in good if m >= 1 and sum(m - 1 < other <= m for other in good) >= 0.9 * LIMIT)
    busiest = max(Counter(int(10 * (moment - over)) for moment, _ in answers if moment > over).values(), default=0)
    return {
        "back_after_outage_s": next(back, float("nan")),
        "peak_after_outage_over_limit": busiest / (LIMIT / 10),
    }


def slowest_recovery(answers: list[tuple[float, int]]) -> float:
    """The longest time from the last 429 of a burst until a second again saw 90 % of the limit's good responses."""
    refused = [moment for moment, status in answers if status == 429]  # noqa: PLR2004  # too many requests
    good = [moment for moment, status in answers if status == 200]  # noqa: PLR2004  # OK
    slowest = 0.0
    for last, following in zip(refused, [*refused[1:], float("inf")], strict=True):
        if following - last < 1:
            continue
        for moment in (moment for moment in good if moment > last + 1):
            if sum(moment - 1 < other <= moment for other in good) >= 0.9 * LIMIT:
                slowest = max(slowest, moment - last)
                break
    return slowest


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=75.0)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return
    results = {}
    for name, paced in (("with the shared pace", True), ("without it", False)):
        # Without a shared rate, no request ever queues for its turn.
        without = nullcontext() if paced else patch.object(Throttle, "is_open", new=True)
        with running("benchmarks.throttle", "--serve") as place, without:
            results[name] = asyncio.run(measure(json.loads(place), options.seconds))
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for name, figures in results.items():
        print(f"{name:<22}" + "  ".join(f"{what} {value:.3g}" for what, value in figures.items()))


if __name__ == "__main__":
    main()
