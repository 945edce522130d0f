"""Decode bytes into structs: strict where a wait depends on the value, lenient everywhere else.

An unusable value that no wait depends on becomes None, with a warning, instead of ending hours of waiting.
"""

from __future__ import annotations

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
)

__all__ = [
    "ItemsPage",
    "PollAnswer",
    "decode_batch",
    "decode_error",
    "decode_item",
    "decode_items",
    "decode_poll",
]


class PollAnswer(Struct, frozen=True, gc=False):
    """The part of a batch that a wait needs."""

    id: UUID | None = None
    status_code: str | None = None
    completed_at: Instant | None = None
    items_total: Count | None = None
    items_succeeded: Count | None = None
    items_failed: Count | None = None
    items_cancelled: Count | None = None
    items: list[BatchItemHandle] | None = None

    @property
    def envelope(self) -> PollAnswer:
        """All but the items, as `Update` has it too."""
        return self

    @property
    def is_terminal(self) -> bool:
        """Whether the batch has ended, as in `Batch.is_terminal`."""
        return self.status_code in TERMINAL_STATUSES or self.completed_at is not None

    @property
    def items_ended(self) -> int:
        """The number of items that have ended, by the batch's own counts."""
        return (self.items_succeeded or 0) + (self.items_failed or 0) + (self.items_cancelled or 0)


class ItemsPage(Struct, frozen=True, gc=False):
    """One page of a batch's items, and where the next one is.

    Attributes:
        items: the items.
        next_pq: the cursor of the next page, by the API's guide.
        next: the next page by the API's reference: a cursor, a query or a URL.
        items_total: the number of items on all pages.
        total: another name for it.
    """

    items: list[BatchItem]
    next_pq: Annotated[str, Meta(max_length=2048)] | None = None
    next: Annotated[str, Meta(max_length=4096)] | None = None
    items_total: Count | None = None
    total: Count | None = None


# These decide when a wait ends and what it delivers. Counts only help the schedule.
_decisive = ("id", "status_code", "items")
_handles = Lenient(BatchItemHandle, essential=BatchItemHandle.__struct_fields__, readers={"sequence_index": read_index})
_items = Lenient(BatchItem, essential=("id",))
_errors = Lenient(ErrorDetail, essential=("code", "message"))


def _read_page_items(text: bytes, where: str, warn: Warn) -> list[BatchItem]:
    items = _items.read_list(text, where, warn)
    if items is None:
        raise ValidationError("Expected `array`, got `null`")
    return items


decode_poll = Lenient(PollAnswer, essential=_decisive, readers={"items": _handles.read_list}).decode
"""Decode what a poll needs."""
decode_batch = Lenient(Batch, essential=_decisive, readers={"items": _handles.read_list}).decode
"""Decode a whole batch. Accepts every body that `decode_poll` accepts."""
decode_items = Lenient(ItemsPage, essential=("items", "next_pq", "next"), readers={"items": _read_page_items}).decode
"""Decode one page of items. Only their ids and the next page are essential."""

decode_item = _items.decode
"""Decode one item. Only its id is essential."""


def decode_error(body: bytes) -> ErrorDetail | None:
    """Decode the error envelope. None if the body is something else, such as a proxy's HTML page."""
    try:
        return _errors.decode(body, lambda *_: None)  # no warning: the error shows its texts
    except MalformedResponseError:
        return None
