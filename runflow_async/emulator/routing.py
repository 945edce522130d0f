"""The paths of the API: which operation a path belongs to, and the ids in it. Decides no response."""

from __future__ import annotations

import re
from typing import Literal
from uuid import UUID

from msgspec import Struct

__all__ = ["METHODS", "Call", "Route", "call_of", "is_uuid"]

Route = Literal["batch", "items", "item", "create", "callbacks", "redelivery", "output"]
"""An operation of the API, or `output`: the download of one."""

METHODS: dict[Route, str] = {
    "batch": "GET",
    "items": "GET",
    "item": "GET",
    "create": "POST",
    "callbacks": "GET",
    "redelivery": "POST",
    "output": "GET",
}

_segment = r"[^/?]+"
_batch = rf"/v1/batches/(?P<batch>{_segment})"
_patterns: dict[Route, str] = {
    "batch": _batch,
    "items": rf"{_batch}/items",
    "item": rf"{_batch}/items/(?P<item>{_segment})",
    "create": rf"/v1/models/(?P<model>{_segment}/{_segment})/batches",
    "callbacks": rf"{_batch}/callback",
    "redelivery": rf"{_batch}/callback-redeliveries",
    "output": rf"/outputs/(?P<batch>{_segment})/{_segment}/{_segment}",
}
_routes: dict[Route, re.Pattern[str]] = {
    route: re.compile(rf"{pattern}(?:\?.*)?") for route, pattern in _patterns.items()
}
_uuid = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}", re.IGNORECASE)


class Call(Struct, frozen=True):
    """An operation and the ids in its path, as spelled there; empty where the path has none."""

    route: Route
    batch: str = ""
    item: str = ""
    model: str = ""

    @property
    def batch_id(self) -> UUID | None:
        """The batch's id; None if the path has none, or an invalid one."""
        return UUID(self.batch) if is_uuid(self.batch) else None


def call_of(path: str) -> Call | None:
    """Return the operation of a path and its ids; None if no operation has this path."""
    for route, pattern in _routes.items():
        if found := pattern.fullmatch(path):
            return Call(route, **found.groupdict())
    return None


def is_uuid(text: str) -> bool:
    """Whether a text spells a UUID, with or without its dashes."""
    return _uuid.fullmatch(text) is not None
