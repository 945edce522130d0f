"""One GET, bytes out: the only file that speaks to aiohttp's client.

Decides how long a request may take, how large a body may be and what each of aiohttp's errors means; not what the
bytes mean, nor whether to try again.
"""

from __future__ import annotations

import asyncio
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import hdrs
from yarl import URL

from runflow_async.errors import (
    MalformedResponseError,
    ResponseTooLargeError,
    RunflowError,
    SessionClosedError,
    TransportError,
)
from runflow_async.protocol import error_for_status, printable
from runflow_async.scopes import Scope
from runflow_async.wire import (
    DroppedConnectionError,
    Request,
    Response,
    close_with_the_loop,
    drop,
    read_up_to,
    respond_as_ours,
    retry_after,
    translate,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from runflow_async.throttle import Throttle

__all__ = ["Reply", "Transport"]

CONNECT_TIMEOUT = 10.0
KEEPALIVE_TIMEOUT = 75.0
"""Longer than the default interval by far: a connection outlives the pause, so no poll pays for TLS again."""
ERROR_BODY_LIMIT = 65_536
ERROR_BODY_TIMEOUT = 1.0
NO_CEILING = 1e9
"""aiohttp rounds timeouts above this up to whole seconds; ours are meant."""

KNOWN_ENCODINGS = frozenset({"gzip", "deflate", "br", "zstd", "identity"})


class Reply:
    """A good answer.

    Attributes:
        body: the whole body, decompressed.
        retry_after: seconds that the server asked not to be polled, or None.
        roundtrip: seconds from sending to the last byte.
    """

    __slots__ = ("_wire", "body", "retry_after", "roundtrip")

    def __init__(
        self, body: bytes, retry_after: float | None, roundtrip: float, wire: asyncio.Transport | None
    ) -> None:
        self.body = body
        self.retry_after = retry_after
        self.roundtrip = roundtrip
        self._wire = wire

    def distrust(self) -> None:
        """Close the connection that it came on: what else is in it is for nobody."""
        if self._wire is not None:
            self._wire.abort()


class Transport:
    """The connections of one session, on one event loop.

    Args:
        base_url: without a trailing slash.
        headers: sent with every request.
        http: the user's own aiohttp session, which stays theirs to close; None makes one at the first request.
        request_timeout: seconds for one request, body included; waiting for a free connection does not count.
        max_connections: requests at the same time.
        max_response_bytes: the largest body accepted, counted after decompression.
        throttle: the pace that all requests share.
    """

    def __init__(
        self,
        *,
        base_url: str,
        headers: Mapping[str, str],
        http: aiohttp.ClientSession | None,
        request_timeout: float,
        max_connections: int,
        max_response_bytes: int,
        throttle: Throttle,
    ) -> None:
        self._base_url = base_url
        self._headers = headers
        self._http = http
        self._keeper: AsyncGenerator[None, None] | None = None
        self.request_timeout = request_timeout
        self._max_connections = max_connections
        self._max_response_bytes = max_response_bytes
        self.throttle = throttle
        self._slots = asyncio.Semaphore(min(max_connections, _room_in(http) or max_connections))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._entered: set[Scope] = set()
        self._options: dict[str, Any] = {"allow_redirects": False, "raise_for_status": False}
        if http is not None:
            kept = getattr(http, "_middlewares", ())  # a request's middlewares replace the session's
            self._options["middlewares"] = (*kept, respond_as_ours)
        self.closed = False

    def url(self, path: str) -> URL:
        """The absolute URL of a path that needs no quoting."""
        return URL(self._base_url + path, encoded=True)

    def scope(self, purpose: str) -> Scope:
        """A scope that closing this transport interrupts."""
        return Scope(self._entered, purpose, self.check_loop)

    async def get(
        self, url: URL, *, sent: Callable[[], None], limit: float = math.inf, longest: float = math.inf
    ) -> Reply:
        """Send one GET and return its good answer.

        A request that finds its reused connection closed is repeated at once (RFC 9112, section 9.3.1), until the pool
        has no further one that is.

        Args:
            url: from `url()`.
            sent: called for every request that goes out.
            limit: instant on the loop's clock at which this ends at the latest, whatever it is doing.
            longest: seconds; shortens `request_timeout` for this one.

        Raises:
            RunflowError: for everything but a good answer.
        """
        http = await self._connect()
        await self._take_turn(limit)
        try:
            now = self._now()
            bound = min(self.request_timeout, longest, limit - now)
            if bound <= 0:
                raise TransportError("no time was left to send the request")
            return await self._send(http, url, now + bound, sent)
        finally:
            self._slots.release()

    async def _send(self, http: aiohttp.ClientSession, url: URL, deadline: float, sent: Callable[[], None]) -> Reply:
        for repeats in range(self._max_connections + 1):
            try:
                sent()
                return await self._exchange(http, url, deadline)
            except RuntimeError:
                if http.closed:
                    raise SessionClosedError from None
                raise
            except (aiohttp.ClientError, OSError, ValueError) as error:
                if http.closed:
                    raise SessionClosedError from error
                pooled = repeats < self._max_connections
                if not (_is_stale(error, repeats) and pooled and deadline > self._now()):
                    raise translate(error, url) from error
            except asyncio.CancelledError:
                # A closing aiohttp session cancels what queues for its connections, though nobody asked for it.
                if http.closed and not _is_cancelled():
                    raise SessionClosedError from None
                raise
        raise AssertionError  # pragma: no cover  # the last round returns or raises

    async def _exchange(self, http: aiohttp.ClientSession, url: URL, deadline: float) -> Reply:
        started = self._now()
        timeout = aiohttp.ClientTimeout(
            total=deadline - started, sock_connect=CONNECT_TIMEOUT, ceil_threshold=NO_CEILING
        )
        response = await http.get(url, headers=self._headers, timeout=timeout, **self._options)
        try:
            if response.status != HTTPStatus.OK:
                raise await self._read_error(response, started)
            body = await self._read_body(response)
        finally:
            if response.content.at_eof():
                response.release()
            else:
                drop(response)
        now = self._now()
        self.throttle.answered(now)
        return Reply(body, retry_after(response), now - started, getattr(response, "wire", None))

    async def _read_error(self, response: aiohttp.ClientResponse, started: float) -> RunflowError:
        asked = retry_after(response)
        status = response.status
        if status == HTTPStatus.TOO_MANY_REQUESTS or (asked and status == HTTPStatus.SERVICE_UNAVAILABLE):
            self.throttle.refused(started, self._now(), asked)
        try:
            async with asyncio.timeout(ERROR_BODY_TIMEOUT):
                body = await read_up_to(response, ERROR_BODY_LIMIT)
        except (aiohttp.ClientError, TimeoutError):
            body = b""  # the status says what there is to say
        return error_for_status(status, response.headers, body, asked)

    async def _read_body(self, response: aiohttp.ClientResponse) -> bytes:
        encoding = response.headers.get(hdrs.CONTENT_ENCODING)
        if encoding is not None and encoding.lower() not in KNOWN_ENCODINGS:
            raise MalformedResponseError(f"unknown Content-Encoding {printable(encoding, 40)!r}")
        declared = response.content_length
        if declared is not None and declared > self._max_response_bytes:
            raise ResponseTooLargeError(self._max_response_bytes)
        body = await read_up_to(response, self._max_response_bytes + 1)
        if len(body) > self._max_response_bytes:
            raise ResponseTooLargeError(self._max_response_bytes)
        return body

    async def _take_turn(self, limit: float) -> None:
        if self.throttle.is_open and not self._slots.locked():
            await self._slots.acquire()  # does not suspend
            return
        try:
            async with asyncio.timeout_at(None if limit == math.inf else limit):
                await self._slots.acquire()
                try:
                    await self.throttle.turn()
                except BaseException:
                    self._slots.release()
                    raise
        except TimeoutError:
            raise TransportError("no connection became free in time") from None

    async def _connect(self) -> aiohttp.ClientSession:
        self.check_open()
        self.check_loop()
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._max_connections, keepalive_timeout=KEEPALIVE_TIMEOUT),
                cookie_jar=aiohttp.DummyCookieJar(),
                request_class=Request,
                response_class=Response,
                timeout=aiohttp.ClientTimeout(total=None),
            )
            self._keeper = close_with_the_loop(self._http)
            await anext(self._keeper)
        if self._http.closed:
            raise SessionClosedError
        return self._http

    def check_open(self) -> None:
        """Raise SessionClosedError if it was closed."""
        if self.closed:
            raise SessionClosedError

    def check_loop(self) -> None:
        """Raise RuntimeError if it is used on another event loop, or thread, than at first."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError("a RunflowSession belongs to one event loop: open another one in this loop or thread")

    def _now(self) -> float:
        assert self._loop is not None  # noqa: S101  # _connect comes first
        return self._loop.time()

    async def close(self) -> None:
        """Make everybody who is waiting leave with `SessionClosedError`, then close the connections.

        A close that was cancelled is finished by the next one.
        """
        if self._loop is not None and self._loop.is_closed():
            self.closed = True  # its connections went with it
            return
        self.check_loop()
        self.closed = True
        await asyncio.gather(*(scope.interrupt(SessionClosedError()) for scope in tuple(self._entered)))
        keeper = self._keeper
        if keeper is None or self._http is None:
            return
        await self._http.close()
        if self._keeper is not None:
            self._keeper = None
            await keeper.aclose()


def _is_stale(error: Exception, repeats: int) -> bool:
    """Whether it was a reused connection that the server had closed meanwhile, so that the request may go again."""
    if isinstance(error, DroppedConnectionError):
        return error.reused
    # A user's own aiohttp session does not tell; most often it was.
    return isinstance(error, aiohttp.ClientConnectionResetError) and repeats == 0


def _is_cancelled() -> bool:
    # Not a variable of the caller's: its frame, kept by the error that its task keeps, would keep the task.
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _room_in(http: aiohttp.ClientSession | None) -> int:
    # What queues for a connection inside of a user's smaller pool uses up its request's time; 0 is no bound.
    connector = http.connector if http is not None else None
    bounds = (connector.limit, connector.limit_per_host) if connector is not None else ()
    return min(filter(None, bounds), default=0)
