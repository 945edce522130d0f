"""Bytes into structs: strictly what a poll needs, leniently what only a reader of the snapshot needs.

Of a value that no wait depends on, an odd one becomes None, with a warning, instead of ending hours of waiting.
"""

from __future__ import annotations

import json
import logging
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from runflow_async.errors import MalformedResponseError, Verdict
from runflow_async.models import TERMINAL_STATUSES, Batch, BatchItem, Count, ErrorDetail, Whole

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "UUID_TEXT",
    "ItemLine",
    "ItemsPage",
    "PollAnswer",
    "are_canonical",
    "decode_batch",
    "decode_error",
    "decode_items",
    "decode_poll",
]

logger = logging.getLogger("runflow_async")

UUID_TEXT = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}", re.IGNORECASE | re.ASCII)


def are_canonical(texts: Sequence[str]) -> bool:
    """Whether all are UUIDs in their usual form: 36 characters with hyphens.

    It looks at all of them at once, in columns, for a regular expression over each would cost more than all else
    that a poll does with its answer.
    """
    count = len(texts)
    joined = ",".join(texts) + ","
    if not joined.isascii() or len(joined) != 37 * count or joined.count("-") != 4 * count:
        return count == 0
    columns_fit = all(joined[column::37] == "-" * count for column in (8, 13, 18, 23)) and joined[36::37] == "," * count
    return (
        columns_fit and not joined.encode().translate(None, b"0123456789abcdefABCDEF-,") and joined.count(",") == count
    )


class ItemLine(Struct, frozen=True, gc=False):
    """An item as a poll reads it: ids stay text, for turning 200 texts into UUIDs costs more than the rest."""

    id: str
    sequence_index: Whole
    run_id: str
    status_code: str
    client_ref: str | None = None


_INSTANT = r"^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])[Tt ](?:[01]\d|2[0-3]):[0-5]\d"


class PollAnswer(Struct, frozen=True, gc=False):
    """The part of a batch that a wait needs; read strictly."""

    id: UUID | None = None
    status_code: str | None = None
    # Only whether it is set matters, and RFC 3339 knows instants that datetime does not (second 60).
    completed_at: Annotated[str, Meta(pattern=_INSTANT)] | None = None
    items_total: Count | None = None
    items_succeeded: Count | None = None
    items_failed: Count | None = None
    items_cancelled: Count | None = None
    items: list[ItemLine] | None = None

    @property
    def is_terminal(self) -> bool:
        """As `Batch.is_terminal`."""
        return self.status_code in TERMINAL_STATUSES or self.completed_at is not None


class ItemsPage(Struct, frozen=True, gc=False):
    """One page of a batch's items, and the cursor of the next one."""

    items: list[BatchItem]
    next_pq: Annotated[str, Meta(max_length=2048)] | None = None


class _RawPage(Struct, frozen=True, gc=False):
    items: list[dict[str, Any]]
    next_pq: Annotated[str, Meta(max_length=2048)] | None = None


_page_decoder = msgspec.json.Decoder(ItemsPage)
_poll_decoder = msgspec.json.Decoder(PollAnswer)
_batch_decoder = msgspec.json.Decoder(Batch)
_error_decoder = msgspec.json.Decoder(ErrorDetail)
_batch_types: dict[str, Any] = get_type_hints(Batch, include_extras=True)
_item_types: dict[str, Any] = get_type_hints(BatchItem, include_extras=True)
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


def decode_items(body: bytes) -> ItemsPage:
    """Decode one page of items; an odd value in any field but `id` becomes None, with a warning.

    Raises:
        MalformedResponseError: as `decode_poll`.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    try:
        page = _page_decoder.decode(body)
    except (ValueError, RecursionError):
        return _salvage_page(body)
    return page if all(item.cost is None or item.cost.is_finite() for item in page.items) else _salvage_page(body)


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
    batch_id = decode_poll(body).id
    document = _read_tolerantly(body)
    return Batch(**_salvage_fields(document, _batch_types, _essential, f"batch {batch_id}"))


def _salvage_page(body: bytes) -> ItemsPage:
    try:
        page = msgspec.convert(_read_tolerantly(body), _RawPage)
    except msgspec.ValidationError as error:
        raise _malformed(error, body) from None
    except MalformedResponseError:
        _decode_strictly(body)  # which says better what is wrong
        raise
    items: list[BatchItem] = []
    for number, item in enumerate(page.items):
        where = f"$.items[{number}]"
        items.append(BatchItem(**_salvage_fields(item, _item_types, frozenset({"id"}), f"item {number}", where)))
    return ItemsPage(items, page.next_pq)


def _decode_strictly(body: bytes) -> None:
    try:
        _page_decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise _malformed(error, body) from None


def _salvage_fields(
    document: dict[str, Any], types: dict[str, Any], essential: frozenset[str], owner: str, where: str = "$"
) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, kind in types.items():
        try:
            fields[name] = _convert_field(name, kind, document.get(name))
        except (ValueError, TypeError, RecursionError) as error:
            if name in essential:
                raise _malformed(error, b"", prefix=f"{where}.{name}") from None
            logger.warning("%s: field %r is unreadable and taken as None", owner, name)
            fields[name] = None
    return fields


def _convert_field(name: str, kind: Any, value: Any) -> Any:
    if isinstance(value, str) and name.endswith("_at"):
        # RFC 3339 has leap seconds, which datetime has not; without an offset UTC is the only sensible reading.
        value = _leap_second.sub(r"\g<1>59", value)
        value = value if _offset.search(value) else value + "Z"
    converted = msgspec.convert(value, kind)
    if isinstance(converted, Decimal) and not converted.is_finite():
        raise ValueError("not a finite number")
    msgspec.json.encode(converted)
    return converted


_leap_second = re.compile(r"(T\d\d:\d\d:)60", re.IGNORECASE)
_offset = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$", re.IGNORECASE)
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
