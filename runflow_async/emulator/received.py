"""A request as it reached the emulator, and what is recorded of it."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from aiohttp import hdrs
from msgspec import Struct

__all__ = ["RECORDS_KEPT", "ReceivedRequest", "Request", "record"]

RECORDS_KEPT = 100_000


class ReceivedRequest(Struct, frozen=True, kw_only=True):
    """A request as the emulator received it.

    Attributes:
        method: HTTP method, such as `GET`.
        path: the path in the request line, with its query.
        headers: the headers as spelled; the value of `Authorization` is always masked.
        received_at: time on the emulator's clock.
        status: status of the response; None if a fault left the request without one.
        batch_id: the requested batch; None if the path has none.
        body: the body, byte for byte.
    """

    method: str
    path: str
    headers: dict[str, str]
    received_at: float
    status: int | None
    batch_id: UUID | None
    body: bytes = b""


class Request(Struct, frozen=True):
    """A request before it is answered.

    Attributes:
        method: HTTP method.
        path: the path in the request line, with its query.
        headers: its headers, by names whose case is ignored.
        body: its body.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


def record(request: Request, received_at: float, status: int | None, batch_id: UUID | None) -> ReceivedRequest:
    """Record a request and the status of its response, without the key."""
    return ReceivedRequest(
        method=request.method,
        path=request.path,
        headers={name: _mask(name, value) for name, value in request.headers.items()},
        received_at=received_at,
        status=status,
        batch_id=batch_id,
        body=request.body,
    )


def _mask(name: str, value: str) -> str:
    if name.lower() != hdrs.AUTHORIZATION.lower():
        return value
    return "Bearer ***" if value.startswith("Bearer ") else "***"
