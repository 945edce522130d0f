"""The cost of one poll of a 100-item, 23 kB response, compared with a bare aiohttp GET and with common alternatives.

Bias first: the server is ours and responds at once with prepared bytes. All contenders poll sequentially on one
connection. They do different work with the response: the floor discards it, the others make typed objects of it.

Run `python -m benchmarks.poll [--json]`. Each contender runs in its own process, all in turn, for several rounds. The
figures are medians over the rounds: microseconds of CPU time per poll in the client, and polls per second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aiohttp

from benchmarks.server import BATCH_ID, serving
from runflow_async import RunflowSession

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FLOOR = "aiohttp, bare"
ROUNDS = 5
POLLS = 1500
WARM_UP = 300


class EnoughPollsError(Exception):
    """All polls were measured."""


class Meter:
    """Counts polls, and stops the clocks of those after the warm-up."""

    def __init__(self) -> None:
        self._polls = 0
        self._cpu = self._wall = 0

    def count(self) -> bool:
        """Count a poll; whether it was the last one."""
        self._polls += 1
        if self._polls in {WARM_UP, WARM_UP + POLLS}:
            self._cpu, self._wall = time.process_time_ns() - self._cpu, time.perf_counter_ns() - self._wall
        return self._polls == WARM_UP + POLLS

    @property
    def figures(self) -> dict[str, float]:
        """CPU microseconds per poll, and polls per second."""
        return {"cpu_us": self._cpu / POLLS / 1000, "polls_per_s": POLLS / (self._wall / 1e9)}


async def meter(poll: Callable[[], Awaitable[Any]]) -> dict[str, float]:
    """Measure polls one after the other."""
    counter = Meter()
    await poll()
    while not counter.count():
        await poll()
    return counter.figures


async def bare(url: str) -> dict[str, float]:
    """Send a GET and read its body, nothing else."""
    target = f"{url}/same/v1/batches/{BATCH_ID}"
    async with aiohttp.ClientSession() as http:

        async def poll() -> bytes:
            async with http.get(target) as response:
                return await response.read()

        return await meter(poll)


async def ours(url: str) -> dict[str, float]:
    """Iterate a wait without pauses; its strategy is asked once after every poll."""
    counter = Meter()

    def no_pause(_: object) -> float:
        if counter.count():
            raise EnoughPollsError
        return 0.0

    async with RunflowSession("rf_bench", base_url=url) as session:
        with suppress(EnoughPollsError):
            async for _ in session.wait_for_batch(BATCH_ID, interval=no_pause):
                pass
    return counter.figures


async def openai(url: str) -> dict[str, float]:
    """Call `AsyncOpenAI.batches.retrieve`, the polling call of a well-known SDK."""
    from openai import AsyncOpenAI  # noqa: PLC0415  # only in this contender's process

    async with AsyncOpenAI(api_key="k", base_url=f"{url}/same", max_retries=0) as client:
        return await meter(lambda: client.batches.retrieve(BATCH_ID))


async def httpx_pydantic(url: str) -> dict[str, float]:
    """Use httpx and pydantic models, the usual home-made client."""
    import httpx  # noqa: PLC0415  # only in this contender's process

    from benchmarks.decode import decoder_of  # noqa: PLC0415  # only in this contender's process

    validate = decoder_of("pydantic")
    async with httpx.AsyncClient() as client:

        async def poll() -> Any:
            response = await client.get(f"{url}/same/v1/batches/{BATCH_ID}")
            return validate(response.content)

        return await meter(poll)


CONTENDERS: dict[str, Callable[[str], Awaitable[dict[str, float]]]] = {
    FLOOR: bare,
    "ours, unchanged": lambda url: ours(f"{url}/same"),
    "ours, one item changed": lambda url: ours(f"{url}/changing"),
    "httpx + pydantic": httpx_pydantic,
    "AsyncOpenAI.batches.retrieve": openai,
}


def measure_apart(contender: str, url: str) -> dict[str, float]:
    """Measure in a separate process."""
    command = [sys.executable, "-m", "benchmarks.poll", "--contender", contender, "--url", url]
    run = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  # ourselves
    measured: dict[str, float] = json.loads(run.stdout)
    return measured


def compare() -> dict[str, Any]:
    """Run all contenders in turn, for several rounds."""
    with serving() as url:
        rounds = [{name: measure_apart(name, url) for name in CONTENDERS} for _ in range(ROUNDS)]
    return {
        name: {
            "cpu_us": statistics.median(one[name]["cpu_us"] for one in rounds),
            "polls_per_s": statistics.median(one[name]["polls_per_s"] for one in rounds),
            "cpu_ratio_to_floor": statistics.median(one[name]["cpu_us"] / one[FLOOR]["cpu_us"] for one in rounds),
            "speed_ratio_to_openai": statistics.median(
                one[name]["polls_per_s"] / one["AsyncOpenAI.batches.retrieve"]["polls_per_s"] for one in rounds
            ),
        }
        for name in CONTENDERS
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(json.dumps(asyncio.run(CONTENDERS[options.contender](options.url))))  # type: ignore[arg-type]
        return
    results = compare()
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for name, figures in results.items():
        print(
            f"{name:<30} {figures['cpu_us']:7.0f} us CPU  {figures['cpu_ratio_to_floor']:5.2f} x floor  "
            f"{figures['polls_per_s']:6.0f} polls/s  {figures['speed_ratio_to_openai']:5.2f} x openai"
        )


if __name__ == "__main__":
    main()
