"""A request through an aiohttp session: the caller's, or one of ours where aiohttp is not as the lane expects it."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

import aiohttp
from yarl import URL

from runflow_async._http.wire import CONNECT_SECONDS, NEVER_ROUND, DroppedConnectionError
from runflow_async._usercode import UserCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.client_middlewares import ClientHandlerType, ClientMiddlewareType
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from multidict import CIMultiDictProxy

    from runflow_async._http.bodies import Reader
    from runflow_async._http.posts import Post

__all__ = ["Ordinary"]


class Ordinary:
    """Sends requests to one server.

    Args:
        http: the aiohttp session.
        base_url: without a trailing slash.
        headers: sent with every request.
    """

    def __init__(self, http: aiohttp.ClientSession, base_url: str, headers: Mapping[str, str]) -> None:
        self._http = http
        self._base_url = base_url
        middlewares = (*getattr(http, "_middlewares", ()), respond_as_ours)  # those of a request replace the session's
        self._options: dict[str, Any] = {
            "timeout": aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, ceil_threshold=NEVER_ROUND),
            "allow_redirects": False,
            "raise_for_status": False,
            "auto_decompress": True,
            "headers": headers,
            "middlewares": middlewares,
        }
        if http.trust_env:
            # aiohttp refuses a request with an Authorization if ~/.netrc has one for the host too. Ours is added later.
            self._options |= {"headers": None, "middlewares": (authorize(headers), *middlewares)}

    @property
    def closed(self) -> bool:
        """Whether no request can be sent any more."""
        return self._http.closed

    async def send(
        self, path: str, deadline: float, post: Post | None = None, more: Mapping[str, str] | None = None
    ) -> OrdinaryResponse:
        """Send a request and return its response as soon as its head is there; see `Lane.send`."""
        url = URL(self._base_url + path, encoded=True)
        with UserCode("the aiohttp session"):
            async with asyncio.timeout_at(deadline):
                options = self._with_headers(more)
                sending = self._http.get(url, **options) if post is None else self._post(url, post, options)
                return OrdinaryResponse(await sending, deadline)

    def _with_headers(self, more: Mapping[str, str] | None) -> dict[str, Any]:
        headers: dict[str, str] = {**(self._options["headers"] or {}), **(more or {})}
        return {**self._options, "headers": headers} if more else self._options

    async def _post(self, url: URL, post: Post, options: dict[str, Any]) -> aiohttp.ClientResponse:
        headers: dict[str, str] = {**(options["headers"] or {}), **post.headers}
        # aiohttp warns of large bodies that are bytes.
        options = {**options, "headers": headers, "data": BytesIO(post.body)}
        return await self._http.post(url, **options)


class OrdinaryResponse:
    """A response, which is to be read once.

    Attributes:
        status: its status code.
        headers: its headers.
        wire: its connection; None if the caller's session has made the response.
    """

    def __init__(self, response: aiohttp.ClientResponse, deadline: float) -> None:
        self.status = response.status
        self.headers: CIMultiDictProxy[str] = response.headers
        self.wire: asyncio.Transport | None = getattr(response, "wire", None)
        self._response = response
        self._deadline = deadline

    async def read(self, reader: Reader, limit: int) -> bytes:
        """Return what the reader makes of the body. Then the connection is given back, or closed."""
        try:
            with UserCode("the aiohttp session"):
                async with asyncio.timeout_at(self._deadline):
                    body = await reader(self.headers, self._response.content, limit, await self._already_read())
        except BaseException:
            self._close()
            raise
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._close()
        return body

    async def _already_read(self) -> bytes:
        """The body, if a recorder, a cache or a middleware has read it."""
        return await self._response.read() if self._response.content.at_eof() else b""

    def _close(self) -> None:
        self._response.close()
        # aiohttp has already released the connection if the whole body arrived unread.
        if self.wire is not None:
            self.wire.abort()


class Response(aiohttp.ClientResponse):
    """Remembers its connection, which aiohttp releases as soon as the body has arrived.

    If the connection is lost before it has started, its error is of a type after which aiohttp does not send the
    request again by itself.
    """

    wire: asyncio.Transport | None = None
    answered: ClassVar[WeakSet[ResponseHandler]] = WeakSet()

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Read the head of the response."""
        self.wire = connection.transport
        protocol = connection.protocol
        reused = protocol in self.answered
        try:
            response = await super().start(connection)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            raise DroppedConnectionError(reused=reused) from error
        if not reused and protocol is not None:
            self.answered.add(protocol)
        return response


async def respond_as_ours(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
    """Client middleware that gives any session our response class, and our error if the request cannot be written."""
    request.response_class = Response
    try:
        return await handler(request)
    except aiohttp.ClientConnectionResetError as error:
        # A reused connection was open a moment ago, so this is a new one that the server has closed at once.
        raise DroppedConnectionError(reused=False) from error


def authorize(headers: Mapping[str, str]) -> ClientMiddlewareType:
    """Client middleware that sets headers of the finished request, replacing those that are there."""

    async def add_headers(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        request.headers.update(headers)
        return await handler(request)

    return add_headers
