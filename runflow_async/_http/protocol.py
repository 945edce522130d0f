"""The HTTP contract as pure functions: what is sent, and what a status and its headers mean.

Knows nothing about sockets, clocks or retries.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from runflow_async import errors
from runflow_async._answers.decoding import decode_error
from runflow_async._text import Secret, printable
from runflow_async._version import __version__
from runflow_async.errors import MalformedResponseError, RateLimitError, RunflowError
from runflow_async.models import ErrorDetail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

__all__ = [
    "EVERY_REQUEST",
    "batch_path",
    "error_for_status",
    "held_back",
    "item_path",
    "items_path",
    "parse_retry_after",
    "request_headers",
]

EVERY_REQUEST = "every request of this session"
"""What the `Retry-After` of a 429 or 503 holds."""

_delay_seconds = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)


def items_path(batch_id: UUID, limit: int, cursor: str | None) -> str:
    """The path of one page of a batch's items."""
    after = "" if cursor is None else f"&pq={quote(cursor, safe='')}"
    return f"{batch_path(batch_id)}/items?limit={limit}{after}"


def item_path(batch_id: UUID, item_id: UUID) -> str:
    """The path of one item of a batch."""
    return f"{batch_path(batch_id)}/items/{item_id}"


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


def held_back(what: str, seconds: float) -> RateLimitError:
    """The error for requests that an earlier response's `Retry-After` does not allow in time."""
    message = f"an earlier answer's Retry-After holds {what} for {seconds:.1f} s more"
    return RateLimitError(HTTPStatus.TOO_MANY_REQUESTS, message=message, retry_after=seconds)


def parse_retry_after(values: Sequence[str], date: str | None, now: datetime) -> float | None:
    """The longest delay among `Retry-After` header values, in seconds; None if there is none above zero.

    An HTTP-date (RFC 9110, section 5.6.7) is compared with the response's own `Date`, so that a skewed local clock
    does no harm, or with `now` if there is no `Date`. Values that cannot be parsed are ignored.
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
    """The error for a response with a status other than 200."""
    request_id = headers.get("Runflow-Request-Id") or headers.get("X-Request-Id")
    details: dict[str, Any] = {
        "request_id": printable(request_id, 100) if request_id else None,
        "retry_after": retry_after,
    }
    match status // 100:
        case 2:  # a success, but none that the contract knows
            return MalformedResponseError(f"HTTP {status} without a batch")
        case 3 if status != HTTPStatus.NOT_MODIFIED:
            return errors.RedirectError(status, location=_shown_location(headers.get("Location")), **details)
        case 5:
            kind: type[errors.StatusError] = errors.ServerError
        case _:
            kind = _BY_STATUS.get(status, errors.StatusError)
    envelope = decode_error(body) or _improvised(headers, body)
    code, message = printable(envelope.code, 100) or None, printable(envelope.message)
    return kind(status, code=code, message=message, errors=envelope.errors, **details)


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
