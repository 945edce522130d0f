"""What spans and measures say of events, in the terms of the semantic conventions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from runflow_async.errors import StatusError, WaitClosedError
from runflow_async.models import BatchStatus

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

    from runflow_async.observers import Polled, RequestEnded, Retrying

__all__ = ["failure", "is_failure", "kind", "outcome", "request", "shown"]

STATUSES = frozenset(BatchStatus)
OTHER = "_OTHER"
"""The conventions' name for a value that is not among the known ones."""


def kind(error: Exception) -> str:
    """The conventions' `error.type`: the status code of a response, or the qualified name of an exception."""
    if isinstance(error, StatusError):
        return str(error.status)
    own = type(error)
    return own.__qualname__ if own.__module__ == "builtins" else f"{own.__module__}.{own.__qualname__}"


def is_failure(error: Exception | None) -> bool:
    """Whether a wait failed. One that its owner closes, and does not need to the end, has not."""
    return error is not None and not isinstance(error, WaitClosedError)


def outcome(status_code: str | None, error: Exception | None) -> dict[str, AttributeValue]:
    """How a wait has ended."""
    attributes: dict[str, AttributeValue] = {}
    if status_code is not None:
        attributes["runflow.batch.status"] = status_code if status_code in STATUSES else OTHER
    if error is not None and is_failure(error):
        attributes["error.type"] = kind(error)
    return attributes


def shown(event: Polled) -> dict[str, AttributeValue]:
    """What a response has shown."""
    attributes: dict[str, AttributeValue] = {
        "runflow.items.changed": event.changes,
        "runflow.items.ended": event.items_ended,
    }
    if event.items_total is not None:
        attributes["runflow.items.total"] = event.items_total
    return attributes


def failure(event: Retrying) -> dict[str, AttributeValue]:
    """Why a poll failed, and when the next one follows."""
    attributes: dict[str, AttributeValue] = {"runflow.attempt": event.attempt, "error.type": kind(event.error)}
    if event.delay < math.inf:
        attributes["runflow.delay"] = event.delay
    return attributes


def request(event: RequestEnded) -> dict[str, AttributeValue]:
    """How a request has ended."""
    attributes: dict[str, AttributeValue] = {"http.request.method": event.method}
    if event.status is not None:
        attributes["http.response.status_code"] = event.status
    if event.error is not None:
        attributes["error.type"] = kind(event.error)
    return attributes
