"""What the emulator records of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from aiohttp import hdrs
from msgspec import Struct

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["ReceivedRequest", "record"]


class ReceivedRequest(Struct, frozen=True, kw_only=True):
    """A request as the emulator received it.

    Attributes:
        method: HTTP method, such as `GET`.
        path: the path in the request line, with its query.
        headers: the headers as spelled; the value of `Authorization` is always masked.
        received_at: time on the emulator's clock.
        status: status of the response; None if a fault left the request without one.
        batch_id: the requested batch; None if the path has none.
    """

    method: str
    path: str
    headers: dict[str, str]
    received_at: float
    status: int | None
    batch_id: UUID | None


def record(request: web.BaseRequest, received_at: float, status: int | None, batch_id: UUID | None) -> ReceivedRequest:
    """Record a request and the status of its response, without the key."""
    return ReceivedRequest(
        method=request.method,
        path=request.raw_path,
        headers={name: _mask(name, value) for name, value in request.headers.items()},
        received_at=received_at,
        status=status,
        batch_id=batch_id,
    )


def _mask(name: str, value: str) -> str:
    if name.lower() != hdrs.AUTHORIZATION.lower():
        return value
    return "Bearer ***" if value.startswith("Bearer ") else "***"
