"""GETs of files, over connections of their own that know no key, no cookie and no proxy.

Decides where a request may go, redirects included; not what its response means for the file. No error has an exception
of aiohttp as its cause or context, because those hold the whole URL with its signature.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Self

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractResolver
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from runflow_async._downloads.addresses import UnsafeAddressError, shown_url
from runflow_async._http.ordinary import Response
from runflow_async._http.wire import CONNECT_SECONDS, NEVER_ROUND, retry_after, translate
from runflow_async._text import Secret
from runflow_async._verdict import Verdict
from runflow_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from types import TracebackType

    from aiohttp.abc import ResolveResult
    from multidict import CIMultiDictProxy

    from runflow_async._downloads.addresses import Addresses
    from runflow_async._downloads.wanted import Wanted
    from runflow_async.errors import DownloadError

__all__ = ["Exchange", "FileResponse"]

MOST_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
DRAIN = "_read_nowait"
"""aiohttp's only method that returns what came before the connection was lost. Without it, the next attempt gets it."""
FAILURES = (aiohttp.ClientError, HttpProcessingError, OSError, ValueError)


class Exchange:
    """Connections to the hosts of files; enter it to use them.

    Args:
        addresses: those that may be connected to.
        connections: at the same time.
        stall_seconds: longest time without a byte, in any phase of a request.
        utc_now: the wall clock.
    """

    def __init__(
        self, addresses: Addresses, connections: int, stall_seconds: float, utc_now: Callable[[], datetime]
    ) -> None:
        self._addresses = addresses
        self._utc_now = utc_now
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, resolver=_Resolver(addresses)),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity"},  # a range of compressed bytes could not be resumed
            timeout=aiohttp.ClientTimeout(
                total=None,
                connect=stall_seconds,
                sock_connect=CONNECT_SECONDS,
                sock_read=stall_seconds,
                ceil_threshold=NEVER_ROUND,
            ),
            response_class=Response,  # with which aiohttp sends nothing twice
            trust_env=False,
            auto_decompress=True,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def get(self, wanted: Wanted, headers: Mapping[str, str]) -> FileResponse:
        """Request a file; redirects are followed as long as they lead where a file may be.

        Raises:
            DownloadError: if there is no response, or it leads nowhere.
        """
        target: Secret = wanted.url
        came_from: Secret | None = None
        for _ in range(1 + MOST_REDIRECTS):
            place, response = await self._get(wanted, target, came_from, headers)
            if response.status not in REDIRECTS:
                return response
            response.close()
            location = response.headers.get(hdrs.LOCATION)
            if not location:
                raise wanted.error(f"HTTP {response.status} without a Location", status=response.status)
            target, came_from = Secret(location), place
        raise wanted.error(f"more than {MOST_REDIRECTS} redirects")

    async def _get(
        self, wanted: Wanted, target: Secret, came_from: Secret | None, headers: Mapping[str, str]
    ) -> tuple[Secret, FileResponse]:
        try:
            url = self._addresses.parse(target, came_from)
            response = await self._http.get(url, headers=headers, allow_redirects=False)
            return Secret(url), FileResponse(wanted, response, self._utc_now)
        except FAILURES as failure:
            error = _error(wanted, target, failure)
        raise error


class FileResponse:
    """The response to a request for a file; close it.

    Attributes:
        status: its status code.
        headers: its headers.
        retry_after: seconds that it asks to wait, or None.
    """

    __slots__ = ("_response", "_wanted", "headers", "retry_after", "status")

    def __init__(self, wanted: Wanted, response: aiohttp.ClientResponse, utc_now: Callable[[], datetime]) -> None:
        self.status = response.status
        self.headers: CIMultiDictProxy[str] = response.headers
        self.retry_after = retry_after(response.headers, utc_now)
        self._wanted = wanted
        self._response = response

    async def read(self) -> bytes:
        """Return the next bytes of the body; none at its end.

        Raises:
            DownloadError: if the connection is lost before, or nothing comes.
        """
        try:
            return await self._response.content.readany()
        except FAILURES as failure:
            error = _error(self._wanted, self._wanted.url, failure)
        # aiohttp raises the error of a lost connection even if bytes are left that came before it.
        drain: Callable[[int], bytes] | None = getattr(self._response.content, DRAIN, None)
        if drain is not None and (left := drain(-1)):
            return left
        raise error

    def close(self) -> None:
        """Close its connection, unless the whole body was read."""
        self._response.close()


class _Resolver(AbstractResolver):
    """Resolves names to addresses that may be connected to; those are connected to, and not resolved again."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Resolve a name.

        Raises:
            UnsafeAddressError: if it has no such address.
        """
        found = await self._resolver.resolve(host, port, family)
        allowed = self._addresses.choose(host, (one["host"] for one in found))
        return [one for one in found if one["host"] in allowed]

    async def close(self) -> None:
        """There is nothing to close."""
        await self._resolver.close()


def _error(wanted: Wanted, target: Secret, failure: Exception) -> DownloadError:
    """Our error for one of aiohttp or the operating system."""
    asked = shown_url(target)
    to = "" if asked == wanted.shown_url else f" (redirected to {asked})"
    unsafe = _unsafe_in(failure)
    if unsafe is not None:
        return wanted.error(f"{unsafe}{to}")
    known = translate(failure, URL(asked))
    if isinstance(known, ConfigurationError):  # its text may have the URL
        return wanted.error(f"no request can be made for this URL{to}")
    return wanted.error(f"{known}{to}", verdict=Verdict(known.verdict))


def _unsafe_in(failure: BaseException | None) -> UnsafeAddressError | None:
    while failure is not None and not isinstance(failure, UnsafeAddressError):
        failure = failure.__cause__ or getattr(failure, "os_error", None)
    return failure
