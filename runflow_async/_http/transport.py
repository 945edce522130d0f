"""One GET, bytes out: the only module that sends requests.

Decides how long a request may take, how large a body may be and when a request that found its connection closed is
sent again; not what the bytes mean, nor whether to retry.
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
from runflow_async._http.borrowed import callers_own
from runflow_async._http.connections import Connections
from runflow_async._http.protocol import error_for_status
from runflow_async._http.replies import Reply
from runflow_async._http.turns import Turns
from runflow_async._http.wire import DroppedConnectionError, let_go, retry_after, translate
from runflow_async._usercode import UserCode
from runflow_async.errors import RunflowError, ServerError, SessionClosedError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runflow_async._http.throttle import Throttle
    from runflow_async._lifetime import Lifetime

__all__ = ["Transport"]

logger = logging.getLogger("runflow_async")

ONLY_CONNECT = aiohttp.ClientTimeout(total=None, sock_connect=10.0, ceil_threshold=1e9)
"""The only timeout left to aiohttp. It rounds timeouts above a threshold up to whole seconds, and takes a total that
has run out for none at all."""
OVERLOADED = {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
ERROR_BODY_BYTES = 65_536
ERROR_BODY_SECONDS = 1.0


class Transport:
    """Exchanges a GET for a `Reply`, over the connections of one session.

    Args:
        lifetime: of the session.
        throttle: the rate that all of its requests share.
        base_url: without a trailing slash.
        headers: sent with every request.
        http: the caller's own aiohttp session, which stays theirs to close; None makes one with the first request.
        request_timeout: seconds for one request, including the body; waiting for a free connection does not count.
        max_connections: requests in flight at the same time.
        max_response_bytes: largest body accepted, counted after decompression.
    """

    def __init__(
        self,
        lifetime: Lifetime,
        throttle: Throttle,
        *,
        base_url: str,
        headers: Mapping[str, str],
        http: aiohttp.ClientSession | None,
        request_timeout: float,
        max_connections: int,
        max_response_bytes: int,
    ) -> None:
        self.request_timeout = request_timeout
        self._lifetime = lifetime
        self._throttle = throttle
        self._connections = Connections(http, max_connections)
        self._turns = Turns(throttle, self._connections.limit)
        self._base_url = base_url
        self._max_response_bytes = max_response_bytes
        self._options: dict[str, Any] = {
            "timeout": ONLY_CONNECT,
            "allow_redirects": False,
            "raise_for_status": False,
            "auto_decompress": True,
            **self._connections.options(headers),
        }

    async def get(
        self,
        path: str,
        *,
        sent: Callable[[], None],
        limit: float = math.inf,
        longest: float = math.inf,
        deadline: float = math.inf,
    ) -> Reply:
        """Send one GET and return its response, whose status is 200.

        A request that finds its reused connection closed is sent again at once (RFC 9112, section 9.3.1), until the
        pool cannot hold another one like it.

        Args:
            path: below the base URL, and already quoted.
            sent: called for every request that goes out.
            limit: instant on the loop's clock at which this ends at the latest, whatever it is doing.
            longest: seconds; shortens `request_timeout` for this request.
            deadline: instant; a `Retry-After` that holds all requests until later than that is not waited for.

        Raises:
            RateLimitError: at once, if such a `Retry-After` is in force, or arrives while this queues.
            RunflowError: for every other failure.
            Exception: raised by code in the caller's own aiohttp session.
        """
        self._lifetime.check_open()
        self._lifetime.check_loop()
        http = await self._connections.open()
        await self._turns.take(limit, deadline)
        now = self._lifetime.now()
        seconds = min(self.request_timeout, longest, limit - now)
        try:
            if seconds <= 0:
                raise TransportError("no time was left to send the request")
            reply = await self._send(http, URL(self._base_url + path, encoded=True), now + seconds, sent)
        except RunflowError as error:
            if _is_overload(error, full_time=seconds == self.request_timeout):
                self._turns.overloaded(now, self._lifetime.now())
            raise
        else:
            self._turns.answered()
            return reply
        finally:
            self._turns.give_back()

    async def _send(self, http: aiohttp.ClientSession, url: URL, deadline: float, sent: Callable[[], None]) -> Reply:
        repeats = 0
        while True:
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
            if self._connections.is_borrowed and (own := callers_own(failure)) is not None:
                raise own
            if http.closed:
                raise SessionClosedError from failure
            is_repeatable = _is_stale(failure, repeats) and repeats < self._connections.limit
            if not is_repeatable or self._lifetime.now() >= deadline:
                raise translate(failure, url) from failure
            logger.debug("%s: the connection had been closed while it was idle; sent again on another one", url)
            repeats += 1

    async def _exchange(self, http: aiohttp.ClientSession, url: URL, deadline: float) -> Reply:
        started = self._lifetime.now()
        async with asyncio.timeout_at(deadline):
            response = await http.get(url, **self._options)
            if response.status == HTTPStatus.OK:
                return await self._accept(response, started)
        raise await self._refusal(response, started, deadline)

    async def _accept(self, response: aiohttp.ClientResponse, started: float) -> Reply:
        try:
            body = await read_body(response, self._max_response_bytes)
        finally:
            let_go(response)
        now = self._lifetime.now()
        self._throttle.answered(now)
        asked = retry_after(response, self._lifetime.utc_now())
        return Reply(body, asked, now - started, getattr(response, "wire", None))

    async def _refusal(self, response: aiohttp.ClientResponse, started: float, deadline: float) -> RunflowError:
        """Return the error that the status stands for, and slow down if the server wants fewer requests."""
        now, status = self._lifetime.now(), response.status
        asked = retry_after(response, self._lifetime.utc_now())
        if status == HTTPStatus.TOO_MANY_REQUESTS or (status == HTTPStatus.SERVICE_UNAVAILABLE and asked is not None):
            self._throttle.refused(started, now, asked)
        try:
            async with asyncio.timeout_at(min(deadline, now + ERROR_BODY_SECONDS)):
                body = await read_start(response, ERROR_BODY_BYTES)
        except (aiohttp.ClientError, TimeoutError):
            body = b""  # the status says enough
        finally:
            let_go(response)
        return error_for_status(status, response.headers, body, asked)

    async def close(self) -> None:
        """Close the connections, unless they are the caller's own. A close that was cancelled is finished by the next.

        They are cut before the first suspension.
        """
        await self._connections.close()


def _is_overload(error: RunflowError, *, full_time: bool) -> bool:
    """Whether a server without capacity fails like this: with certain statuses, or by using up a request's time."""
    if isinstance(error, ServerError):
        return error.status in OVERLOADED
    return full_time and isinstance(error.__cause__, TimeoutError)


def _is_stale(error: Exception, repeats: int) -> bool:
    """Whether the server had closed a reused connection meanwhile, so that the request may be sent again."""
    if isinstance(error, DroppedConnectionError):
        return error.reused
    # The caller's own aiohttp session does not know. Most often it was.
    return isinstance(error, aiohttp.ClientConnectionResetError) and repeats == 0
