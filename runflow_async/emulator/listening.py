"""A port of this machine on which aiohttp serves; closing it cuts every connection at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Listener"]

BACKLOG = 1024
LONGEST_LINE = 2**20
"""Bytes of a request line or header field; beyond it aiohttp responds with 400 and plain text instead of `handle`."""
GRACE_SECONDS = 0.05
"""How long a handler gets to finish after its connection was cut."""


class Listener:
    """Serves requests while it is open.

    Args:
        handle: responds to a request.
        host: address to listen on.
        port: 0 picks a free one.

    Attributes:
        port: the port that was used last, and is used again; 0 before the first one was picked.
    """

    def __init__(
        self, handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], host: str, port: int
    ) -> None:
        self.port = port
        self._handle = handle
        self._host = host
        self._runner: web.ServerRunner | None = None

    @property
    def is_open(self) -> bool:
        """Whether it serves."""
        return self._runner is not None

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash.

        Raises:
            RuntimeError: if no port was picked yet.
        """
        if not self.port:
            raise RuntimeError("the emulator has no URL yet: start it first, or use 'async with'")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    async def open(self) -> None:
        """Start serving.

        Raises:
            OSError: if the port is taken.
        """
        server = web.Server(
            self._handle,
            access_log=None,
            handler_cancellation=True,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=GRACE_SECONDS)
        try:
            await self._runner.setup()
            await web.TCPSite(self._runner, self._host, self.port, backlog=BACKLOG).start()
        except BaseException:
            await self.close()
            raise
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop serving. It may be called again."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        for site in list(runner.sites):
            await site.stop()
        connections = runner.server.connections if runner.server else []
        for transport in [connection.transport for connection in connections if connection.transport]:
            transport.abort()  # aiohttp's own close would wait for clients that do not read
        await runner.cleanup()
