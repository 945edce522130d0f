"""Bytes into structs: strictly what a poll needs, leniently what only a reader of the snapshot needs.

Of a value that no wait depends on, an odd one becomes None, with a warning, instead of ending hours of waiting.
"""

from __future__ import annotations

import logging
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct, ValidationError

from runflow_async._answers.lenient import Lenient, Warn, read_index
from runflow_async.errors import MalformedResponseError
from runflow_async.models import (
    TERMINAL_STATUSES,
    Batch,
    BatchItem,
    BatchItemHandle,
    Count,
    ErrorDetail,
    Instant,
    Whole,
)

__all__ = [
    "ItemLine",
    "ItemsPage",
    "PollAnswer",
    "decode_batch",
    "decode_error",
    "decode_items",
    "decode_poll",
]

logger = logging.getLogger("runflow_async")


class ItemLine(Struct, frozen=True, gc=False):
    """An item as a poll reads it: ids stay text, for turning 200 texts into UUIDs costs more than the rest."""

    id: str
    sequence_index: Whole
    run_id: str
    status_code: str
    client_ref: str | None = None


class PollAnswer(Struct, frozen=True, gc=False):
    """The part of a batch that a wait needs."""

    id: UUID | None = None
    status_code: str | None = None
    completed_at: Instant | None = None
    items_total: Count | None = None
    items_succeeded: Count | None = None
    items_failed: Count | None = None
    items_cancelled: Count | None = None
    items: list[ItemLine] | None = None

    @property
    def is_terminal(self) -> bool:
        """As `Batch.is_terminal`."""
        return self.status_code in TERMINAL_STATUSES or self.completed_at is not None

    @property
    def items_ended(self) -> int:
        """How many items the batch's own counts say have ended."""
        return (self.items_succeeded or 0) + (self.items_failed or 0) + (self.items_cancelled or 0)


class ItemsPage(Struct, frozen=True, gc=False):
    """One page of a batch's items, and where the next one is.

    Attributes:
        items: the items.
        next_pq: the cursor of the next page, as the guide of the API has it.
        next: the same as its reference has it: a cursor, a query or a URL.
        items_total: how many items there are on all pages, if the page says so.
        total: the same.
    """

    items: list[BatchItem]
    next_pq: Annotated[str, Meta(max_length=2048)] | None = None
    next: Annotated[str, Meta(max_length=4096)] | None = None
    items_total: Count | None = None
    total: Count | None = None


# What decides when a wait ends and what is yielded. Counts only help the schedule.
_decisive = ("id", "status_code", "items")
_line_fields = ItemLine.__struct_fields__
_lines = Lenient(ItemLine, essential=_line_fields, readers={"sequence_index": read_index})
_handles = Lenient(BatchItemHandle, essential=_line_fields, readers={"sequence_index": read_index})
_polls = Lenient(PollAnswer, essential=_decisive, readers={"items": _lines.read_list})
_batches = Lenient(Batch, essential=_decisive, readers={"items": _handles.read_list})
_items = Lenient(BatchItem, essential=("id",))


def _read_page_items(text: bytes, where: str, warn: Warn) -> list[BatchItem]:
    items = _items.read_list(text, where, warn)
    if items is None:
        raise ValidationError("Expected `array`, got `null`")
    return items


_pages = Lenient(ItemsPage, essential=("items", "next_pq", "next"), readers={"items": _read_page_items})
_errors = Lenient(ErrorDetail, essential=("code", "message"))


def decode_poll(body: bytes, warn: Warn = logger.warning) -> PollAnswer:
    """Decode what a poll needs.

    Raises:
        MalformedResponseError: with the path of the first wrong value in the ids, statuses or items; transient if
            the body was cut short.
    """
    return _polls.decode(body, warn)


def decode_batch(body: bytes, warn: Warn = logger.warning) -> Batch:
    """Decode a whole batch; it takes whatever `decode_poll` takes.

    Raises:
        MalformedResponseError: as `decode_poll`.
    """
    return _batches.decode(body, warn)


def decode_items(body: bytes, warn: Warn = logger.warning) -> ItemsPage:
    """Decode one page of items, of which only the ids and the place of the next page are essential.

    Raises:
        MalformedResponseError: as `decode_poll`.
    """
    return _pages.decode(body, warn)


def decode_error(body: bytes) -> ErrorDetail | None:
    """Decode the error envelope; None if the body is none (an HTML page of a proxy, say)."""
    try:
        return _errors.decode(body, _unsaid)
    except MalformedResponseError:
        return None


def _unsaid(_text: str, *_details: object) -> None:
    """The error itself shows what has become of its texts."""
