"""The quirks of aiohttp: the second request that it hides, and what each of its errors means."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakSet

import aiohttp
from aiohttp import hdrs, http_exceptions

from runflow_async._http.protocol import parse_retry_after
from runflow_async._text import printable
from runflow_async._verdict import Verdict
from runflow_async.errors import (
    CertificateError,
    ConfigurationError,
    MalformedResponseError,
    RunflowError,
    TransportError,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from aiohttp.client_middlewares import ClientHandlerType, ClientMiddlewareType
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from yarl import URL

__all__ = [
    "DroppedConnectionError",
    "Request",
    "Response",
    "authorize",
    "let_go",
    "respond_as_ours",
    "retry_after",
    "translate",
]

CERTIFICATE_ERRORS = (
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ServerFingerprintMismatch,
    ssl.CertificateError,
)


class DroppedConnectionError(aiohttp.ClientConnectionError):
    """The connection was lost before a response began.

    aiohttp does not send a second request of its own after an error of this type, so that every request is counted.
    """

    def __init__(self, *, reused: bool) -> None:
        super().__init__("the connection was closed before an answer began")
        self.reused = reused


class Response(aiohttp.ClientResponse):
    """Remembers its connection, which aiohttp releases as soon as the body has arrived."""

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


class Request(aiohttp.ClientRequest):
    """Knows whether the connection to which it could not be written was reused."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Write the request."""
        reused = conn.protocol in Response.answered
        try:
            return await super().send(conn)
        except aiohttp.ClientConnectionResetError as error:
            raise DroppedConnectionError(reused=reused) from error


async def respond_as_ours(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
    """Client middleware that gives a user's own session our response class."""
    request.response_class = Response
    return await handler(request)


def authorize(headers: Mapping[str, str]) -> ClientMiddlewareType:
    """Client middleware that sets headers of the finished request, replacing those that are there."""

    async def add_headers(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        request.headers.update(headers)
        return await handler(request)

    return add_headers


def translate(error: Exception, url: URL) -> RunflowError:
    """Our error for one of aiohttp, the operating system or the TLS library."""
    place = f"{url.host}:{url.port}"
    chain = tuple(_causes(error))
    if any(isinstance(cause, http_exceptions.ContentEncodingError) for cause in chain):
        return MalformedResponseError("a body that does not match its Content-Encoding")
    if isinstance(error, CERTIFICATE_ERRORS):
        return CertificateError(f"{place} could not prove its identity: {printable(str(error))}")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return TransportError(f"the proxy refused to connect to {place}", verdict=Verdict.FINAL)
    if isinstance(error, TimeoutError):
        return TransportError(f"{place} did not answer in time")
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return TransportError(f"cannot connect to the proxy for {place}: {printable(str(error.os_error))}")
    if isinstance(error, aiohttp.ClientConnectorError):
        return TransportError(f"cannot connect to {place}: {printable(str(error.os_error))}")
    if isinstance(error, (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError)):
        return TransportError(f"{place} closed the connection before the answer was complete")
    if isinstance(error, (ValueError, aiohttp.NonHttpUrlClientError)):
        return ConfigurationError(f"aiohttp cannot make a request for {place}: {printable(str(error))}")
    if any(isinstance(cause, http_exceptions.BadStatusLine) for cause in chain):
        return TransportError(f"{place} does not speak HTTP/1.1")
    return TransportError(f"{place} sent an answer that is not HTTP", verdict=Verdict.SUSPECT)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def let_go(response: aiohttp.ClientResponse) -> None:
    """Return the connection of a response to the pool, or close it if the body was not read to its end."""
    if response.content.at_eof():
        response.release()
        return
    response.close()
    # aiohttp has already released the connection if the whole body arrived unread.
    wire: asyncio.Transport | None = getattr(response, "wire", None)
    if wire is not None:
        wire.abort()


def retry_after(response: aiohttp.ClientResponse, now: datetime) -> float | None:
    """Seconds that the response asks to wait, or None."""
    values = response.headers.getall(hdrs.RETRY_AFTER, ())
    if not values:
        return None
    return parse_retry_after(values, response.headers.get(hdrs.DATE), now)
