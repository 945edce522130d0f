"""Thousands of waits in one process: memory per wait, CPU per poll, event-loop lag, spread of the first polls.

Bias first: the server is ours and responds at once with prepared bytes (100 items, 23 kB, always the same). Every wait
is polled at a fixed interval, so that all sizes make about 1,000 polls per second if the machine allows it.

Run `python -m benchmarks.fleet --waits 100 1000 10000 [--json]`. Each size runs in its own process.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any
from uuid import UUID

from benchmarks.decode import make_body
from runflow_async import RunflowSession, wait_adaptive
from runflow_async._http.lane import Lane  # noqa: F401  # loaded before memory is measured

TICK = 0.005
POLLS_PER_SECOND = 1000.0
FIRST = str(UUID(int=2**100)).encode()


def rss_kib() -> float:
    """Return the current resident memory of this process, in KiB."""
    with open("/proc/self/statm") as statm:  # noqa: PTH123  # not a file that pathlib would help with
        return int(statm.read().split()[1]) * resource.getpagesize() / 1024


async def serve_each_its_own() -> tuple[asyncio.Server, str]:
    """A server on this loop: every batch gets the canned response with its own id."""
    body = make_body()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    class Canned(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            for request in data.split(b"\r\n\r\n")[:-1]:
                asked = request.split(b" ", 2)[1].rpartition(b"/")[2]
                self.transport.write(head + body.replace(FIRST, asked, 1))

    server = await asyncio.get_running_loop().create_server(Canned, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def run_server() -> None:
    """Print the URL, then serve until killed."""
    server, url = await serve_each_its_own()
    print(url, flush=True)
    await server.serve_forever()


async def watch_lag(lags: list[float]) -> None:
    """Record how late each tick of the loop is, in milliseconds."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + TICK
        await asyncio.sleep(TICK)
        lags.append(1000 * (loop.time() - due))


async def measure(url: str, waits: int, seconds: float) -> dict[str, float]:
    """Run this many waits for this long, after each one was polled once."""
    async with RunflowSession("rf_bench", base_url=url, request_timeout=120.0) as session:
        await session.get_batch(UUID(int=5))
        gc.collect()
        before = rss_kib()
        interval = max(0.2, waits / POLLS_PER_SECOND)
        strategy = wait_adaptive(min=interval, max=interval)
        fleet = session.wait_for_batches([UUID(int=n + 1) for n in range(waits)], interval=strategy, timeout=None)
        task = asyncio.ensure_future(fleet)
        firsts: list[float] = []
        started = time.monotonic()
        while (known := sum(wait.stats.polls > 0 for wait in fleet.waits.values())) < waits:
            firsts.append(known)
            await asyncio.sleep(0.1)
        first_polls = time.monotonic() - started
        steps = [later - earlier for earlier, later in zip([0, *firsts], [*firsts, waits], strict=True)]
        gc.collect()
        memory = (rss_kib() - before) / waits
        lags: list[float] = []
        watcher = asyncio.create_task(watch_lag(lags))
        polls, cpu = sum(wait.stats.polls for wait in fleet.waits.values()), time.process_time()
        started = time.monotonic()
        await asyncio.sleep(seconds)
        cpu, elapsed = time.process_time() - cpu, time.monotonic() - started
        polls = sum(wait.stats.polls for wait in fleet.waits.values()) - polls
        watcher.cancel()
        task.cancel()
        await asyncio.gather(task, watcher, return_exceptions=True)
    lags.sort()
    return {
        "waits": waits,
        "kib_per_wait": memory,
        "cpu_us_per_poll": cpu / polls * 1e6,
        "polls_per_s": polls / elapsed,
        "lag_p50_ms": statistics.median(lags),
        "lag_p99_ms": lags[int(len(lags) * 0.99)],
        "first_polls_s": first_polls,
        "first_polls_peak_per_100_ms": max(steps),
    }


def measure_apart(waits: int, seconds: float) -> dict[str, float]:
    """Measure in a separate process, against a server in another one."""
    command = [sys.executable, "-m", "benchmarks.fleet"]
    with subprocess.Popen([*command, "--serve"], stdout=subprocess.PIPE, text=True) as server:  # noqa: S603  # ourselves
        assert server.stdout is not None  # noqa: S101  # asked for
        url = server.stdout.readline().strip()
        try:
            run = subprocess.run(  # noqa: S603  # ourselves
                [*command, "--url", url, "--waits", str(waits), "--seconds", str(seconds)],
                check=True,
                capture_output=True,
                text=True,
            )
        finally:
            server.terminate()
    measured: dict[str, float] = json.loads(run.stdout)
    return measured


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waits", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--seconds", type=float, default=15.0, help="length of the measurement, for each size")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(run_server())
    elif options.url:
        print(json.dumps(asyncio.run(measure(options.url, options.waits[0], options.seconds))))
    else:
        results = [measure_apart(waits, options.seconds) for waits in options.waits]
        if options.json:
            print(json.dumps(results, indent=2))
            return
        for figures in results:
            print("  ".join(f"{name} {value:.4g}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
