"""Sleep until an instant, or until somebody rings."""

from __future__ import annotations

import asyncio
import math

__all__ = ["Alarm"]


class Alarm:
    """Wakes the one task that sleeps on it. If nobody sleeps, a ring is lost."""

    __slots__ = ("_sleeper",)

    def __init__(self) -> None:
        self._sleeper: asyncio.Future[None] | None = None

    async def sleep_until(self, instant: float) -> None:
        """Return at an instant on the event loop's clock, or at a ring; an infinite instant waits for a ring alone."""
        loop = asyncio.get_running_loop()
        self._sleeper = sleeper = loop.create_future()
        timer = loop.call_at(instant, self.ring) if instant < math.inf else None
        try:
            await sleeper
        finally:
            self._sleeper = None
            if timer is not None:
                timer.cancel()

    def ring(self) -> None:
        """Wake the task that sleeps."""
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)
