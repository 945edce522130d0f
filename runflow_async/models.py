"""The API's nouns as frozen msgspec structs, and the decoders that turn bytes into them.

Fields follow the contract one by one. What a poll needs is decoded strictly; a value that nobody's waiting
depends on becomes None, with a warning, instead of ending a wait.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, get_type_hints
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from runflow_async.errors import BatchFailedError, MalformedResponseError, Verdict

__all__ = [
    "TERMINAL_STATUSES",
    "Batch",
    "BatchItem",
    "BatchItemHandle",
    "BatchStatus",
    "ErrorDetail",
    "ItemLine",
    "PollAnswer",
    "WaitStats",
    "decode_batch",
    "decode_error",
    "decode_poll",
]

logger = logging.getLogger("runflow_async")

Instant = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0)]


class BatchStatus(StrEnum):
    """The statuses known today. The server may send others; they are kept as they came."""

    QUEUED = "queued"
    DISPATCHING = "dispatching"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    PARTIAL_SUCCEEDED = "partial_succeeded"


TERMINAL_STATUSES: frozenset[str] = frozenset(
    {"succeeded", "failed", "canceled", "cancelled", "partial_succeeded"}
)
"""Statuses after which nothing changes, with both of the server's spellings of cancelled."""


class BatchItemHandle(Struct, frozen=True, gc=False):
    """One item of a batch as the batch's detail shows it. Its identity is `id`, never its position."""

    id: UUID
    sequence_index: int
    run_id: UUID
    status_code: str
    client_ref: str | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the item has ended, well or badly."""
        return self.status_code in TERMINAL_STATUSES


class Batch(Struct, frozen=True, kw_only=True):
    """A batch at one moment. Every field is optional and nullable, as the contract has it.

    It goes through `msgspec.json.encode` and back unchanged.
    """

    id: UUID | None = None
    org_id: UUID | None = None
    target_type_code: str | None = None
    target_type: str | None = None
    target_id: UUID | None = None
    status_code: str | None = None
    source_code: str | None = None
    items_total: Count | None = None
    items_succeeded: Count | None = None
    items_failed: Count | None = None
    items_cancelled: Count | None = None
    input: list[dict[str, Any]] | None = None
    resolved_template_id: UUID | None = None
    dispatch_provider_link_id: UUID | None = None
    cost: Decimal | None = None
    output: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    callback_url: str | None = None
    duration_ms: int | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    failure_stage_code: str | None = None
    created_by: UUID | None = None
    created_at: Instant | None = None
    started_at: Instant | None = None
    completed_at: Instant | None = None
    links: dict[str, Any] | None = None
    items: list[BatchItemHandle] | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the batch has ended: a terminal status, or `completed_at` is set."""
        return self.status_code in TERMINAL_STATUSES or self.completed_at is not None

    def raise_for_status(self) -> None:
        """Do nothing if the batch succeeded.

        Raises:
            BatchFailedError: for every other status, `partial_succeeded` and a running batch included.
        """
        if self.status_code != BatchStatus.SUCCEEDED:
            raise BatchFailedError(self.id, self.status_code, self.failure_message or self.failure_code)


class BatchItem(Struct, frozen=True, kw_only=True):
    """One item with its input and results, from `GET /v1/batches/{id}/items`."""

    id: UUID
    batch_id: UUID | None = None
    sequence_index: int | None = None
    run_id: UUID | None = None
    client_ref: str | None = None
    status_code: str | None = None
    input: dict[str, Any] | None = None
    output: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    cost: Decimal | None = None
    created_at: Instant | None = None
    started_at: Instant | None = None
    completed_at: Instant | None = None
    run: dict[str, Any] | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the item has ended, well or badly."""
        return self.status_code in TERMINAL_STATUSES


class ErrorDetail(Struct, frozen=True):
    """The server's error envelope."""

    code: str
    message: str
    errors: list[dict[str, Any]] | None = None


class WaitStats(Struct, frozen=True, kw_only=True):
    """What a wait has cost so far.

    Attributes:
        polls: good answers taken in.
        requests: requests sent, the free repeat on a connection that the server had closed included.
        retries: polls tried again after a failure.
        transitions: transitions yielded.
        elapsed: seconds since the wait's first step.
    """

    polls: int = 0
    requests: int = 0
    retries: int = 0
    transitions: int = 0
    elapsed: float = 0.0


class ItemLine(Struct, frozen=True, gc=False):
    """An item as a poll reads it: ids stay text, for turning 200 texts into UUIDs costs more than the rest."""

    id: str
    sequence_index: int
    run_id: str
    status_code: str
    client_ref: str | None = None


class PollAnswer(Struct, frozen=True, gc=False):
    """The part of a batch that a wait needs; read strictly."""

    id: UUID | None = None
    status_code: str | None = None
    # Only whether it is set matters, and RFC 3339 knows instants that datetime does not (second 60).
    completed_at: Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")] | None = None
    items_total: Count | None = None
    items_succeeded: Count | None = None
    items_failed: Count | None = None
    items_cancelled: Count | None = None
    items: list[ItemLine] | None = None

    @property
    def is_terminal(self) -> bool:
        """As `Batch.is_terminal`."""
        return self.status_code in TERMINAL_STATUSES or self.completed_at is not None


_poll_decoder = msgspec.json.Decoder(PollAnswer)
_batch_decoder = msgspec.json.Decoder(Batch)
_error_decoder = msgspec.json.Decoder(ErrorDetail)
_batch_types: dict[str, Any] = get_type_hints(Batch, include_extras=True)
_essential = frozenset(PollAnswer.__struct_fields__) - {"completed_at"}


def decode_poll(body: bytes) -> PollAnswer:
    """Decode what a poll needs, strictly.

    Where a JSON key stands twice, the last one counts.

    Raises:
        MalformedResponseError: with the path of the first wrong value; transient if the body was cut short.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    try:
        return _poll_decoder.decode(body)
    except (ValueError, RecursionError) as error:
        if _holds_non_numbers(body):
            return _convert_poll(_read_tolerantly(body))
        raise _malformed(error, body) from None


def decode_batch(body: bytes) -> Batch:
    """Decode a whole batch; an odd value in a field that no wait needs becomes None, with a warning.

    Raises:
        MalformedResponseError: as `decode_poll`.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    try:
        batch = _batch_decoder.decode(body)
    except (ValueError, RecursionError):
        return _salvage(body)
    return batch if batch.cost is None or batch.cost.is_finite() else _salvage(body)


def decode_error(body: bytes) -> ErrorDetail | None:
    """Decode the error envelope; None if the body is none (an HTML page of a proxy, say)."""
    try:
        return _error_decoder.decode(body)
    except (ValueError, RecursionError):
        return None


class _Unreadable:
    """Stands for a number that JSON or 64 bits cannot hold; no field accepts it."""


def _read_integer(digits: str) -> int | _Unreadable:
    value = int(digits) if len(digits) <= 20 else None  # noqa: PLR2004  # digits of 2**64, and a sign
    return value if value is not None and -(2**63) <= value < 2**64 else _Unreadable()


def _holds_non_numbers(body: bytes) -> bool:
    return b"NaN" in body or b"Infinity" in body


def _read_tolerantly(body: bytes) -> Any:
    # The standard library reads what msgspec refuses whole: NaN, huge integers, bytes that are not UTF-8.
    try:
        return json.loads(
            body.decode(errors="replace"),
            parse_constant=lambda _: _Unreadable(),
            parse_int=_read_integer,
        )
    except (ValueError, RecursionError) as error:
        raise _malformed(error, body) from None


def _convert_poll(document: Any) -> PollAnswer:
    try:
        return msgspec.convert(document, PollAnswer)
    except msgspec.ValidationError as error:
        raise _malformed(error, b"") from None


def _salvage(body: bytes) -> Batch:
    document = _read_tolerantly(body)
    _convert_poll(document)
    fields = {}
    for name in Batch.__struct_fields__:
        try:
            value = msgspec.convert(document.get(name), _batch_types[name])
            msgspec.json.encode(value)
        except (ValueError, TypeError, RecursionError) as error:
            if name in _essential:
                raise _malformed(error, b"", prefix=f"$.{name}") from None
            logger.warning("batch %s: field %r is unreadable and taken as None", document.get("id"), name)
            continue
        if isinstance(value, Decimal) and not value.is_finite():
            logger.warning("batch %s: field %r is no number and taken as None", document.get("id"), name)
            continue
        fields[name] = value
    return Batch(**fields)


_location = re.compile(r"^(?P<reason>.*) - at `(?P<where>\$[^`]*)`$", re.DOTALL)


def _malformed(error: Exception, body: bytes, prefix: str = "$") -> MalformedResponseError:
    reason = str(error)
    if isinstance(error, UnicodeDecodeError):
        return MalformedResponseError("text that is not UTF-8")
    if isinstance(error, RecursionError):
        return MalformedResponseError("nested too deeply")
    if body.lstrip()[:1] == b"<":
        return MalformedResponseError("HTML, not JSON")
    if "truncated" in reason and not _ends_in_lone_surrogate(body):
        cut = "an empty body" if not body.strip() else "the body was cut short"
        return MalformedResponseError(cut, verdict=Verdict.TRANSIENT)
    if found := _location.match(reason):
        where = prefix + found["where"].removeprefix("$")
        return MalformedResponseError(found["reason"], where=where)
    return MalformedResponseError(reason, where=prefix)


def _ends_in_lone_surrogate(body: bytes) -> bool:
    # msgspec reports half of a surrogate pair as truncated input.
    return b"\\ud" in body.lower() and body.rstrip().endswith(b"}")
