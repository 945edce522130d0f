"""The polls in flight, each in a task of its own.

Decides how many there may be. Which wait is next, and what follows from its poll, is up to the fleet.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakMethod

if TYPE_CHECKING:
    from collections.abc import Callable

    from runflow_async._waits.run import Run

__all__ = ["Flights"]


class Flights:
    """The steps in flight. They do not keep their fleet alive.

    Args:
        most: number of polls in flight. Steps that load from a checkpoint do not count, because one that hangs must
            not hold up the others.
        landed: a method of the fleet, called at the end of each step with the run and what the step raised, or None.
    """

    def __init__(self, most: int, landed: Callable[[Run, BaseException | None], None]) -> None:
        self._most = most
        self._landed = WeakMethod(landed)
        self._tasks: dict[Run, asyncio.Task[None]] = {}
        self._loading: set[Run] = set()

    def __contains__(self, run: Run) -> bool:
        return run in self._tasks

    @property
    def has_room(self) -> bool:
        """Whether one more may start."""
        return len(self._tasks) - len(self._loading) < self._most

    def start(self, run: Run) -> None:
        """Start the next step of a wait."""
        if not run.is_loaded:
            self._loading.add(run)
        self._tasks[run] = task = asyncio.create_task(run.step())
        task.add_done_callback(partial(self._land, run))

    def _land(self, run: Run, task: asyncio.Task[None]) -> None:
        del self._tasks[run]
        self._loading.discard(run)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        landed = self._landed()
        if landed is not None:
            landed(run, error)

    async def stop(self) -> None:
        """Cancel all of them, and return when they have ended."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def abandon(self) -> None:
        """Cancel all of them, because their fleet was dropped; called in the thread of the garbage collector."""
        for task in tuple(self._tasks.values()):
            with suppress(RuntimeError):  # the event loop is closed, and its tasks are gone
                task.get_loop().call_soon_threadsafe(task.cancel)
