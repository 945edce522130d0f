"""Faults to append to `Emulator.faults`: what goes wrong with the next responses.

A fault replaces or rewrites a response, or disturbs its delivery. Each factory also takes the options of `Target`,
which say how many requests it hits, and which ones.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypedDict, Unpack
from uuid import UUID

import msgspec
from aiohttp import web
from msgspec import Struct

from runflow_async.emulator import disturbing
from runflow_async.emulator.answers import Answer, json_answer, refusal, send
from runflow_async.emulator.routing import METHODS, Call, Route

__all__ = [
    "Fault",
    "Target",
    "body",
    "endless_body",
    "hang",
    "html",
    "no_ranges",
    "other_batch",
    "reset",
    "slow_body",
    "status",
    "truncated_body",
    "wrong_length",
]

STATUSES = range(200, 1000)
"""What a status line can hold, without informational statuses."""
LOGIN_PAGE = b"<!doctype html>\n<html><title>Sign in</title><body>Please sign in to continue.</body></html>\n"


def _unchanged(answer: Answer) -> Answer:
    return answer


class Target(TypedDict, total=False):
    """The requests that a fault hits.

    Attributes:
        times: how many; 1 by default, `math.inf` for all.
        batch_id: the only batch it hits; None, and the default, hits any request, including those without a batch.
        route: the only kind of request it hits: `batch`, `items` (a page of them), `item` (a single one), `create`,
            `callbacks`, `redelivery` or `output` (a download). None, and the default, hits any but downloads.
    """

    times: float
    batch_id: UUID | None
    route: Route | None


class Fault(Struct, frozen=True, kw_only=True):
    """A fault, made by one of this module's factories.

    Attributes:
        name: the factory's name.
        times: how many more requests it hits.
        batch_id: the only batch it hits; None hits any request, including those without a batch.
        route: the only kind of request it hits; None hits any but downloads.
        silent: whether no response is sent, so that the recorded request has no status.
        instead: sent in place of a response, so that the request has no effect; None lets it take effect.
        ignores: names of request headers that the request is treated as if it did not have.
        rewrite: makes the response to send instead, once the request has taken effect.
        deliver: sends the response, or does not.

    Raises:
        ValueError: if `times` is below 1, `batch_id` is not a UUID or `route` is unknown.
    """

    name: str
    times: float = 1
    batch_id: UUID | None = None
    route: Route | None = None
    silent: bool = False
    instead: Answer | None = None
    ignores: tuple[str, ...] = ()
    rewrite: Callable[[Answer], Answer] = _unchanged
    deliver: Callable[[web.BaseRequest, Answer], Awaitable[web.StreamResponse]] = send

    def __post_init__(self) -> None:
        if not self.times >= 1:
            raise ValueError(f"times must be 1 or more, not {self.times!r}")
        if self.batch_id is not None and not isinstance(self.batch_id, UUID):
            raise ValueError(f"batch_id must be the UUID that creating the batch returned, not {self.batch_id!r}")
        if self.route is not None and self.route not in METHODS:
            raise ValueError(f"route must be one of {', '.join(METHODS)}, not {self.route!r}")


def take_fault(faults: list[Fault], call: Call | None) -> Fault | None:
    """Take the first fault that hits a request; remove it from the list once it has hit `times` requests.

    Args:
        faults: those left.
        call: what is requested; None for a path that the emulator does not have.
    """
    for position, fault in enumerate(faults):
        if _hits(fault, call):
            left = [msgspec.structs.replace(fault, times=fault.times - 1)] if fault.times > 1 else []
            faults[position : position + 1] = left
            return fault
    return None


def status(
    status: int,
    *,
    code: str = "INJECTED_FAULT",
    message: str = "injected by the emulator",
    errors: list[dict[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
    **target: Unpack[Target],
) -> Fault:
    """Respond with `status` (200 to 999), the error envelope and these headers, such as `Retry-After`."""
    _check_status(status)
    answer = refusal(status, code, message, errors, headers)
    return Fault(name="status", instead=answer, **target)


def body(
    content: bytes,
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
    **target: Unpack[Target],
) -> Fault:
    """Respond with exactly these bytes."""
    _check_status(status)
    answer = Answer(status, content, content_type, tuple((headers or {}).items()))
    return Fault(name="body", instead=answer, **target)


def html(*, status: int = 200, **target: Unpack[Target]) -> Fault:
    """Respond with a login page in HTML, as captive portals and gateways do."""
    _check_status(status)
    answer = Answer(status, LOGIN_PAGE, "text/html")
    return Fault(name="html", instead=answer, **target)


def other_batch(snapshot: dict[str, Any] | None = None, **target: Unpack[Target]) -> Fault:
    """Respond with another batch's body, as a connection does that mixes up responses.

    Args:
        snapshot: that body, such as `emulator.snapshot(other_id)`; by default, the batch's own under another id.
        **target: see `Target`.
    """
    return Fault(name="other_batch", rewrite=partial(_mix_up, snapshot=snapshot), **target)


def reset(**target: Unpack[Target]) -> Fault:
    """Reset the connection (RST) instead of responding."""
    return Fault(name="reset", silent=True, deliver=disturbing.reset, **target)


def hang(**target: Unpack[Target]) -> Fault:
    """Never respond; the request hangs until the client disconnects or the emulator closes."""
    return Fault(name="hang", silent=True, deliver=disturbing.hang, **target)


def slow_body(seconds: float, *, pieces: int = 10, **target: Unpack[Target]) -> Fault:
    """Send the headers at once and the body in `pieces`, the last one after `seconds`."""
    if not (seconds >= 0 and pieces >= 1):
        raise ValueError(f"seconds must be 0 or more and pieces 1 or more, not {seconds!r} and {pieces!r}")
    deliver = partial(disturbing.drip, seconds=seconds, pieces=pieces)
    return Fault(name="slow_body", deliver=deliver, **target)


def truncated_body(**target: Unpack[Target]) -> Fault:
    """Announce the whole body, send half of it, then close the connection."""
    return Fault(name="truncated_body", deliver=disturbing.truncate, **target)


def wrong_length(by: int, **target: Unpack[Target]) -> Fault:
    """Announce `by` bytes more than the body has, or fewer if it is negative; send the whole body, then disconnect."""
    if by == 0:
        raise ValueError("by must be a number of bytes other than 0")
    return Fault(name="wrong_length", deliver=partial(disturbing.misannounce, by=by), **target)


def endless_body(**target: Unpack[Target]) -> Fault:
    """Send the body over and over again, without a length, until the client disconnects."""
    return Fault(name="endless_body", deliver=disturbing.flood, **target)


def no_ranges(**target: Unpack[Target]) -> Fault:
    """Ignore `Range` and send the whole output with status 200. Hits downloads unless `route` names another request."""
    options: Target = {"route": "output", **target}
    return Fault(name="no_ranges", ignores=("Range",), rewrite=_without_ranges, **options)


def _hits(fault: Fault, call: Call | None) -> bool:
    route, batch_id = (None, None) if call is None else (call.route, call.batch_id)
    if fault.batch_id not in (None, batch_id):
        return False
    return route != "output" if fault.route is None else route == fault.route


def _check_status(status: int) -> None:
    if status not in STATUSES:
        raise ValueError(f"status must be an HTTP status from 200 to 999, not {status!r}")


def _mix_up(answer: Answer, snapshot: dict[str, Any] | None) -> Answer:
    if snapshot is not None:
        return json_answer(200, snapshot)
    document = msgspec.json.decode(answer.body)
    if "id" not in document:
        return answer
    neighbour = UUID(int=UUID(document["id"]).int ^ 1)
    return json_answer(200, {**document, "id": str(neighbour)})


def _without_ranges(answer: Answer) -> Answer:
    headers = tuple(pair for pair in answer.headers if pair[0] != "Accept-Ranges")
    return msgspec.structs.replace(answer, headers=headers)
