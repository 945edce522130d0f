"""`as_completed()`: many waits, one after the other, as they end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

__all__ = ["Completions"]

Wait = TypeVar("Wait")


class Completions(AsyncIterator[Wait]):
    """Many waits in the order in which they end.

    Args:
        ended: the waits that have ended so far; it grows.
        settle: returns once this many have ended, or all.
        hand_over: called with a wait when the consumer comes back for the next one.
        is_old: whether to skip a wait, because an earlier process has handed it over.
    """

    def __init__(
        self,
        ended: Sequence[Wait],
        settle: Callable[[int], Awaitable[None]],
        hand_over: Callable[[Wait], None],
        is_old: Callable[[Wait], bool],
    ) -> None:
        self._ended = ended
        self._settle = settle
        self._hand_over = hand_over
        self._is_old = is_old
        self._looked_at = 0
        self._given: Wait | None = None

    async def __anext__(self) -> Wait:
        if self._given is not None:
            self._hand_over(self._given)
            self._given = None
        while self._given is None:
            await self._settle(self._looked_at + 1)
            if self._looked_at == len(self._ended):
                raise StopAsyncIteration
            wait = self._ended[self._looked_at]
            self._looked_at += 1
            if not self._is_old(wait):
                self._given = wait
        return self._given
