"""Whole snapshots of a batch: decoded from an answer, named, and with their items at given statuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from runflow_async._answers.decoding import decode_batch
from runflow_async._answers.lenient import without_depths
from runflow_async.errors import MalformedResponseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID

    from runflow_async._answers.lenient import Warn
    from runflow_async.models import Batch, BatchItemHandle

__all__ = ["at_statuses", "decode_snapshot", "name_batch"]


def decode_snapshot(body: bytes, warn: Warn) -> Batch:
    """Decode a whole answer of which a poll has decoded its part, perhaps with more room left on the stack."""
    try:
        return decode_batch(body, warn)
    except (MalformedResponseError, RecursionError):
        warn("the stack has no room for deeply nested values, which become None")
        return decode_batch(without_depths(body), warn)


def name_batch(batch: Batch, batch_id: UUID) -> Batch:
    """Return the batch with an id, which the contract lets an answer omit."""
    return batch if batch.id is not None else replace(batch, id=batch_id)


def at_statuses(statuses: Mapping[int, str], items: Iterable[BatchItemHandle]) -> list[BatchItemHandle]:
    """Return the items at the statuses of their keys, in `sequence_index` order, without those that have none."""
    known = ((item, statuses.get(item.id.int)) for item in items)
    found = [item if s == item.status_code else replace(item, status_code=s) for item, s in known if s is not None]
    return sorted(found, key=lambda item: item.sequence_index)
