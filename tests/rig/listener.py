"""What a server and a proxy have in common: accept on loopback, one task a connection, end all of them on leaving."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Self

from tests.rig.wires import LOOPBACK

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["TASK_NAME", "Listener"]

TASK_NAME = "rig"
"""Tasks of the rig bear this name, so that a leak check can tell them from those of what is tested."""

BACKLOG = 1024


class Listener:
    """An async context that listens on a free port of 127.0.0.1.

    Leaving it ends every connection and waits for its tasks. What went wrong in a task of its own is raised then.

    Attributes:
        host: the name that stands in the URL.
        scheme: http or https.
        connections: accepted so far.
    """

    def __init__(self, *, host: str = LOOPBACK, scheme: str = "http") -> None:
        self.host = host
        self.scheme = scheme
        self.connections = 0
        self._socket: socket.socket | None = None
        self._port = 0
        self._serving: set[asyncio.Task[None]] = set()
        self._failures: list[Exception] = []

    @property
    def port(self) -> int:
        """The port; kept after closing, when connections to it are refused."""
        return self._port

    @property
    def url(self) -> str:
        """Scheme, host and port, without a trailing slash."""
        return f"{self.scheme}://{self.host}:{self._port}"

    @property
    def open_connections(self) -> int:
        """Accepted and not yet gone from both sides."""
        return len(self._serving)

    async def close(self) -> None:
        """Refuse new connections and end the open ones. Closing again does nothing."""
        if self._socket is None:
            return
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._socket = None
        serving = tuple(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, sock: socket.socket) -> None:
        """Serve one connection until it has ended."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        self._socket = socket.create_server((LOOPBACK, 0), backlog=BACKLOG)
        self._socket.setblocking(False)
        self._port = self._socket.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._socket, self._accept, self._socket)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
        if exc is None and self._failures:
            raise ExceptionGroup(f"in {type(self).__name__}", self._failures)

    def _accept(self, listening: socket.socket) -> None:
        try:
            sock, _ = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        self.connections += 1
        task = asyncio.create_task(self._serve_safely(sock), name=TASK_NAME)
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        task.add_done_callback(lambda _: sock.close())

    async def _serve_safely(self, sock: socket.socket) -> None:
        try:
            await self._serve(sock)
        except ConnectionError:
            return  # the client went, as clients do
        except Exception as error:  # noqa: BLE001  # raised on leaving
            self._failures.append(error)
