"""The pace that all requests of one session share."""

from __future__ import annotations

import asyncio

__all__ = ["Throttle"]


class Throttle:
    """Spaces requests evenly, in the order in which they ask for their turn.

    Args:
        max_rate: requests per second; None sets no bound.
    """

    def __init__(self, max_rate: float | None) -> None:
        self._spacing = 0.0 if max_rate is None else 1.0 / max_rate
        self._free_at = 0.0

    async def turn(self) -> None:
        """Return when it is this request's turn. A cancelled turn is lost, not given to another."""
        if self._spacing == 0.0:
            return
        now = asyncio.get_running_loop().time()
        start = max(now, self._free_at)
        self._free_at = start + self._spacing
        await asyncio.sleep(start - now)
