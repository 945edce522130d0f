"""The end of many waits: one after the other as they end, or all failures together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol, TypeVar

__all__ = ["Completions", "raise_failures"]

Ended = TypeVar("Ended")


class Completable(Protocol[Ended]):
    """Many waits that end one after the other."""

    ended: list[Ended]

    async def settle(self, ended: int | None = None) -> None:
        """Return once so many have ended, by default all."""


class Completions(AsyncIterator[Ended]):
    """The waits of many in the order in which they end.

    Args:
        waits: the many.
        hand_over: called with a wait once the consumer has come back for the next one.
        is_old: whether a wait is not to be given, because an earlier run has given it.
    """

    def __init__(
        self,
        waits: Completable[Ended],
        hand_over: Callable[[Ended], None] = lambda _: None,
        is_old: Callable[[Ended], bool] = lambda _: False,
    ) -> None:
        self._waits = waits
        self._hand_over = hand_over
        self._is_old = is_old
        self._looked_at = 0
        self._given: Ended | None = None

    async def __anext__(self) -> Ended:
        if self._given is not None:
            self._hand_over(self._given)
            self._given = None
        while self._given is None:
            await self._waits.settle(self._looked_at + 1)
            if self._looked_at == len(self._waits.ended):
                raise StopAsyncIteration
            wait = self._waits.ended[self._looked_at]
            self._looked_at += 1
            if not self._is_old(wait):
                self._given = wait
        return self._given


def raise_failures(errors: Sequence[Exception | None]) -> None:
    """Raise the errors of those waits that have one together, if there are any."""
    failures = [error for error in errors if error is not None]
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(errors)} batches failed", failures)
