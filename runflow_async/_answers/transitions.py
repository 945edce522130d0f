"""What changed between two looks at the items of a batch.

Pure: identity is the item's id, a terminal status stays, and the order is `sequence_index`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from runflow_async.errors import MalformedResponseError
from runflow_async.models import TERMINAL_STATUSES, BatchItemHandle, phase_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runflow_async._answers.decoding import ItemLine

__all__ = ["UUID_TEXT", "ItemChange", "ItemDiff", "are_canonical", "diff_items", "handle_of"]

UUID_TEXT = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}", re.IGNORECASE | re.ASCII)


class ItemChange(NamedTuple):
    """An item whose status differs from the one known before.

    Attributes:
        key: its canonical id.
        item: as the answer has it; it is made a handle when somebody is told of it.
        previous: the status known before, or None.
    """

    key: str
    item: ItemLine | BatchItemHandle
    previous: str | None

    @property
    def is_second_end(self) -> bool:
        """Whether an item that has ended is said to have ended otherwise, not only in another spelling."""
        ends = {self.previous, self.item.status_code}
        return ends <= TERMINAL_STATUSES and len({phase_of(end) for end in ends}) > 1


class ItemDiff(NamedTuple):
    """What an answer says of the items, beside what was known.

    Attributes:
        listed: the answer's lines by canonical item id; where an id stands twice, the last one counts.
        changes: the items whose status differs from the known one, in `sequence_index` order.
        contradictions: likewise, of items that had ended; their known status stays.
    """

    listed: dict[str, ItemLine]
    changes: list[ItemChange]
    contradictions: list[ItemChange]


def diff_items(known: Mapping[str, str], lines: Sequence[ItemLine]) -> ItemDiff:
    """Compare the items of an answer with the statuses known before.

    Args:
        known: status by canonical item id.
        lines: the items as the answer lists them, in any order.

    Raises:
        MalformedResponseError: if an id is no UUID, with its path; nothing of the answer may be used then.
    """
    _check_ids(known, lines)
    listed = {line.id if line.id in known else _canonical(line.id): line for line in lines}
    status_of = known.get
    differing = [
        ItemChange(key, line, previous)
        for key, line in listed.items()
        if (previous := status_of(key)) != line.status_code
    ]
    differing.sort(key=lambda change: change.item.sequence_index)
    changes = [change for change in differing if change.previous not in TERMINAL_STATUSES]
    contradictions = [change for change in differing if change.previous in TERMINAL_STATUSES]
    return ItemDiff(listed, changes, contradictions)


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


def _canonical(text: str) -> str:
    return text.lower() if "-" in text else str(UUID(text))


def handle_of(item: ItemLine | BatchItemHandle) -> BatchItemHandle:
    """The item with its ids as UUIDs."""
    if isinstance(item, BatchItemHandle):
        return item
    return BatchItemHandle(UUID(item.id), item.sequence_index, UUID(item.run_id), item.status_code, item.client_ref)
