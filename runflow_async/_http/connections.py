"""The aiohttp session that requests go through, from the first request until it is closed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp

from runflow_async._http.borrowed import borrowed_options, check_http, room_in
from runflow_async._http.wire import Request, Response
from runflow_async.errors import SessionClosedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Mapping

__all__ = ["Connections"]

KEEPALIVE_SECONDS = 75.0
"""Far longer than the default interval: a connection outlives the pause, so that not every poll pays for TLS."""


class Connections:
    """The caller's own aiohttp session, or one that is opened with the first request and closed here.

    Args:
        http: the caller's session, which stays theirs to close, or None.
        limit: connections at the same time.

    Attributes:
        http: the aiohttp session; None before the first request.
        is_borrowed: whether it is the caller's.
        limit: connections at the same time; fewer than asked for if the caller's session has a smaller pool.
    """

    __slots__ = ("_connector", "_gone", "_keeper", "http", "is_borrowed", "limit")

    def __init__(self, http: aiohttp.ClientSession | None, limit: int) -> None:
        self.http = check_http(http)
        self.is_borrowed = http is not None
        self.limit = min(limit, room_in(http) or limit)
        self._connector: _Connector | None = None  # of a session of ours, from the first request on
        self._keeper: AsyncGenerator[None, None] | None = None  # of that connector
        self._gone: asyncio.Future[Any] | None = None  # done when the connections are gone, after they were cut

    def options(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """The keywords with which the aiohttp session sends these headers."""
        return {"headers": headers} if self.http is None else borrowed_options(self.http, headers)

    async def open(self) -> aiohttp.ClientSession:
        """Return the aiohttp session; the first call makes it.

        Raises:
            SessionClosedError: if the caller closed theirs.
        """
        if self.http is None:
            self._connector = _Connector(limit=self.limit, keepalive_timeout=KEEPALIVE_SECONDS)
            self.http = aiohttp.ClientSession(
                connector=self._connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                request_class=Request,
                response_class=Response,
                timeout=aiohttp.ClientTimeout(total=None),
            )
            self._keeper = _cut_with_the_loop(self.http, self._connector)
            await anext(self._keeper)
        if self.http.closed:
            raise SessionClosedError
        return self.http

    async def close(self) -> None:
        """Cut the connections before the first suspension, and return once they are gone.

        A close that was cancelled is finished by the next one.
        """
        if self._connector is None or self._keeper is None:
            return
        if self._gone is None:
            self._gone = asyncio.gather(*self._connector.cut(), return_exceptions=True)
            await self._keeper.aclose()  # has nothing left to cut, and does not suspend
        await asyncio.shield(self._gone)
        await self._connector.close()  # its resolver


class _Connector(aiohttp.TCPConnector):
    """A connector that can be closed without a new task, even in an event loop that is about to stop."""

    def cut(self) -> list[Awaitable[object]]:
        """Close every connection now; return what to wait for until they are gone."""
        return self._close(abort_ssl=True)


async def _cut_with_the_loop(http: aiohttp.ClientSession, connector: _Connector) -> AsyncGenerator[None, None]:
    """Cut the connections of a session that nobody closed.

    asyncio.run closes async generators that are still open, and the event loop those that are freed. The loop may be
    about to stop, so nothing is awaited. aiohttp complains of a session that is freed before its connections are cut,
    so this keeps the session until then.
    """
    try:
        yield
    finally:
        connector.cut()
        del http
