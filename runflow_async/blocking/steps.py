"""What waits and results without asyncio have in common: they step on the loop's thread, and can be closed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Generic, Self, TypeVar
from weakref import finalize

import runflow_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from runflow_async._portal import Portal

__all__ = ["Closing", "Steps"]

T = TypeVar("T")
Face = TypeVar("Face", "runflow_async.BatchWait", "runflow_async.BatchesWait", "runflow_async.BatchResults")


class Steps(Iterator[T]):
    """An asynchronous iterator, step by step. What arrived when Ctrl-C did is kept for the next step."""

    def __init__(self, portal: Portal, source: AsyncIterator[T]) -> None:
        self._portal = portal
        self._held = [source]
        self._kept: list[T] = []
        finalize(self, portal.drop, self._held).atexit = False

    def __next__(self) -> T:
        if not self._kept and not self._portal.run(self._step):
            raise StopIteration
        return self._kept.pop()

    async def _step(self) -> bool:
        try:
            self._kept.append(await anext(self._held[0]))
        except StopAsyncIteration:
            return False
        return True


class Closing(Iterator[T], Generic[Face, T]):
    """What a wait and results have in common."""

    def __init__(self, portal: Portal, inner: Face, steps: Steps[T]) -> None:
        self._portal = portal
        self._held: list[Face] = [inner]
        self._steps = steps
        finalize(self, portal.drop, self._held).atexit = False

    @property
    def _inner(self) -> Face:
        return self._held[0]

    def __repr__(self) -> str:
        return self._portal.look(self._inner.__repr__)

    def __next__(self) -> T:
        return next(self._steps)

    def close(self) -> None:
        """End it for good. A thread that waits in it leaves first; afterwards iteration is over."""
        try:
            self._portal.run(self._inner.aclose)
        except runflow_async.SessionClosedError:
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
