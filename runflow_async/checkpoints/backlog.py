"""Keep what was recorded until it is in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from runflow_async.models import TERMINAL_STATUSES, Batch, BatchItemHandle

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from runflow_async.checkpoints.file import Row
    from runflow_async.models import ItemTransition

__all__ = ["Backlog"]

FIELDS = BatchItemHandle.__struct_fields__
STATUS = 1 + FIELDS.index("status_code")
"""Which column of a row it is; the batch comes first."""


class Backlog:
    """Batches to delete, then rows to write.

    Attributes:
        forgotten: batches whose rows in the file will be deleted.
        rows: the last row of each item; those of a forgotten batch were recorded after it was forgotten.
    """

    def __init__(self) -> None:
        self.forgotten: set[str] = set()
        self.rows: dict[tuple[str, str], Row] = {}

    def __bool__(self) -> bool:
        return bool(self.rows or self.forgotten)

    def add(self, transition: ItemTransition) -> None:
        """Keep an item's row in place of an earlier one, unless the item had ended in that."""
        batch, item = transition.batch_id.hex, transition.item
        key = item.id.hex
        earlier = self.rows.get((batch, key))
        if earlier is None or earlier[STATUS] not in TERMINAL_STATUSES:
            status, reference = item.status_code, item.client_ref
            self.rows[batch, key] = (batch, key, item.sequence_index, item.run_id.hex, status, reference)

    def forget(self, batch: str) -> None:
        """Delete a batch, both its recorded rows and those in the file."""
        self.forgotten.add(batch)
        for key in [key for key in self.rows if key[0] == batch]:
            del self.rows[key]

    def clear(self) -> None:
        """Drop everything, because it is in the file."""
        self.rows.clear()
        self.forgotten.clear()

    def overlay(self, batch_id: UUID, stored: Iterable[Row]) -> Batch | None:
        """Return a batch as it will be in the file, given the rows that are in it now.

        Raises:
            msgspec.ValidationError: if a row is not a valid item.
        """
        rows = {} if batch_id.hex in self.forgotten else {row[1]: row for row in stored}
        ended = {item for item, row in rows.items() if row[STATUS] in TERMINAL_STATUSES}
        unwritten = {item: row for (batch, item), row in self.rows.items() if batch == batch_id.hex}
        rows |= {item: row for item, row in unwritten.items() if item not in ended}
        if not rows:
            return None
        fields = [dict(zip(FIELDS, row[1:], strict=True)) for row in rows.values()]
        items = msgspec.convert(fields, list[BatchItemHandle])
        return Batch(id=batch_id, items=sorted(items, key=lambda item: item.sequence_index))
