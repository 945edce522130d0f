"""A server that answers in the order of its queue, with ten times as many polls as it can answer.

Bias first: the server is a model of the worst kind. It has a fixed capacity, never refuses, and also works for clients
that have given up. Every request that waits longer than the client's timeout of one second is lost work. "Without it"
keeps as many requests in flight as the session has connections.

Run `python -m benchmarks.overload [--seconds 60] [--json]`. The server runs in its own process. The first ten
seconds do not count. It prints the share of the server's capacity that became responses in time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import time
from contextlib import nullcontext, suppress
from typing import Any
from unittest.mock import patch
from uuid import UUID

from benchmarks.server import running
from runflow_async import RetryPolicy, RunflowSession
from runflow_async._http.window import Window

CAPACITY = 50
"""Responses per second."""
WAITS = 500
INTERVAL_SECONDS = 1.0
TIMEOUT_SECONDS = 1.0
LEARNING_SECONDS = 10.0


class Server:
    """Answers one request after the other, at its own pace."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[asyncio.StreamWriter, bytes]] = asyncio.Queue()

    async def serve(self) -> None:
        """Print the port, and serve until this is cancelled."""
        server = await asyncio.start_server(self._read, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await self._work()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self._queue.put_nowait((writer, head.split(b" ", 2)[1].rpartition(b"/")[2]))

    async def _work(self) -> None:
        free_at = time.monotonic()
        while True:
            writer, batch_id = await self._queue.get()
            free_at = max(free_at, time.monotonic()) + 1 / CAPACITY
            await asyncio.sleep(free_at - time.monotonic())
            body = b'{"id":"%s","status_code":"running","items":[]}' % batch_id
            if not writer.is_closing():
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


async def measure(port: int, seconds: float) -> dict[str, float]:
    """Poll for a while; return the useful share of the capacity, and the share of polls that failed."""
    async with RunflowSession(
        "rf_bench",
        base_url=f"http://127.0.0.1:{port}",
        request_timeout=TIMEOUT_SECONDS,
        retry=RetryPolicy(wait_initial=INTERVAL_SECONDS, wait_max=INTERVAL_SECONDS),
    ) as session:
        waits = session.wait_for_batches(
            [UUID(int=number) for number in range(WAITS)], interval=INTERVAL_SECONDS, timeout=None, max_outage=3600
        )

        def count(what: str) -> int:
            return sum(getattr(wait.stats, what) for wait in waits.waits.values())

        polling = asyncio.create_task(_exhaust(waits))
        await asyncio.sleep(LEARNING_SECONDS)
        before = count("polls"), count("failures")
        await asyncio.sleep(seconds)
        polls, failures = count("polls") - before[0], count("failures") - before[1]
        polling.cancel()
        return {"useful_share": polls / seconds / CAPACITY, "failed_share": failures / max(1, polls + failures)}


async def _exhaust(waits: Any) -> None:
    async for _ in waits:
        pass


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(Server().serve())
        return
    logging.disable(logging.WARNING)  # each wait reports its outage
    results = {}
    for name, bounded in (("with the window", True), ("without it", False)):
        without = nullcontext() if bounded else patch.object(Window, "overloaded")
        with running("benchmarks.overload", "--serve") as port, without:
            results[name] = asyncio.run(measure(int(port), options.seconds))
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for name, figures in results.items():
        print(f"{name:<17}" + "  ".join(f"{what} {value:.2f}" for what, value in figures.items()))


if __name__ == "__main__":
    main()
