"""The emulator as a command: serves a few example batches until it is interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from functools import partial
from typing import TYPE_CHECKING

from runflow_async.emulator.server import Emulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["serve"]

print_at_once = partial(print, flush=True)  # a pipe would hold it back


async def serve(
    port: int = 8080,
    host: str = "127.0.0.1",
    *,
    seed: int = 0,
    latency: float = 0.0,
    rate_limit: float | None = None,
    show: Callable[[str], object] = print_at_once,
) -> None:
    """Serve until interrupted or cancelled. Show the URL, the key and the ids of three example batches first.

    Callbacks are signed with the environment variable RUNFLOW_CALLBACK_SECRET, if it is set.

    Args:
        port: 0 picks a free one.
        host: anything but loopback exposes the emulator to the network.
        seed: the same seed gives the same key and ids each time.
        latency: delay of every response, in seconds.
        rate_limit: requests accepted within any one second.
        show: called with each line of the introduction.

    Raises:
        OSError: if the port is taken.
    """
    secret = os.environ.get("RUNFLOW_CALLBACK_SECRET") or None
    emulator = Emulator(seed=seed, host=host, port=port, latency=latency, rate_limit=rate_limit, callback_secret=secret)
    stop = _interruption()
    async with emulator:
        for line in _introduction(emulator):
            show(line)
        await stop.wait()


def _interruption() -> asyncio.Event:
    """Return an event that Ctrl-C or SIGTERM sets, even if a shell started this process with SIGINT ignored."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows; a thread, which gets no signals
            loop.add_signal_handler(number, stop.set)
    return stop


def _introduction(emulator: Emulator) -> Iterator[str]:
    yield f"listening on {emulator.url}; Ctrl-C ends it"
    yield f"export RUNFLOW_BASE_URL={emulator.url}"
    yield f"export RUNFLOW_API_KEY={emulator.api_key}"
    yield f"{emulator.create_batch()}  24 items, 10 s, all succeed"
    yield f"{emulator.create_batch(60, 60.0, fail=0.1, cancel=0.05)}  60 items, 60 s, some fail or are canceled"
    yield f"{emulator.create_batch(100, 600.0, stragglers=3)}  100 items, 10 min, 3 stragglers"
