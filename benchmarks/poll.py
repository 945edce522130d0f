"""The cost of one poll of a 100-item, 23 kB response, compared with a bare aiohttp GET and with common alternatives.

Ours is also measured through an aiohttp session of the caller's own (`http=`), and on uvloop if that is installed.

Bias first: the server is ours and responds at once with prepared bytes. All contenders poll sequentially on one
connection. They do different work with the response: the floor discards it, the others make typed objects of it.

Run `python -m benchmarks.poll [--json]`. All contenders run in one process, a few polls of each in turn, so that a busy
machine slows all of them alike. The figures are medians over the rounds: microseconds of CPU time per poll in the
client, and polls per second. Ratios are medians of the ratios within a round.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import time
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import aiohttp

from benchmarks.server import BATCH_ID, serving
from runflow_async import RunflowSession

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

FLOOR = "aiohttp, bare"
OPENAI = "AsyncOpenAI.batches.retrieve"
POLLS = 50
"""Polls of a contender in each round."""
ROUNDS = 60
WARM_UP = 5
"""Rounds that are not counted."""

Block = "Callable[[], Awaitable[object]]"
"""Makes that many polls."""


def each(poll: Callable[[], Awaitable[object]]) -> Block:
    """Poll one time after the other."""

    async def block() -> None:
        for _ in range(POLLS):
            await poll()

    return block


@asynccontextmanager
async def bare(url: str) -> AsyncIterator[Block]:
    """Send a GET and read its body, nothing else."""
    target = f"{url}/same/v1/batches/{BATCH_ID}"
    async with aiohttp.ClientSession() as http:

        async def poll() -> bytes:
            async with http.get(target) as response:
                return await response.read()

        yield each(poll)


@asynccontextmanager
async def ours(url: str, http: aiohttp.ClientSession | None = None) -> AsyncIterator[Block]:
    """Iterate a wait whose strategy asks for a pause after the last poll of a block; a nudge starts the next block."""
    paused = asyncio.Event()
    polls = 0

    def pause_after_a_block(_: object) -> float:
        nonlocal polls
        polls += 1
        if polls % POLLS:
            return 0.0
        paused.set()
        return 1e6

    async with RunflowSession("rf_bench", base_url=url, http=http) as session:

        async def follow() -> None:
            async for _ in session.wait_for_batch(BATCH_ID, interval=pause_after_a_block, timeout=None):
                pass

        async def block() -> None:
            paused.clear()
            session.nudge(BATCH_ID)
            await paused.wait()

        task = asyncio.create_task(follow())
        await paused.wait()
        yield block
        task.cancel()


@asynccontextmanager
async def ours_through_http(url: str) -> AsyncIterator[Block]:
    """The same through a session of the caller's own."""
    async with aiohttp.ClientSession() as http, ours(url, http) as block:
        yield block


@asynccontextmanager
async def openai(url: str) -> AsyncIterator[Block]:
    """Call `AsyncOpenAI.batches.retrieve`, the polling call of a well-known SDK."""
    from openai import AsyncOpenAI  # noqa: PLC0415  # the documentation loads this module without it

    async with AsyncOpenAI(api_key="k", base_url=f"{url}/same", max_retries=0) as client:
        yield each(lambda: client.batches.retrieve(BATCH_ID))


@asynccontextmanager
async def httpx_pydantic(url: str) -> AsyncIterator[Block]:
    """Use httpx and pydantic models, the usual home-made client."""
    import httpx  # noqa: PLC0415  # the documentation loads this module without it

    from benchmarks.decode import decoder_of  # noqa: PLC0415  # likewise

    validate = decoder_of("pydantic")
    async with httpx.AsyncClient() as client:

        async def poll() -> Any:
            response = await client.get(f"{url}/same/v1/batches/{BATCH_ID}")
            return validate(response.content)

        yield each(poll)


CONTENDERS = {
    FLOOR: bare,
    "ours, unchanged": lambda url: ours(f"{url}/same"),
    "ours, unchanged, http=": lambda url: ours_through_http(f"{url}/same"),
    "ours, one item changed": lambda url: ours(f"{url}/changing"),
    "httpx + pydantic": httpx_pydantic,
    OPENAI: openai,
}


async def measure(url: str) -> list[dict[str, tuple[float, float]]]:
    """Return microseconds of CPU and of time per poll, for each contender in each round."""
    rounds = []
    async with AsyncExitStack() as stack:
        blocks = {name: await stack.enter_async_context(contender(url)) for name, contender in CONTENDERS.items()}
        gc.freeze()  # what the contenders have imported costs none of them anything
        for _ in range(WARM_UP + ROUNDS):
            figures = {}
            for name, block in blocks.items():
                cpu, wall = time.process_time_ns(), time.perf_counter_ns()
                await block()
                spent = time.process_time_ns() - cpu, time.perf_counter_ns() - wall
                figures[name] = (spent[0] / POLLS / 1000, spent[1] / POLLS / 1000)
            rounds.append(figures)
    return rounds[WARM_UP:]


def summary(rounds: list[dict[str, tuple[float, float]]]) -> dict[str, dict[str, float]]:
    """Reduce the rounds to medians."""
    return {
        name: {
            "cpu_us": statistics.median(one[name][0] for one in rounds),
            "polls_per_s": 1e6 / statistics.median(one[name][1] for one in rounds),
            "cpu_ratio_to_floor": statistics.median(one[name][0] / one[FLOOR][0] for one in rounds),
            "cpu_ratio_to_openai": statistics.median(one[OPENAI][0] / one[name][0] for one in rounds),
            "speed_ratio_to_openai": statistics.median(one[OPENAI][1] / one[name][1] for one in rounds),
        }
        for name in CONTENDERS
    }


def compare() -> dict[str, dict[str, float]]:
    """Measure on asyncio's event loop, and on uvloop's."""
    with serving() as url:
        results = summary(asyncio.run(measure(url)))
        if find_spec("uvloop") is not None:
            import uvloop  # noqa: PLC0415  # not everywhere

            on_uvloop = summary(uvloop.run(measure(url)))
            results |= {f"{name}, uvloop": figures for name, figures in on_uvloop.items()}
    return results


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    results = compare()
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for name, figures in results.items():
        print(
            f"{name:<37} {figures['cpu_us']:7.0f} us CPU  {figures['cpu_ratio_to_floor']:5.2f} x floor  "
            f"{figures['polls_per_s']:6.0f} polls/s  openai: {figures['cpu_ratio_to_openai']:5.2f} x CPU  "
            f"{figures['speed_ratio_to_openai']:5.2f} x time"
        )


if __name__ == "__main__":
    main()
