"""Compare the items of an answer with what was known of them.

Pure. Items are identified by id and ordered by `sequence_index`. A terminal status never changes.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from runflow_async.models import TERMINAL_STATUSES, ItemTransition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from uuid import UUID

    from runflow_async.models import BatchItemHandle

__all__ = ["ItemDiff", "by_key", "diff_items"]

_sequence_index = attrgetter("item.sequence_index")


class ItemDiff(NamedTuple):
    """Items of an answer, compared with what was known.

    Attributes:
        changes: to new items and to new statuses, in `sequence_index` order.
        contradictions: to another status, of items that had ended. The known one stays.
    """

    changes: list[ItemTransition]
    contradictions: list[ItemTransition]


def by_key(items: Iterable[BatchItemHandle]) -> dict[int, BatchItemHandle]:
    """Return items by the number of their id, which is compared faster than a UUID.

    Of a repeated id, the last item counts.
    """
    return {item.id.int: item for item in items}


def diff_items(
    known: Mapping[int, str], listed: Mapping[int, BatchItemHandle], *, batch_id: UUID, observed_at: datetime
) -> ItemDiff:
    """Compare items with the statuses known before.

    Args:
        known: status by key.
        listed: item by key, in any order.
        batch_id: their batch.
        observed_at: when they arrived.
    """
    status_of = known.get
    differing = [
        ItemTransition(batch_id, item, previous, observed_at)
        for key, item in listed.items()
        if (previous := status_of(key)) != item.status_code
    ]
    differing.sort(key=_sequence_index)
    contradictions = [one for one in differing if one.previous in TERMINAL_STATUSES]
    changes = [one for one in differing if one.previous not in TERMINAL_STATUSES] if contradictions else differing
    return ItemDiff(changes, contradictions)
