"""The connections that requests go through, from the first request until they are closed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp

from runflow_async._http.borrowed import check_http, room_in
from runflow_async._http.lane import KEEPALIVE_SECONDS, open_lane
from runflow_async._http.line import Connector
from runflow_async._http.ordinary import Ordinary

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from runflow_async._http.lane import Lane

__all__ = ["Connections"]


class Connections:
    """The caller's own aiohttp session, or connections that are made as needed and closed here.

    Args:
        http: the caller's session, which stays theirs to close, or None.
        limit: connections at the same time.
        base_url: without a trailing slash.
        headers: sent with every request.

    Attributes:
        is_borrowed: whether they are those of the caller's session.
        limit: connections at the same time; fewer than asked for if the caller's session has a smaller pool.
        way: what requests are sent through; None before the first one.
    """

    __slots__ = (
        "_base_url",
        "_closed",
        "_connector",
        "_cut",
        "_headers",
        "_http",
        "_keeper",
        "is_borrowed",
        "limit",
        "way",
    )

    def __init__(
        self, http: aiohttp.ClientSession | None, limit: int, base_url: str, headers: Mapping[str, str]
    ) -> None:
        self._http = check_http(http)
        self.is_borrowed = http is not None
        self.limit = min(limit, room_in(http) or limit)
        self._base_url = base_url
        self._headers = headers
        self.way: Lane | Ordinary | None = None
        self._connector: Connector | None = None  # ours
        self._cut: Callable[[], list[Awaitable[object]]]
        self._keeper: AsyncGenerator[None, None] | None = None  # from the first request until the connections are cut
        self._closed: asyncio.Future[Any] | None = None  # done once the connections that were cut are gone

    async def open(self) -> Lane | Ordinary:
        """Decide on `way`, and return it."""
        self.way = way = await self._open() if self._http is None else self._through(self._http)
        return way

    async def _open(self) -> Lane | Ordinary:
        self._connector = connector = Connector(limit=self.limit, keepalive_timeout=KEEPALIVE_SECONDS)
        lane = open_lane(connector, self._base_url, self._headers)
        self._cut = connector.cut if lane is None else lane.cut
        way = lane or self._through(aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()))
        self._keeper = _cut_with_the_loop(way, self._cut)
        await anext(self._keeper)
        return way

    def _through(self, http: aiohttp.ClientSession) -> Ordinary:
        return Ordinary(http, self._base_url, self._headers)

    async def close(self) -> None:
        """Cut the connections before the first suspension, and return once they are gone.

        A close that was cancelled is finished by the next one.
        """
        if self._connector is None:
            return
        if self._keeper is not None:
            self._closed = asyncio.gather(*self._cut(), return_exceptions=True)
            await self._keeper.aclose()  # has nothing left to cut, and does not suspend
            self._keeper = None
        if self._closed is not None:
            await asyncio.shield(self._closed)
        await self._connector.close()  # its resolver


async def _cut_with_the_loop(way: Lane | Ordinary, cut: Callable[[], object]) -> AsyncGenerator[None, None]:
    """Cut the connections of a session that nobody closed.

    asyncio.run closes async generators that are still open, and the event loop those that are freed. The loop may be
    about to stop, so nothing is awaited. aiohttp complains of a session that is freed before its connections are cut,
    so this keeps `way` until then.
    """
    try:
        yield
    finally:
        cut()
        del way
