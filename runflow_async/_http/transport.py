"""One GET, bytes out: the only module that sends requests.

Decides how long a request may take, how large a body may be and what each of aiohttp's errors means; not what the
bytes mean, nor whether to try again.
"""

from __future__ import annotations

import asyncio
import logging
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from runflow_async._http.bodies import read_body, read_start
from runflow_async._http.borrowed import callers_own, check_http
from runflow_async._http.protocol import error_for_status
from runflow_async._http.wire import (
    DroppedConnectionError,
    Request,
    Response,
    authorize,
    close_with_the_loop,
    cut,
    let_go,
    respond_as_ours,
    retry_after,
    translate,
)
from runflow_async._usercode import UserCode
from runflow_async.errors import RateLimitError, RunflowError, SessionClosedError, TransportError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from runflow_async._http.throttle import Throttle
    from runflow_async._lifetime import Lifetime

__all__ = ["Reply", "Transport"]

logger = logging.getLogger("runflow_async")

ONLY_CONNECT = aiohttp.ClientTimeout(total=None, sock_connect=10.0, ceil_threshold=1e9)
"""The one bound left to aiohttp, which rounds to whole seconds above a threshold, and takes a total that has run out
by the time it looks for none at all."""
KEEPALIVE_TIMEOUT = 75.0
"""Longer than the default interval by far: a connection outlives the pause, so no poll pays for TLS again."""
ERROR_BODY_LIMIT = 65_536
ERROR_BODY_TIMEOUT = 1.0


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
    """The connections of one session.

    Args:
        lifetime: of the session.
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
        lifetime: Lifetime,
        *,
        base_url: str,
        headers: Mapping[str, str],
        http: aiohttp.ClientSession | None,
        request_timeout: float,
        max_connections: int,
        max_response_bytes: int,
        throttle: Throttle,
    ) -> None:
        self._lifetime = lifetime
        self._base_url = base_url
        self._http = check_http(http)
        self._is_borrowed = http is not None
        self._keeper: AsyncGenerator[None, None] | None = None
        self._gone: asyncio.Future[None] | None = None
        self.request_timeout = request_timeout
        self._max_connections = max_connections
        self._max_response_bytes = max_response_bytes
        self.throttle = throttle
        self._room = min(max_connections, _room_in(http) or max_connections)
        self._slots = asyncio.Semaphore(self._room)
        self._options: dict[str, Any] = {
            "headers": headers,
            "timeout": ONLY_CONNECT,
            "allow_redirects": False,
            "raise_for_status": False,
            "auto_decompress": True,
        }
        if http is not None:
            self._options |= _for_borrowed(http, headers)

    async def get(
        self,
        path: str,
        *,
        sent: Callable[[], None],
        limit: float = math.inf,
        longest: float = math.inf,
        deadline: float = math.inf,
    ) -> Reply:
        """Send one GET and return its good answer.

        A request that finds its reused connection closed is repeated at once (RFC 9112, section 9.3.1), until the pool
        has no further one that is.

        Args:
            path: below the base URL, and already quoted.
            sent: called for every request that goes out.
            limit: instant on the loop's clock at which this ends at the latest, whatever it is doing.
            longest: seconds; shortens `request_timeout` for this one.
            deadline: instant; a `Retry-After` that holds all requests until later than that is not waited for.

        Raises:
            RateLimitError: at once, if such a hold is on, or comes while this queues.
            RunflowError: for everything else but a good answer.
            Exception: what the code in the caller's own aiohttp session raises.
        """
        http = await self._connect()
        await self._take_turn(limit, deadline)
        try:
            now = self._lifetime.now()
            bound = min(self.request_timeout, longest, limit - now)
            if bound <= 0:
                raise TransportError("no time was left to send the request")
            url = URL(self._base_url + path, encoded=True)
            return await self._send(http, url, now + bound, sent)
        finally:
            self._slots.release()

    async def _send(self, http: aiohttp.ClientSession, url: URL, deadline: float, sent: Callable[[], None]) -> Reply:
        for repeats in range(self._max_connections + 1):
            try:
                sent()
                with UserCode("the aiohttp session"):
                    return await self._exchange(http, url, deadline)
            except RuntimeError:
                # A closing aiohttp session cancels what queues for its connections, though nobody asked for it.
                if http.closed:
                    raise SessionClosedError from None
                raise
            except (aiohttp.ClientError, OSError, ValueError) as error:
                failure: Exception = error
            if self._is_borrowed and (own := callers_own(failure)) is not None:
                raise own
            if http.closed:
                raise SessionClosedError from failure
            pooled = repeats < self._max_connections
            if not (_is_stale(failure, repeats) and pooled and deadline > self._lifetime.now()):
                raise translate(failure, url) from failure
            logger.debug("%s: the connection had been closed while it was idle; sent again on another one", url)
        raise AssertionError  # pragma: no cover  # the last round returns or raises

    async def _exchange(self, http: aiohttp.ClientSession, url: URL, deadline: float) -> Reply:
        started = self._lifetime.now()
        response = None
        bound = asyncio.timeout_at(deadline)
        try:
            async with bound:
                response = await http.get(url, **self._options)
                if response.status == HTTPStatus.OK:
                    body = await read_body(response, self._max_response_bytes)
                else:
                    self._heed(response, started)
                    bound.reschedule(min(deadline, self._lifetime.now() + ERROR_BODY_TIMEOUT))
                    body = await read_start(response, ERROR_BODY_LIMIT)
        except (aiohttp.ClientError, TimeoutError):
            if response is None or response.status == HTTPStatus.OK:
                raise
            body = b""  # the status says what there is to say
        finally:
            del bound  # it knows its task, which keeps the error that keeps this frame
            if response is not None:
                let_go(response)
        assert response is not None  # noqa: S101  # or it has raised
        asked = retry_after(response)
        if response.status != HTTPStatus.OK:
            raise error_for_status(response.status, response.headers, body, asked)
        now = self._lifetime.now()
        self.throttle.answered(now)
        return Reply(body, asked, now - started, getattr(response, "wire", None))

    def _heed(self, response: aiohttp.ClientResponse, started: float) -> None:
        """Slow down if the server asks for it."""
        asked = retry_after(response)
        if response.status == HTTPStatus.TOO_MANY_REQUESTS or (
            asked and response.status == HTTPStatus.SERVICE_UNAVAILABLE
        ):
            self.throttle.refused(started, self._lifetime.now(), asked)

    async def _take_turn(self, limit: float, deadline: float) -> None:
        if self.throttle.is_open and not self._slots.locked():
            await self._slots.acquire()  # does not suspend
            return
        crowded = False
        bound = asyncio.timeout_at(None if limit == math.inf else limit)
        try:
            async with bound:
                with self.throttle.queueing(bound, deadline):
                    await self._slots.acquire()
                    crowded = True  # by those who queue for the pace, this one included
                    try:
                        await self.throttle.turn()
                    except BaseException:
                        self._slots.release()
                        raise
        except TimeoutError:
            raise self._missed_turn(deadline, crowded) from None
        finally:
            del bound  # it knows its task, which keeps the error that keeps this frame

    def _missed_turn(self, deadline: float, crowded: bool) -> RunflowError:
        now = self._lifetime.now()
        held = self.throttle.held_for(now)
        hold = f"an earlier answer's Retry-After holds every request of this session for {held:.1f} s more"
        if held and now + held > deadline:
            return RateLimitError(HTTPStatus.TOO_MANY_REQUESTS, message=hold, retry_after=held)
        if held:
            return TransportError(hold)
        if crowded or self.throttle.is_crowded:
            return TransportError(
                "the session's pace (max_rate, or what is left of it after a 429) gave no turn in time"
            )
        return TransportError(f"no connection became free in time; all {self._room} were in use")

    async def _connect(self) -> aiohttp.ClientSession:
        self._lifetime.check_open()
        self._lifetime.check_loop()
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

    async def close(self) -> None:
        """Close the connections. One that was cancelled is finished by the next one."""
        if self._keeper is not None and self._http is not None:
            self._gone = asyncio.ensure_future(cut(self._http))
            await self._keeper.aclose()  # finds it closed already, and does not suspend
            self._keeper = None
        if self._gone is not None and self._http is not None:
            await asyncio.shield(self._gone)
            if self._http.connector is not None:
                await self._http.connector.close()  # its resolver


def _is_stale(error: Exception, repeats: int) -> bool:
    """Whether it was a reused connection that the server had closed meanwhile, so that the request may go again."""
    if isinstance(error, DroppedConnectionError):
        return error.reused
    # A user's own aiohttp session does not tell; most often it was.
    return isinstance(error, aiohttp.ClientConnectionResetError) and repeats == 0


def _for_borrowed(http: aiohttp.ClientSession, headers: Mapping[str, str]) -> dict[str, Any]:
    kept = getattr(http, "_middlewares", ())  # a request's middlewares replace the session's
    if not http.trust_env:
        return {"middlewares": (*kept, respond_as_ours)}
    # aiohttp refuses a request with an Authorization if ~/.netrc has one for the host, too: ours is added after that.
    return {"headers": None, "middlewares": (authorize(headers), *kept, respond_as_ours)}


def _room_in(http: aiohttp.ClientSession | None) -> int:
    # What queues for a connection inside of a user's smaller pool uses up its request's time; 0 is no bound.
    connector = http.connector if http is not None else None
    bounds = (connector.limit, connector.limit_per_host) if connector is not None else ()
    return min(filter(None, bounds), default=0)
