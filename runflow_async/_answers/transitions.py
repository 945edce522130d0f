"""Compare the items of an answer with what was known of them.

Pure. Items are identified by id and ordered by `sequence_index`. A terminal status never changes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from msgspec import convert

from runflow_async.errors import MalformedResponseError
from runflow_async.models import TERMINAL_STATUSES, BatchItemHandle, ItemTransition, phase_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from runflow_async._answers.decoding import ItemLine

__all__ = [
    "UUID_TEXT",
    "ItemChange",
    "ItemDiff",
    "are_canonical",
    "by_key",
    "diff_items",
    "make_transitions",
    "read_lines",
]

UUID_TEXT = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}", re.IGNORECASE | re.ASCII)


class ItemChange(NamedTuple):
    """An item whose status differs from the one known before.

    Attributes:
        key: its canonical id.
        item: the item as the answer lists it; converted to a handle when the change is delivered.
        previous: the status known before, or None.
    """

    key: str
    item: ItemLine | BatchItemHandle
    previous: str | None

    @property
    def is_second_end(self) -> bool:
        """Whether an item that has ended now has a different end, and not just a different spelling."""
        ends = {self.previous, self.item.status_code}
        return ends <= TERMINAL_STATUSES and len({phase_of(end) for end in ends}) > 1


class ItemDiff(NamedTuple):
    """Items of an answer, compared with what was known.

    Attributes:
        changes: new items and items with a new status, in `sequence_index` order.
        contradictions: items that had ended, with another status now. The known one stays.
    """

    changes: list[ItemChange]
    contradictions: list[ItemChange]


def read_lines(known: Mapping[str, str], lines: Sequence[ItemLine]) -> dict[str, ItemLine]:
    """Return the lines of an answer by canonical item id. Of a repeated id, the last line counts.

    Args:
        known: status by canonical item id.
        lines: the items as the answer lists them.

    Raises:
        MalformedResponseError: with the path of the first id that is no UUID.
    """
    _check_ids(known, lines)
    return by_key(known, lines)


def by_key(known: Mapping[str, str], lines: Sequence[ItemLine]) -> dict[str, ItemLine]:
    """Return lines whose ids are UUIDs by their canonical id."""
    return {line.id if line.id in known else _canonical(line.id): line for line in lines}


def diff_items(known: Mapping[str, str], listed: Mapping[str, ItemLine]) -> ItemDiff:
    """Compare items with the statuses known before.

    Args:
        known: status by canonical item id.
        listed: line by canonical item id, in any order.
    """
    status_of = known.get
    differing = [
        ItemChange(key, line, previous)
        for key, line in listed.items()
        if (previous := status_of(key)) != line.status_code
    ]
    differing.sort(key=lambda change: change.item.sequence_index)
    changes = [change for change in differing if change.previous not in TERMINAL_STATUSES]
    contradictions = [change for change in differing if change.previous in TERMINAL_STATUSES]
    return ItemDiff(changes, contradictions)


def _check_ids(known: Mapping[str, str], lines: Sequence[ItemLine]) -> None:
    texts = [line.run_id for line in lines] + [line.id for line in lines if line.id not in known]
    if are_canonical(texts):
        return
    for position, line in enumerate(lines):
        for field, text in (("id", line.id), ("run_id", line.run_id)):
            if not UUID_TEXT.fullmatch(text):
                raise MalformedResponseError("Invalid UUID", where=f"$.items[{position}].{field}")


def are_canonical(texts: Sequence[str]) -> bool:
    """Whether all are UUIDs in their usual form: 36 characters with hyphens.

    Checks all of them at once, column by column: a regular expression for each would cost more than the rest of a poll.
    """
    count = len(texts)
    joined = ",".join(texts) + ","
    if not joined.isascii() or len(joined) != 37 * count or joined.count("-") != 4 * count:
        return count == 0
    columns_fit = all(joined[column::37] == "-" * count for column in (8, 13, 18, 23)) and joined[36::37] == "," * count
    return (
        columns_fit and not joined.encode().translate(None, b"0123456789abcdefABCDEF-,") and joined.count(",") == count
    )


def _canonical(text: str) -> str:
    return text.lower() if "-" in text else str(UUID(text))


def make_transitions(batch_id: UUID, changes: Sequence[ItemChange], observed_at: datetime) -> list[ItemTransition]:
    """Make the transitions of a batch's changes; the texts of the ids become UUIDs."""
    items = convert([change.item for change in changes], list[BatchItemHandle], from_attributes=True)
    return [
        ItemTransition(batch_id, item, change.previous, observed_at)
        for item, change in zip(items, changes, strict=True)
    ]
