"""One request, bytes out, over a lane of our own or through an aiohttp session.

Decides how long a request may take, how large a body may be and when a request that found its connection closed is
sent again; not what the bytes mean, nor whether to retry.
"""

from __future__ import annotations

import asyncio
import logging
import math
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from runflow_async._http.bodies import read_body, read_start
from runflow_async._http.borrowed import callers_own
from runflow_async._http.connections import Connections
from runflow_async._http.protocol import error_for_status
from runflow_async._http.replies import Reply
from runflow_async._http.turns import Turns
from runflow_async._http.wire import DroppedConnectionError, retry_after, translate, was_connecting
from runflow_async._observing import Exchange
from runflow_async.errors import RunflowError, ServerError, SessionClosedError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runflow_async._http.lane import Lane
    from runflow_async._http.line import Line
    from runflow_async._http.ordinary import Ordinary, OrdinaryResponse
    from runflow_async._http.posts import Post
    from runflow_async._http.throttle import Throttle
    from runflow_async._lifetime import Lifetime
    from runflow_async._observing import Observing, Origin

__all__ = ["Transport"]

logger = logging.getLogger("runflow_async")

SUCCESS = (HTTPStatus.OK.value,)
OVERLOADED = {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
FAILURES = (aiohttp.ClientError, HttpProcessingError, OSError, ValueError)
ERROR_BODY_BYTES = 65_536
ERROR_BODY_SECONDS = 1.0


class Transport:
    """Exchanges a request for a `Reply`, over the connections of one session.

    Args:
        lifetime: of the session.
        throttle: the rate that all of its requests share.
        observing: the observers of the session.
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
        observing: Observing,
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
        self._observing = observing
        self._connections = Connections(http, max_connections, base_url, headers)
        self._turns = Turns(throttle, self._connections.limit)
        self._base_url = base_url
        self._max_response_bytes = max_response_bytes

    async def get(
        self,
        path: str,
        origin: Origin,
        *,
        sent: Callable[[], None],
        limit: float = math.inf,
        longest: float = math.inf,
        deadline: float = math.inf,
        on_hold: Callable[[float], None] | None = None,
        post: Post | None = None,
    ) -> Reply:
        """Send one GET, or a POST, and return its response, whose status is 200, or one that the POST expects.

        A request that finds its reused connection closed is sent again at once (RFC 9112, section 9.3.1), until the
        pool cannot hold another one like it.

        Args:
            path: below the base URL, and already quoted.
            origin: what it is sent for.
            sent: called for every request that goes out.
            limit: instant on the loop's clock at which this ends at the latest, whatever it is doing.
            longest: seconds; shortens `request_timeout` for this request.
            deadline: instant; a `Retry-After` that holds all requests until later than that is not waited for.
            on_hold: called with the instant until which a `Retry-After` holds this, for whoever decides otherwise.
            post: what a POST carries.

        Raises:
            RateLimitError: at once, if such a `Retry-After` is in force, or arrives while this queues.
            RunflowError: for every other failure.
            Exception: raised by code in the caller's own aiohttp session.
        """
        self._lifetime.check_open()
        self._lifetime.check_loop()
        way = self._connections.way or await self._connections.open()
        if way.closed:
            raise SessionClosedError
        await self._turns.take(limit, deadline, on_hold)
        now, repeats = self._lifetime.now(), -1
        seconds = min(self.request_timeout, longest, limit - now)
        try:
            if seconds <= 0:
                raise TransportError("no time was left to send the request")
            reply = None
            while reply is None:  # once more for each connection that was found closed
                sent()
                repeats += 1
                if self._observing.is_watched or logger.isEnabledFor(logging.DEBUG):
                    reply = await self._send_observed(way, path, now + seconds, post, repeats=repeats, origin=origin)
                else:
                    reply = await self._send(way, path, now + seconds, post, repeats=repeats)
        except RunflowError as error:
            if _is_overload(error, full_time=seconds == self.request_timeout):
                self._turns.overloaded(now, self._lifetime.now())
            raise
        else:
            self._turns.answered()
            return reply
        finally:
            self._turns.give_back()

    async def _send_observed(
        self, way: Lane | Ordinary, path: str, deadline: float, post: Post | None, *, repeats: int, origin: Origin
    ) -> Reply | None:
        method = "GET" if post is None else "POST"
        with Exchange(self._observing, origin, method, path, self._lifetime.now) as exchange:
            reply = await self._send(way, path, deadline, post, repeats=repeats, exchange=exchange)
            if reply is None:
                exchange.error = TransportError("the connection had been closed while it was idle")
            else:
                exchange.size = len(reply.body)
            return reply

    async def _send(
        self,
        way: Lane | Ordinary,
        path: str,
        deadline: float,
        post: Post | None,
        *,
        repeats: int,
        exchange: Exchange | None = None,
    ) -> Reply | None:
        """Send the request once. Return None if its connection was found closed, and it may be sent again at once."""
        started = self._lifetime.now()
        try:
            response = await way.send(path, deadline, post, None if exchange is None else exchange.headers)
            if exchange is not None:
                exchange.status = response.status
            if response.status not in (SUCCESS if post is None else post.successes):
                raise await self._refusal(response, started, deadline, post)
            body = await response.read(read_body, self._max_response_bytes)
        except RuntimeError:
            # A closing aiohttp session cancels what queues for its connections, though nobody asked for it.
            if way.closed:
                raise SessionClosedError from None
            raise
        except FAILURES as error:
            failure: Exception = error
        else:
            now = self._lifetime.now()
            self._throttle.answered(now)
            asked = retry_after(response.headers, self._lifetime.utc_now)
            return Reply(body, asked, now - started, response.wire)
        is_safe = post is None or post.idempotency_key is not None
        self._require_repeatable(failure, way, path, deadline, repeats if is_safe else math.inf)
        return None

    def _require_repeatable(
        self, failure: Exception, way: Lane | Ordinary, path: str, deadline: float, repeats: float
    ) -> None:
        """Raise what a failure means, unless the request may be sent again at once."""
        if self._connections.is_borrowed and (own := callers_own(failure)) is not None:
            raise own
        if way.closed:
            raise SessionClosedError from failure
        url = URL(self._base_url + path, encoded=True)
        is_stale = isinstance(failure, DroppedConnectionError) and failure.reused
        if not is_stale or repeats >= self._connections.limit or self._lifetime.now() >= deadline:
            raise translate(failure, url) from failure
        logger.debug("%s: the connection had been closed while it was idle; sent again on another one", url)

    async def _refusal(
        self, response: Line | OrdinaryResponse, started: float, deadline: float, post: Post | None
    ) -> RunflowError:
        """Return the error that the status stands for, and slow down if the server wants fewer requests."""
        now, status = self._lifetime.now(), response.status
        asked = retry_after(response.headers, self._lifetime.utc_now)
        if status == HTTPStatus.TOO_MANY_REQUESTS or (status == HTTPStatus.SERVICE_UNAVAILABLE and asked is not None):
            self._throttle.refused(started, now, asked)
        try:
            async with asyncio.timeout_at(min(deadline, now + ERROR_BODY_SECONDS)):
                body = await response.read(read_start, ERROR_BODY_BYTES)
        except (aiohttp.ClientError, TimeoutError):
            body = b""  # the status says enough
        hint = None if post is None else post.hints.get(status)
        return error_for_status(status, response.headers, body, asked, hint)

    async def close(self) -> None:
        """Close the connections, unless they are the caller's own. A close that was cancelled is finished by the next.

        They are cut before the first suspension.
        """
        await self._connections.close()


def _is_overload(error: RunflowError, *, full_time: bool) -> bool:
    """Whether a server without capacity fails like this: with certain statuses, or by using up a request's time.

    Only what the server works on, or would if it came to that, counts. A name that cannot be resolved, a refused
    connection and one that is not made in time cost it nothing, and 500 and 502 are defects rather than a queue.
    """
    if isinstance(error, ServerError):
        return error.status in OVERLOADED
    cause = error.__cause__
    return full_time and isinstance(cause, TimeoutError) and not was_connecting(cause)
