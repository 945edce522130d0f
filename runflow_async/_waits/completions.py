"""Many waits one after the other, as they end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

__all__ = ["Completions"]

Wait = TypeVar("Wait")


class Completions(AsyncIterator[Wait]):
    """The waits of many in the order in which they end.

    Args:
        ended: those that have ended; it grows.
        settle: returns once so many have ended, or all.
        hand_over: called with a wait once the consumer has come back for the next one.
        is_old: whether a wait is not to be given, because an earlier run has given it.
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
