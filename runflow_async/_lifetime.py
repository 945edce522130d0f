"""Scopes: parts of a caller's own task that can be ended from outside with one of our errors.

There are no hidden tasks. A scope interrupts the task that runs in it, as `asyncio.timeout` does, and then withdraws
its cancellation.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from runflow_async.errors import RunflowError

__all__ = ["Scope"]


class Scope:
    """A context for one task at a time, which `interrupt` can end.

    Args:
        entered: the scopes that contain a task; this one adds and removes itself.
        purpose: named in the error that a second task gets.
        check_loop: raises RuntimeError on any event loop but the right one.
    """

    __slots__ = ("_cancelling", "_check_loop", "_entered", "_error", "_left", "_purpose", "_task")

    def __init__(self, entered: set[Scope], purpose: str, check_loop: Callable[[], None]) -> None:
        self._check_loop = check_loop
        self._entered = entered
        self._purpose = purpose
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._error: RunflowError | None = None
        self._left: asyncio.Future[None] | None = None

    def check_free(self) -> asyncio.Task[object]:
        """Return the current task if it may enter.

        Raises:
            RuntimeError: if another task is inside, there is no task, or the event loop is another one.
        """
        self._check_loop()
        if self._task is not None:
            raise RuntimeError(f"{self._purpose} is used by two tasks at the same time; give each task one of its own")
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError(f"{self._purpose} must be awaited from an asyncio task")
        return task

    def __enter__(self) -> Self:
        self._task = task = self.check_free()
        self._cancelling = task.cancelling()
        self._entered.add(self)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, error = self._task, self._error
        self._task = self._error = None
        self._entered.discard(self)
        if self._left is not None:
            self._left.set_result(None)
            self._left = None
        # If somebody else requested a cancellation too, it takes precedence over ours.
        if error is not None and task is not None and task.uncancel() <= self._cancelling:
            raise error

    def end(self, error: RunflowError) -> bool:
        """Make the task inside leave with `error`. Return whether there is one, other than the current task."""
        task = self._task
        if task is None or task is asyncio.current_task():
            return False
        if self._error is None:
            self._error = error
            task.cancel()
        return True

    async def interrupt(self, error: RunflowError) -> None:
        """Make the task inside leave with `error`, and return once it has left; without one, do nothing."""
        self._check_loop()
        if not self.end(error):
            return
        if self._left is None:
            self._left = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._left)
