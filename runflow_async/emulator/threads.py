"""The thread and the event loop in which an emulator serves, and calls that come from other threads.

Decides how a call gets there and how its outcome gets back. Knows nothing about what an emulator does.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractAsyncContextManager

__all__ = ["Home", "in_thread"]

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E", bound="AbstractAsyncContextManager[object]")


class Home:
    """Where an emulator serves; nowhere, until it has started."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: int | None = None

    def enter(self) -> None:
        """Serve on the running loop."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()

    def leave(self) -> None:
        """Serve nowhere."""
        self._loop = self._thread = None

    def call(self, function: Callable[P, R], /, *args: P.args, **keywords: P.kwargs) -> R:
        """Call a function in the thread of the loop, and return or raise what it does; in this one if there is none."""
        loop = self._loop
        if loop is None or self._thread == threading.get_ident():
            return function(*args, **keywords)
        outcome: Future[R] = Future()
        loop.call_soon_threadsafe(_settle, outcome, partial(function, *args, **keywords))
        return outcome.result()


def _settle(outcome: Future[R], function: Callable[[], R]) -> None:
    try:
        outcome.set_result(function())
    except BaseException as error:  # noqa: BLE001  # it is raised in the other thread
        outcome.set_exception(error)


@contextmanager
def in_thread(emulator: E) -> Generator[E, None, None]:
    """Let an emulator serve in a thread of its own, until the end of the block.

    Use it where the event loop is not yours or stands still, such as in a plain `def test_` with the test client of a
    web framework. You can call the emulator's methods from any thread. It has not been started before.

    Raises:
        OSError: if the port is taken.
    """
    stop: Future[Callable[[], object]] = Future()
    thread = threading.Thread(target=_run, args=(emulator, stop), name="runflow emulator", daemon=True)
    thread.start()
    try:
        end = stop.result()
        try:
            yield emulator
        finally:
            end()
    finally:
        thread.join()


def _run(emulator: AbstractAsyncContextManager[object], stop: Future[Callable[[], object]]) -> None:
    async def serve() -> None:
        stopped = asyncio.Event()
        async with emulator:
            stop.set_result(partial(asyncio.get_running_loop().call_soon_threadsafe, stopped.set))
            await stopped.wait()

    try:
        asyncio.run(serve())
    except BaseException as error:
        if stop.done():
            raise
        stop.set_exception(error)
