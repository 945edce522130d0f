"""Waits that expect callbacks, compared with waits on the schedule alone: requests, and delay in seeing the end.

Bias first: the batches are those of `benchmarks.schedule`, seed 2. Server and client share a process and its event
loop, each batch is waited for twice at the same time, and the signed callbacks go to a `callback_application` over
loopback. The loop's time runs `--speed` times as fast as real time, so that an hour takes less. Sockets and the CPU do
not run faster, so each millisecond that they take counts as that many.

Run `python -m benchmarks.callbacks [--waits 1000] [--longest 3600] [--speed 4] [--json]`. It takes as long as the
longest batch, divided by the speed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import selectors
import statistics
from typing import TYPE_CHECKING, Any

from aiohttp import web

from benchmarks.schedule import LONGEST, UNSEEN, Trace, draw_traces
from runflow_async import RunflowSession
from runflow_async.callbacks import callback_application
from runflow_async.emulator import Emulator

if TYPE_CHECKING:
    from uuid import UUID

    from runflow_async import BatchesWait

SECRET = "a secret of nobody"  # noqa: S105  # used in this run only
DRAWN_PER_WAIT = 3


class FastSelector(selectors.DefaultSelector):
    """Waits only a fraction of the requested time."""

    def __init__(self, speed: float) -> None:
        super().__init__()
        self._speed = speed

    def select(self, timeout: float | None = None) -> Any:
        """Select with a shorter timeout."""
        return super().select(timeout and timeout / self._speed)


class FastLoop(asyncio.SelectorEventLoop):
    """An event loop whose time runs faster than the clock, over real sockets."""

    def __init__(self, speed: float) -> None:
        super().__init__(FastSelector(speed))
        self._speed = speed

    def time(self) -> float:
        """The time of a clock that runs fast, in seconds."""
        return super().time() * self._speed


def draw_scripts(waits: int, longest: float) -> list[list[list[tuple[float, str]]]]:
    """Draw this many timelines; batches that are too long are skipped."""
    traces = [t for t in draw_traces(UNSEEN, DRAWN_PER_WAIT * waits) if _end(t) <= longest]
    return [
        [[(0.0, "queued"), (start, "running"), (end, "succeeded")] for start, end in trace.items]
        for trace in traces[:waits]
    ]


def _end(trace: Trace) -> float:
    return max(end for _, end in trace.items)


async def follow(waits: BatchesWait, ends: dict[UUID, float]) -> dict[str, float]:
    """Await all batches, and sum up requests and delays in seconds."""
    late = []
    async for wait in waits.as_completed():
        wait.result()
        late.append(asyncio.get_running_loop().time() - ends[wait.batch_id])
    return {
        "requests": sum(wait.stats.requests for wait in waits.waits.values()),
        "late_mean": statistics.fmean(late),
        "late_p95": statistics.quantiles(late, n=20)[-1],
        "late_worst": max(late),
    }


async def measure(waits: int, longest: float) -> dict[str, dict[str, float]]:
    """Wait for the same batches with and without callbacks."""
    loop = asyncio.get_running_loop()
    async with (
        Emulator(callback_secret=SECRET) as emulator,
        RunflowSession(emulator.api_key, base_url=emulator.url) as called,
        RunflowSession(emulator.api_key, base_url=emulator.url) as alone,
    ):
        runner = web.AppRunner(callback_application(called, SECRET), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        ends = {}
        for script in draw_scripts(waits, longest):
            batch_id = emulator.create_scripted_batch(script, callback_url=f"http://{host}:{port}/")
            ends[batch_id] = loop.time() + max(timeline[-1][0] for timeline in script)
        with_callbacks, without = await asyncio.gather(
            follow(called.wait_for_batches(ends, timeout=None, expect_callback=True), ends),
            follow(alone.wait_for_batches(ends, timeout=None), ends),
        )
        await runner.cleanup()
    return {"with callbacks": with_callbacks, "schedule alone": without}


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waits", type=int, default=1000)
    parser.add_argument("--longest", type=float, default=LONGEST, help="seconds of the longest batch")
    parser.add_argument("--speed", type=float, default=4.0, help="seconds of the loop in each real one")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=lambda: FastLoop(options.speed)) as runner:
        results = runner.run(measure(options.waits, options.longest))
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for name, figures in results.items():
        print(f"{name:<16}", "  ".join(f"{label} {value:.6g}" for label, value in figures.items()))
    ratio = results["with callbacks"]["requests"] / results["schedule alone"]["requests"]
    print(f"requests: {ratio:.3f} of the schedule's")


if __name__ == "__main__":
    main()
