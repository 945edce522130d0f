"""One connection of the lane, and the exchange on it."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from multidict import CIMultiDictProxy

    from runflow_async._http.bodies import Reader
    from runflow_async._http.lane import Lane

__all__ = ["Connector", "Line"]

SWITCHING_PROTOCOLS = HTTPStatus.SWITCHING_PROTOCOLS.value


class Line:
    """A connection, and the response to its latest request, which is to be read once.

    Attributes:
        connection: what aiohttp made.
        protocol: its end here.
        wire: its transport.
        until: instant at which it is ended.
        has_answered: whether a response has ever begun on it.
        status: status code of the response.
        headers: of the response.
    """

    __slots__ = ("_content", "_lane", "connection", "has_answered", "headers", "protocol", "status", "until", "wire")

    until: float
    status: int
    headers: CIMultiDictProxy[str]

    def __init__(self, lane: Lane, connection: Connection, protocol: ResponseHandler, wire: asyncio.Transport) -> None:
        self.connection = connection
        self.protocol = protocol
        self.wire = wire
        self.has_answered = False
        self._lane = lane
        self._content = aiohttp.EMPTY_PAYLOAD

    def expire(self) -> None:
        """Make whoever reads from it raise a TimeoutError."""
        late = TimeoutError()
        self.protocol.set_exception(late)
        self._content.set_exception(late)

    async def read_head(self) -> None:
        """Read the head of the response, past those of informational ones."""
        message, content = await self.protocol.read()
        while message.code // 100 == 1 and message.code != SWITCHING_PROTOCOLS:
            message, content = await self.protocol.read()
        self.status, self.headers, self._content = message.code, message.headers, content

    async def read(self, reader: Reader, limit: int) -> bytes:
        """Return what the reader makes of the body. Then the line is used again, or closed."""
        try:
            body = await reader(self.headers, self._content, limit, b"")
        except BaseException:
            self._lane.close(self)
            raise
        self._content = aiohttp.EMPTY_PAYLOAD
        self._lane.give_back(self)
        return body


class Connector(aiohttp.TCPConnector):
    """A connector that can be closed without a new task, even in an event loop that is about to stop."""

    def cut(self) -> list[Awaitable[object]]:
        """Close every connection now; return what to wait for until they are gone."""
        return self._close(abort_ssl=True)
