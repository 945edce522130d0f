"""The HTTP contract as pure functions: what is sent, and what a status and its headers mean.

Knows nothing of sockets, of clocks other than the one passed in, or of when to try again.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit
from uuid import UUID

from runflow_async import errors
from runflow_async._version import __version__
from runflow_async.decoding import decode_error
from runflow_async.errors import ConfigurationError, MalformedResponseError, RunflowError
from runflow_async.models import ErrorDetail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runflow_async.salvage import Warn

__all__ = [
    "DEFAULT_BASE_URL",
    "Secret",
    "batch_path",
    "check_answer_id",
    "error_for_status",
    "items_path",
    "parse_api_key",
    "parse_base_url",
    "parse_organization_id",
    "parse_retry_after",
    "printable",
    "request_headers",
]

DEFAULT_BASE_URL = "https://api.runflow.io"

_visible_ascii = re.compile(r"[\x21-\x7e]+")
_delay_seconds = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)


class Secret(str):
    """Text whose `repr` is masked, so that tracebacks with locals, logs and debuggers do not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def parse_api_key(value: str) -> Secret:
    """Return the key, masked against being shown; the message of an error does not hold it either.

    Raises:
        ConfigurationError: if it is empty or holds anything but visible ASCII.
    """
    if not isinstance(value, str) or not _visible_ascii.fullmatch(value):
        raise ConfigurationError(
            "the API key (api_key or RUNFLOW_API_KEY) must be visible ASCII without blanks or line ends"
        )
    return Secret(value)


def parse_organization_id(value: UUID | str | None) -> str | None:
    """Return the organisation's id as it goes into a header.

    Raises:
        ConfigurationError: if it holds anything but visible ASCII.
    """
    if value is None or isinstance(value, UUID):
        return None if value is None else str(value)
    if not isinstance(value, str) or not _visible_ascii.fullmatch(value):
        raise ConfigurationError("organization_id must be a UUID or visible ASCII without blanks or line ends")
    return value


def parse_base_url(value: str) -> str:
    """Return the base URL without its trailing slash.

    Raises:
        ConfigurationError: if it is no http(s) URL, carries a user, query or fragment, or is plain http to
            a host other than loopback, where the key would travel in the clear.
    """
    parts = _split_url(value)
    if "@" in value:
        raise ConfigurationError("base_url must not carry a user or password: pass the key as api_key")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"base_url must be an http(s) URL with a host, not {printable(value)!r}")
    if parts.query or parts.fragment or "?" in value or "#" in value:
        raise ConfigurationError("base_url must not have a query or a fragment")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ConfigurationError(
            f"base_url must be https for {parts.hostname}: over plain http the API key travels in the clear"
        )
    return urlunsplit(parts).rstrip("/")


def _split_url(value: str) -> SplitResult:
    if not isinstance(value, str) or not _visible_ascii.fullmatch(value):
        raise ConfigurationError("base_url must be a URL of visible ASCII characters")
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018  # the property raises where the port is no port
    except ValueError as error:
        raise ConfigurationError(f"base_url is no URL: {error}") from None
    return parts


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def items_path(batch_id: UUID, limit: int, cursor: str | None) -> str:
    """The path of one page of a batch's items."""
    after = "" if cursor is None else f"&pq={quote(cursor, safe='')}"
    return f"{batch_path(batch_id)}/items?limit={limit}{after}"


def batch_path(batch_id: UUID) -> str:
    """The path of a batch's detail."""
    return f"/v1/batches/{batch_id}"


def request_headers(api_key: Secret, organization_id: str | None) -> dict[str, str]:
    """The headers of every request; the key stays masked in them."""
    headers = {
        "Authorization": Secret(f"Bearer {api_key}"),
        "Accept": "application/json",
        "User-Agent": f"runflow-async/{__version__}",
    }
    if organization_id is not None:
        headers["X-Organization-Id"] = organization_id
    return headers


def check_answer_id(answered: UUID | None, asked: UUID, body: bytes, warn: Warn) -> None:
    """Refuse another batch's answer; one that names no batch, as the contract allows, is taken with a warning.

    A server can push an answer onto an idle connection, and the HTTP client hands it to the next request.

    Raises:
        MalformedResponseError: if the answer names another batch, or none and its body is no UTF-8: then the name of
            the field itself may have been corrupted on the way.
    """
    if answered is None:
        try:
            body.decode()
        except UnicodeDecodeError:
            raise MalformedResponseError("no id, and text that is not UTF-8") from None
        warn("the answer has no id and is taken as this batch's")
    elif answered != asked:
        raise MalformedResponseError(f"batch {asked} was asked for and {answered} answered", where="$.id")


def parse_retry_after(values: Sequence[str], date: str | None, now: datetime) -> float | None:
    """Seconds from `Retry-After` header values; the largest counts, what cannot be read does not.

    An HTTP-date (RFC 9110, section 5.6.7) is measured against the answer's own `Date`, so that a skewed local
    clock does no harm, and against `now` where there is none. Zero and the past give None.
    """
    delays = [_parse_delay(value.strip(), date, now) for value in values]
    longest = max((delay for delay in delays if delay is not None), default=0.0)
    return longest if longest > 0 else None


def _parse_delay(value: str, date: str | None, now: datetime) -> float | None:
    if _delay_seconds.fullmatch(value):
        return float(value)
    until = _parse_http_date(value)
    if until is None:
        return None
    sent = _parse_http_date(date) if date else None
    return (until - (sent or now)).total_seconds()


def _parse_http_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


_BY_STATUS: dict[int, type[errors.StatusError]] = {
    400: errors.BadRequestError,
    401: errors.AuthenticationError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    422: errors.UnprocessableError,
    429: errors.RateLimitError,
}


def error_for_status(status: int, headers: Mapping[str, str], body: bytes, retry_after: float | None) -> RunflowError:
    """The error that an answer with a status other than 200 stands for."""
    if 200 < status < 300:  # noqa: PLR2004  # a success, but none of the contract
        return MalformedResponseError(f"HTTP {status} without a batch")
    request_id = headers.get("Runflow-Request-Id") or headers.get("X-Request-Id")
    details: dict[str, Any] = {
        "request_id": printable(request_id, 100) if request_id else None,
        "retry_after": retry_after,
    }
    if 300 <= status < 400 and status != 304:  # noqa: PLR2004  # not modified points nowhere
        return errors.RedirectError(status, location=_shown_location(headers.get("Location")), **details)
    envelope = decode_error(body) or _improvised(headers, body)
    details["code"] = printable(envelope.code, 100) or None
    details["message"] = printable(envelope.message)
    details["errors"] = envelope.errors
    fallback = errors.ServerError if 500 <= status <= 599 else errors.StatusError  # noqa: PLR2004
    return _BY_STATUS.get(status, fallback)(status, **details)


def _improvised(headers: Mapping[str, str], body: bytes) -> ErrorDetail:
    content_type = headers.get("Content-Type", "")
    if "html" in content_type.lower() or body.lstrip()[:1] == b"<":
        return ErrorDetail("", f"an answer of type {content_type or 'HTML'}, not the error envelope")
    return ErrorDetail("", body[:1000].decode(errors="replace").strip())


def _shown_location(location: str | None) -> str | None:
    if location is None:
        return None
    try:
        parts = urlsplit(location)
    except ValueError:
        return printable(location)
    if "@" in parts.netloc:
        parts = parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2])
    return printable(urlunsplit(parts))


def printable(text: str, limit: int = 200) -> str:
    """The text with control, bidirectional and other invisible characters escaped, cut to `limit`."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
