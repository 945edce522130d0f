"""Errors that the server's status stands for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runflow_async._errors.base import RunflowError
from runflow_async._text import printable
from runflow_async._verdict import verdict_of_status

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "AuthenticationError",
    "BadRequestError",
    "ConflictError",
    "NotFoundError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "RateLimitError",
    "RedirectError",
    "ServerError",
    "StatusError",
    "UnprocessableError",
]

MOST_DETAILS = 500
"""How many characters of the server's details an error shows."""


class StatusError(RunflowError):
    """The server refused a request, or failed.

    Attributes:
        status: HTTP status code.
        code: the error envelope's code, such as `PERMISSION_DENIED`, or None.
        message: the server's own text with control characters escaped, at most 200 characters.
        errors: the envelope's list of field errors, or None.
        request_id: the server's id of the request, to quote to its support, or None.
        hint: what to do about it, at the end of the text; empty if nothing is known.
    """

    hint = ""

    def __init__(
        self,
        status: int,
        *,
        code: str | None = None,
        message: str = "",
        errors: Sequence[dict[str, Any]] | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        hint: str | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.errors = None if errors is None else list(errors)
        self.request_id = request_id
        self.retry_after = retry_after
        self.verdict = verdict_of_status(status)
        if hint is not None:
            self.hint = hint
        code, message = (f" {code}" if code else ""), (f": {message}" if message else "")
        details = f" {printable(json.dumps(errors, default=str), MOST_DETAILS)}" if errors else ""
        request = f" [request {request_id}]" if request_id else ""
        super().__init__(f"HTTP {status}{code}{message}{details}{request}" + (f"; {self.hint}" if self.hint else ""))


class BadRequestError(StatusError):
    """400: the request itself is invalid."""


class AuthenticationError(StatusError):
    """401: the key is missing, invalid or revoked."""

    hint = "check the API key: the argument api_key or the environment variable RUNFLOW_API_KEY"


class PaymentRequiredError(StatusError):
    """402: the organisation's credit does not cover the request."""

    hint = "add credit to the organisation's account, then call again"


class PermissionDeniedError(StatusError):
    """403: the key has no access; `code` says why."""


class NotFoundError(StatusError):
    """404: no such batch for this key and organisation."""

    hint = "check the batch id, and that the key belongs to the batch's organisation"


class ConflictError(StatusError):
    """409: the request contradicts an earlier one."""


class UnprocessableError(StatusError):
    """422: a value was rejected; `errors` says which."""


class RateLimitError(StatusError):
    """429: too many requests for the organisation; `retry_after` has the seconds to wait if the server named them."""


class ServerError(StatusError):
    """5xx: the server or a gateway in front of it failed."""


class RedirectError(StatusError):
    """3xx, never followed, because the key would go along. `location` is its target without user and password."""

    hint = "redirects are not followed; check base_url (RUNFLOW_BASE_URL)"

    def __init__(self, status: int, *, location: str | None = None, **details: Any) -> None:
        self.location = location
        details.setdefault("message", f"redirect to {location}" if location else "redirect")
        super().__init__(status, **details)
