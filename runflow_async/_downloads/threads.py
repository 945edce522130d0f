"""Synchronous calls in a thread, away from the event loop. A cancellation leaves nothing open."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_thread", "open_in_thread"]

P = ParamSpec("P")
T = TypeVar("T")


class Closable(Protocol):
    """Something that is open until it is closed."""

    def close(self) -> None:
        """Close it."""


C = TypeVar("C", bound=Closable)


async def in_thread(function: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
    """Call a function in a thread. A cancellation waits until it has returned, so that no file is closed meanwhile."""
    loop = asyncio.get_running_loop()
    call = loop.run_in_executor(None, lambda: function(*arguments, **keywords))
    cancelled: asyncio.CancelledError | None = None
    while not call.done():
        try:
            await asyncio.wait([call])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        call.exception()  # somebody has seen it
        raise cancelled
    return call.result()


async def open_in_thread(function: Callable[P, C], *arguments: P.args, **keywords: P.kwargs) -> C:
    """Call a function that opens something in a thread. If this is cancelled meanwhile, what was opened is closed."""
    opened: list[C] = []
    try:
        await in_thread(lambda: opened.append(function(*arguments, **keywords)))
    except asyncio.CancelledError:
        for one in opened:
            one.close()
        raise
    return opened[0]
