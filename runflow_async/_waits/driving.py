"""An awaitable that can itself be the coroutine of a task, which asyncio drives with `send` and `throw`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["Drive"]

Result = TypeVar("Result")


class Drive(Generic[Result]):
    """One coroutine at a time, in one task. Its owner passes in how it begins, so that this does not refer back to it.

    Args:
        purpose: names the owner in the error that a second task gets.
    """

    __slots__ = ("_coroutine", "_purpose", "_task")

    def __init__(self, purpose: str) -> None:
        self._purpose = purpose
        self._coroutine: Coroutine[Any, Any, Result] | None = None  # None while none has begun
        self._task: asyncio.Task[Any] | None = None  # the one that began it

    def send(self, begin: Callable[[], Coroutine[Any, Any, Result]], value: Any) -> Any:
        """Resume the coroutine, or begin one."""
        coroutine = self._current(begin)
        if coroutine is None:
            raise RuntimeError(f"{self._purpose} is used by two tasks at the same time")
        try:
            return coroutine.send(value)
        except BaseException:
            self._coroutine = self._task = None
            raise

    def throw(self, begin: Callable[[], Coroutine[Any, Any, Result]], *error: Any) -> Any:
        """Raise inside the coroutine."""
        coroutine = self._current(begin)
        if coroutine is None:
            raise error[0]  # the task is not the one that drives
        try:
            return coroutine.throw(*error)
        except BaseException:
            self._coroutine = self._task = None
            raise
        finally:
            del error  # it refers to this frame

    def close(self) -> None:
        """Close the coroutine, if one has begun."""
        if self._coroutine is not None:
            self._coroutine.close()
            self._coroutine = self._task = None

    def _current(self, begin: Callable[[], Coroutine[Any, Any, Result]]) -> Coroutine[Any, Any, Result] | None:
        """Return the coroutine, begun if necessary; None if it belongs to another task."""
        if self._coroutine is None:
            self._coroutine, self._task = begin(), asyncio.current_task()
        return self._coroutine if self._task is asyncio.current_task() else None
