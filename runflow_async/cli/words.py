"""Items and batches in words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runflow_async._text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from runflow_async import BatchWait, ItemTransition

__all__ = ["batch_name", "item_name", "outcome_text", "size_text"]

LONGEST_NAME = 36
SHORT_ID = 8
KILO = 1000


def item_name(transition: ItemTransition) -> str:
    """Return the item's name: the user's own reference, or else its number."""
    return printable(transition.item.client_ref or f"item {transition.item.sequence_index}", 60)


def batch_name(names: Mapping[UUID, str], batch_id: UUID, *, whole: bool = False) -> str:
    """Return a batch's display name, by default the first digits of its id, or the whole id."""
    name = names.get(batch_id)
    return printable(name, LONGEST_NAME) if name else str(batch_id)[: LONGEST_NAME if whole else SHORT_ID]


def outcome_text(wait: BatchWait) -> str:
    """Describe a batch that ended: its status, and how many of its items succeeded."""
    batch = wait.result()
    succeeded = "?" if batch.items_succeeded is None else batch.items_succeeded
    total = "?" if batch.items_total is None else batch.items_total
    return f"{printable(str(batch.status_code), 40)}, {succeeded} of {total} succeeded"


def size_text(size: int) -> str:
    """Format a number of bytes for people."""
    if size < KILO:
        return f"{size} bytes"
    shown, unit = size / KILO, "kB"
    for larger in ("MB", "GB", "TB"):
        if shown < KILO:
            break
        shown, unit = shown / KILO, larger
    return f"{shown:.1f} {unit}"
