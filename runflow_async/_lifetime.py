"""When something is open, on which event loop, and which tasks are inside it.

A scope is a part of a caller's own task that can be ended from outside: it interrupts the
task, as `asyncio.timeout` does, and then withdraws its cancellation.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from runflow_async.errors import SessionClosedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from runflow_async.errors import RunflowError

__all__ = ["Lifetime", "Scope"]

WRONG_LOOP = "a RunflowSession belongs to one event loop: open another one on this loop"
NO_LOOP = (
    "a RunflowSession belongs to one event loop, and none runs in this thread: call it there, as with "
    "loop.call_soon_threadsafe(session.nudge, batch_id)"
)

TURNS = 3
"""Number of turns in one iteration of the event loop."""


class Lifetime:
    """Open until it is closed, on one event loop: the first one on which it is used.

    Args:
        loop: the event loop, if it is known beforehand.
        wrong_loop: message of the error on any other event loop.

    Attributes:
        entered: the scopes that contain a task.
    """

    __slots__ = ("_is_closed", "_loop", "_turns", "_wrong_loop", "entered")

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None, wrong_loop: str = WRONG_LOOP) -> None:
        self._loop = loop
        self._wrong_loop = wrong_loop
        self._is_closed = False
        self._turns = asyncio.Semaphore(TURNS)
        self.entered: set[Scope] = set()

    def is_closed(self) -> bool:
        """Whether it was closed. It is never opened again."""
        return self._is_closed

    def check_open(self) -> None:
        """Raise SessionClosedError if it was closed."""
        if self._is_closed:
            raise SessionClosedError

    def check_loop(self) -> None:
        """Raise RuntimeError on another event loop, or in another thread, than the one it belongs to."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(NO_LOOP) from None
        if self._loop is not loop:
            if self._loop is not None:
                raise RuntimeError(self._wrong_loop)
            self._loop = loop

    def now(self) -> float:
        """Seconds on the clock of its event loop, even after that was closed; 0.0 before the first use."""
        return 0.0 if self._loop is None else self._loop.time()

    def utc_now(self) -> datetime:
        """The wall clock, for what servers write and people read; it may jump, and nothing waits by it."""
        return datetime.now(UTC)

    def call_soon(self, function: Callable[[], object]) -> None:
        """Have the event loop call a function, from whichever thread; if it was closed already, nobody does."""
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(function)

    async def take_turn(self) -> None:
        """Return at once, or in a later iteration of the event loop if this one has done enough heavy work already.

        Many responses can arrive in one iteration. If all were decoded in it, everybody else would wait, and so much
        would be pending at a time that the garbage collector, which counts allocations, would run over and over.
        """
        await self._turns.acquire()
        asyncio.get_running_loop().call_soon(self._turns.release)

    def scope(self, purpose: str) -> Scope:
        """A scope that ends when this is closed; see `Scope`."""
        return Scope(self, purpose)

    async def close(self, release: Callable[[], Awaitable[None]]) -> None:
        """Make every task inside leave with `SessionClosedError`, release what they used, and return once they left.

        A close that was cancelled is finished by the next one.

        Args:
            release: not called if the event loop was closed already, because its connections went with it.
        """
        if self._loop is not None and self._loop.is_closed():
            self._is_closed = True
            return
        self.check_loop()
        self._is_closed = True
        # First everything that does not suspend, so that a close that is cancelled at once has closed all the same.
        for scope in tuple(self.entered):
            scope.end(SessionClosedError())
        await release()
        await asyncio.gather(*(scope.interrupt(SessionClosedError()) for scope in tuple(self.entered)))


class Scope:
    """A context for one task at a time, which `interrupt` can end.

    Args:
        lifetime: names the event loop, and ends this when it is closed.
        purpose: named in the error that a second task gets.
    """

    __slots__ = ("_cancelling", "_error", "_left", "_lifetime", "_purpose", "_task")

    def __init__(self, lifetime: Lifetime, purpose: str) -> None:
        self._lifetime = lifetime
        self._purpose = purpose
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._error: RunflowError | None = None
        self._left: asyncio.Future[None] | None = None

    def check_idle(self) -> None:
        """Raise RuntimeError if a task is inside, or if the event loop is another one."""
        self._lifetime.check_loop()
        if self._task is not None:
            raise RuntimeError(f"{self._purpose} is used by two tasks at the same time; give each task one of its own")

    def check_free(self) -> asyncio.Task[object]:
        """Return the current task if it may enter.

        Raises:
            RuntimeError: if another task is inside, there is no task, or the event loop is another one.
        """
        self.check_idle()
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError(f"{self._purpose} must be awaited from an asyncio task")
        return task

    def __enter__(self) -> Self:
        self._task = task = self.check_free()
        self._cancelling = task.cancelling()
        self._lifetime.entered.add(self)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, error = self._task, self._error
        self._task = self._error = None
        self._lifetime.entered.discard(self)
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
        self._lifetime.check_loop()
        if not self.end(error):
            return
        if self._left is None:
            self._left = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._left)
