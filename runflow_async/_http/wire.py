"""What aiohttp's errors and headers mean, and its timeouts."""

from __future__ import annotations

import ssl
from traceback import walk_tb
from typing import TYPE_CHECKING

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
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from multidict import CIMultiDictProxy
    from yarl import URL

__all__ = ["CONNECT_SECONDS", "NEVER_ROUND", "DroppedConnectionError", "retry_after", "translate", "was_connecting"]

CONNECT_SECONDS = 10.0
"""Longest time until a connection is made."""
NEVER_ROUND = 1e9
"""A `ceil_threshold`: aiohttp rounds longer timeouts up to whole seconds."""

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


def was_connecting(error: BaseException) -> bool:
    """Whether there was no connection yet when an error of aiohttp occurred, so that nothing was sent.

    Its type does not tell: a timeout around the whole request looks the same in every phase.
    """
    return any(
        frame.f_globals.get("__name__") == aiohttp.connector.__name__
        for cause in _causes(error)
        for frame, _ in walk_tb(cause.__traceback__)
    )


def retry_after(headers: CIMultiDictProxy[str], utc_now: Callable[[], datetime]) -> float | None:
    """Seconds that a response asks to wait, or None."""
    values = headers.getall(hdrs.RETRY_AFTER, ())
    if not values:
        return None
    return parse_retry_after(values, headers.get(hdrs.DATE), utc_now())
