"""A page of a batch's items: where it starts, how long it is, and the cursors to its neighbours.

A cursor stands for a batch and an item's place in its sequence, so that nothing moves it while items change, or appear.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_left
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from runflow_async.emulator.answers import Answer, json_answer, refusal

if TYPE_CHECKING:
    from uuid import UUID

    from runflow_async.emulator.timelines import ScriptedBatch

__all__ = ["page_of"]

USUAL_PAGE, LARGEST_PAGE = 100, 500
BATCH_BYTES, PLACE_BYTES = 8, 4
"""What a cursor holds: the beginning of the batch's id, and a sequence index."""


def page_of(batch: ScriptedBatch, now: float, query: str) -> Answer:
    """The page of the batch's items that a query asks for, as they are at the instant `now` of the clock."""
    asked = parse_qs(query, keep_blank_values=True)
    size = _size_in(asked.get("limit", [str(USUAL_PAGE)])[-1])
    if size is None:
        return _refused("limit", f"not a number from 1 to {LARGEST_PAGE}", "int_parsing")
    cursor = asked.get("pq", [""])[-1]
    start = _place_in(cursor, batch.id) if cursor else 0
    if start is None:
        return _refused("pq", "not a cursor of this list", "value_error")
    items = batch.details(now)
    places: list[int] = [item["sequence_index"] for item in items]
    first = bisect_left(places, start)
    end = first + size
    # The next page starts right behind the last item, for the one that follows now may not be the first by then.
    return json_answer(
        200,
        {
            "items": items[first:end],
            "next_pq": _cursor(batch.id, places[end - 1] + 1) if end < len(places) else None,
            "prev_pq": _cursor(batch.id, places[max(0, first - size)]) if first else None,
        },
    )


def _size_in(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST_PAGE))):
        return None
    return int(text) if 1 <= int(text) <= LARGEST_PAGE else None


def _cursor(batch_id: UUID, place: int) -> str:
    return urlsafe_b64encode(batch_id.bytes[:BATCH_BYTES] + place.to_bytes(PLACE_BYTES)).decode()


def _place_in(cursor: str, batch_id: UUID) -> int | None:
    try:
        place = int.from_bytes(urlsafe_b64decode(cursor)[BATCH_BYTES : BATCH_BYTES + PLACE_BYTES])
    except ValueError:
        return None
    return place if _cursor(batch_id, place) == cursor else None  # the decoder lets much pass


def _refused(name: str, reason: str, kind: str) -> Answer:
    where = {"loc": ["query", name], "msg": reason, "type": kind}
    return refusal(422, "VALIDATION_ERROR", "the request holds a value of the wrong kind", [where])
