"""An awaitable as the very coroutine of a task, which asyncio drives with `send` and `throw`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["Drive"]

Result = TypeVar("Result")


class Drive(Generic[Result]):
    """One run at a time, in one task. Whoever owns this hands in how a run begins, so that it does not refer back.

    Args:
        purpose: names the owner in the error that a second task gets.
    """

    __slots__ = ("_coroutine", "_purpose", "_task")

    def __init__(self, purpose: str) -> None:
        self._purpose = purpose
        self._coroutine: Coroutine[Any, Any, Result] | None = None  # None between two runs
        self._task: asyncio.Task[Any] | None = None  # the one that began the run

    def send(self, begin: Callable[[], Coroutine[Any, Any, Result]], value: Any) -> Any:
        """Run on, from the beginning if there is no run."""
        coroutine = self._current(begin)
        if coroutine is None:
            raise RuntimeError(f"{self._purpose} is used by two tasks at the same time")
        try:
            return coroutine.send(value)
        except BaseException:
            self._coroutine = None
            raise

    def throw(self, begin: Callable[[], Coroutine[Any, Any, Result]], *error: Any) -> Any:
        """Raise inside of the run."""
        coroutine = self._current(begin)
        if coroutine is None:
            raise error[0]  # of a task that never got to drive
        try:
            return coroutine.throw(*error)
        except BaseException:
            self._coroutine = None
            raise

    def close(self) -> None:
        """Give up the run, if there is one."""
        if self._coroutine is not None:
            self._coroutine.close()
            self._coroutine = None

    def _current(self, begin: Callable[[], Coroutine[Any, Any, Result]]) -> Coroutine[Any, Any, Result] | None:
        """The run, begun if there is none; None if it is another task's."""
        if self._coroutine is None:
            self._coroutine, self._task = begin(), asyncio.current_task()
        return self._coroutine if self._task is asyncio.current_task() else None
