"""Time as a process experiences it: what it spent waiting for a processor does not count.

On a busy machine every timer is late and every answer slow, through nobody's fault. On this clock they are not.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["given_time", "lateness"]

STATISTICS = "/proc/thread-self/schedstat"
"""Where Linux counts the nanoseconds that a thread ran, and those that it was ready to run but had no processor."""


class _Clock:
    """The clock of one thread; where nothing is counted, the monotonic one."""

    def __init__(self) -> None:
        self._latest = 0.0
        try:
            self._statistics = os.open(STATISTICS, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._statistics = -1

    def __del__(self) -> None:
        if self._statistics >= 0:
            os.close(self._statistics)

    def time(self) -> float:
        now = time.monotonic()
        if self._statistics >= 0:
            now -= int(os.pread(self._statistics, 64, 0).split()[1]) / 1e9
        # A wait between the two readings would turn the clock back.
        self._latest = max(self._latest, now)
        return self._latest


class _Clocks(threading.local):
    def __init__(self) -> None:
        self.own = _Clock()


_clocks = _Clocks()


def given_time(_loop: object = None) -> float:
    """Seconds on the monotonic clock, less those that this thread waited for a processor; to stand for `loop.time`."""
    return _clocks.own.time()


async def lateness(ended: Awaitable[object], seconds: float) -> float:
    """How many seconds later than a bare timeout of this length, on the same loop, it ends; less than 0 is too early.

    Args:
        ended: returns once that has ended which is to take so long; it is not begun before.
        seconds: how long it is to take.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    control = asyncio.create_task(_time_out(deadline))
    try:
        await ended
        now = loop.time()
        return now - (await control if now >= deadline else deadline)
    finally:
        control.cancel()


async def _time_out(deadline: float) -> float:
    loop = asyncio.get_running_loop()
    with suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):
            await loop.create_future()
    return loop.time()
