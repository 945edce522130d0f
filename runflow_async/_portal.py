"""An event loop in a thread of its own, on which other threads run coroutines and wait for them."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import warnings
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import finalize

from runflow_async.errors import SessionClosedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Portal"]

T = TypeVar("T")

SLICE = 0.05 if sys.platform == "win32" else None
"""Seconds between two looks for Ctrl-C, where it does not interrupt a thread that waits for a lock."""

FORKED = (
    "a blocking RunflowSession that was used before a fork cannot be used in the child, which has no thread of its "
    "loop: open it in each worker process, after the fork"
)
OWN_THREAD = (
    "a blocking RunflowSession was called from the thread of its own event loop, as by `until` or a strategy, and "
    "would wait for itself: call it from another thread"
)


class Portal:
    """Starts its thread with the first call, so that one made before a fork works in the child."""

    def __init__(self) -> None:
        self._server: _Server | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    @property
    def is_over(self) -> bool:
        """Whether it was closed."""
        return self._is_closed

    def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run a coroutine on the loop, in the caller's context, and return its result.

        If the wait is interrupted, as by Ctrl-C, the coroutine is cancelled and has ended before this raises.
        """
        return self._open().run(function, *args)

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call a plain function on the loop."""

        async def call() -> T:
            return function(*args)

        return self.run(call)

    def look(self, function: Callable[[], T]) -> T:
        """Read what the loop's thread changes: there, while it runs; right here in that thread, or once it has ended.

        Raises:
            RuntimeError: in a forked child.
        """
        server = self._server
        if server is None or self._is_closed or server.is_own_thread:
            return function()
        try:
            return self.call(function)
        except SessionClosedError:
            return function()

    def drop(self, held: list[Any]) -> None:
        """Forget what is in the list, on the loop, where its finalizers may cancel tasks."""
        if self._server is not None and self._server.pid == os.getpid():
            self._server.post(held.clear)

    def close(self, release: Callable[[], Awaitable[None]] | None = None) -> None:
        """Run the last coroutine, and return once the thread has ended. Again, or in a forked child, do nothing."""
        server = self._server
        if server is None or server.pid != os.getpid():
            self._is_closed = True
            return
        server.check_thread()
        try:
            if release is not None and not self._is_closed:
                server.run(release)
        finally:
            self._is_closed = True
            server.stop()
            server.join()

    def _open(self) -> _Server:
        server = self._server
        if server is None:
            with self._lock:
                if self._is_closed:
                    raise SessionClosedError
                server = self._server = self._server or _Server()
                finalize(self, _abandon, server)
        if server.pid != os.getpid():
            raise RuntimeError(FORKED)
        if self._is_closed:
            raise SessionClosedError
        return server


class _Server:
    """The thread and its loop. It does not know the portal, so that a forgotten portal is collected."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._calls: set[Future[Any]] = set()
        self._is_stopping = asyncio.Event()
        started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._serve, args=(started,), name="runflow_async", daemon=True)
        self._thread.start()
        self._loop = started.result()

    @property
    def is_own_thread(self) -> bool:
        return threading.current_thread() is self._thread

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def check_thread(self) -> None:
        if self.is_own_thread:
            raise RuntimeError(OWN_THREAD)

    def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        self.check_thread()
        done: Future[T] = Future()
        task: list[asyncio.Task[T]] = []

        async def main() -> T:
            return await function(*args)

        def start() -> None:
            if done.set_running_or_notify_cancel():  # not interrupted before it began
                task.append(self._loop.create_task(main()))
                task[0].add_done_callback(lambda ended: _copy(ended, done))

        self._calls.add(done)
        try:
            try:
                if self.post(start):
                    _wait(done)
                else:
                    done.set_exception(SessionClosedError())
            except BaseException:  # Ctrl-C, or what a signal handler raised
                if not done.cancel() and self.post(lambda: task.pop().cancel()):
                    _wait(done)
                raise
            return done.result()
        except CancelledError:
            raise SessionClosedError from None
        finally:
            self._calls.discard(done)

    def post(self, function: Callable[[], object]) -> bool:
        """Call it on the loop, soon. Return whether there still is one."""
        try:
            self._loop.call_soon_threadsafe(function)  # in the caller's context, which a task inherits
        except RuntimeError:  # closed
            return False
        return True

    def stop(self) -> None:
        self.post(self._is_stopping.set)

    def join(self) -> None:
        self._thread.join()

    def _serve(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        async def main() -> None:
            started.set_result(asyncio.get_running_loop())
            await self._is_stopping.wait()

        asyncio.run(main())
        for call in tuple(self._calls):  # that came too late to begin
            with suppress(InvalidStateError):
                call.set_exception(SessionClosedError())


def _copy(ended: asyncio.Task[T], done: Future[T]) -> None:
    if ended.cancelled():
        done.set_exception(CancelledError())
    elif error := ended.exception():
        done.set_exception(error)
    else:
        done.set_result(ended.result())


def _wait(done: Future[Any]) -> None:
    while not done.done():
        with suppress(TimeoutError):
            done.exception(SLICE)


def _abandon(server: _Server) -> None:
    """Called when a portal is collected, or at exit. The thread is not joined: this may run anywhere, even in it."""
    if server.pid == os.getpid() and server.is_running:
        warnings.warn("a blocking RunflowSession was never closed: use `with`", ResourceWarning, stacklevel=2)
        server.stop()
