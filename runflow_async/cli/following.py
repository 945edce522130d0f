"""Follow batches and show what happens: the loop behind `watch` and the demo.

Decides when something is shown. The view decides how it looks, the library when to poll.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from runflow_async.cli.exits import status_of_batch, status_of_error

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from contextlib import AbstractContextManager
    from uuid import UUID

    from runflow_async import BatchesWait, BatchWait, ItemTransition
    from runflow_async.cli.exits import Exit

__all__ = ["HasWaits", "View", "accompany", "finish", "follow", "outcome", "status_of_wait"]

REFRESH_SECONDS = 0.25
"""Time between two frames."""


class HasWaits(Protocol):
    """Follows batches, each with a wait."""

    @property
    def waits(self) -> Mapping[UUID, BatchWait]:
        """The wait of every batch, by its id."""
        ...


class View(Protocol):
    """Shows batches in progress."""

    def showing(self) -> AbstractContextManager[None]:
        """Show the batches inside this block, and the outcome when the block ends, however it ends."""
        ...

    def show(self, transition: ItemTransition) -> None:
        """Show a transition at once."""

    def refresh(self) -> None:
        """Show all other changes; called a few times a second."""


async def follow(waits: BatchesWait, view: View) -> None:
    """Show the transitions of all waits until they have ended. Their errors stay with the waits."""
    async with waits:
        with view.showing():
            await accompany(_show_all(waits, view), view.refresh)


async def accompany(work: Coroutine[Any, Any, None], refresh: Callable[[], None]) -> None:
    """Run a coroutine, and call a function a few times a second until it ends, then once more."""
    working = asyncio.create_task(work)
    try:
        while not working.done():
            refresh()
            await asyncio.wait([working], timeout=REFRESH_SECONDS)
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    working.result()
    refresh()


async def _show_all(waits: BatchesWait, view: View) -> None:
    with suppress(ExceptionGroup):  # each wait keeps its own error
        async for transition in waits:
            view.show(transition)


async def finish(waits: BatchesWait) -> None:
    """Wait until all have ended. Their errors stay with the waits."""
    with suppress(ExceptionGroup):
        await waits


def status_of_wait(wait: BatchWait) -> Exit:
    """Return the exit status for a wait that has ended."""
    error = wait.exception()
    return status_of_batch(wait.result()) if error is None else status_of_error(error)


def outcome(waits: HasWaits) -> int:
    """Return the highest exit status of all waits."""
    return max((status_of_wait(wait) for wait in waits.waits.values()), default=0)
