"""One page of a batch's items or callbacks: where it starts, how long it is, and the cursors of its neighbours.

A cursor encodes a batch and a place in its sequence, so it stays valid while entries change or appear.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import parse_qs, urlencode

from runflow_async.emulator.answers import Answer, json_answer, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

__all__ = ["Listing", "check_listing", "page_of"]

Listing = Literal["next_pq", "cursor", "query", "url"]

USUAL_PAGE, LARGEST_PAGE = 100, 500
BATCH_BYTES, PLACE_BYTES = 8, 4
"""Content of a cursor: the beginning of the batch's id, and a place."""


def check_listing(listing: Listing) -> Listing:
    """Return a valid listing unchanged.

    Raises:
        ValueError: if it is unknown.
    """
    if listing not in get_args(Listing):
        raise ValueError(f"listing must be one of {', '.join(get_args(Listing))}, not {listing!r}")
    return listing


def page_of(
    batch_id: UUID, places: Sequence[int], show: Callable[[int], dict[str, Any]], listing: Listing, url: str
) -> Answer:
    """Return the page of a batch's list that a query asks for.

    Args:
        batch_id: the owner of the list.
        places: the place of each entry in the sequence, in ascending order.
        show: returns an entry, by its position in `places`.
        listing: how the page refers to its neighbours.
        url: URL of the list, with the query.
    """
    url, _, query = url.partition("?")
    parameters = parse_qs(query, keep_blank_values=True)
    size = _size_in(parameters.get("limit", [str(USUAL_PAGE)])[-1])
    if size is None:
        return _refused("limit", f"not a number from 1 to {LARGEST_PAGE}", "int_parsing")
    cursor = parameters.get("pq", [""])[-1]
    start = _place_in(cursor, batch_id) if cursor else 0
    if start is None:
        return _refused("pq", "not a cursor of this list", "value_error")
    first = bisect_left(places, start)
    end = first + size
    # The next page starts right after the last entry, because the one that follows now may not be the first by then.
    following = _cursor(batch_id, places[end - 1] + 1) if end < len(places) else None
    previous = _cursor(batch_id, places[max(0, first - size)]) if first else None
    if listing == "next_pq":
        beside = {"next_pq": following, "prev_pq": previous}
    else:
        cursors = {"first": _cursor(batch_id, 0), "next": following, "previous": previous}
        beside = {name: _spelled(cursor, size, listing, url) for name, cursor in cursors.items()}
    return json_answer(200, {"items": [show(entry) for entry in range(first, min(end, len(places)))], **beside})


def _spelled(cursor: str | None, size: int, listing: Listing, url: str) -> str | None:
    if cursor is None or listing == "cursor":
        return cursor
    return f"{url if listing == 'url' else ''}?{urlencode({'limit': size, 'pq': cursor})}"


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
    return place if _cursor(batch_id, place) == cursor else None  # the decoder accepts other spellings, too


def _refused(name: str, reason: str, kind: str) -> Answer:
    where = {"loc": ["query", name], "msg": reason, "type": kind}
    return refusal(422, "VALIDATION_ERROR", "the request contains an invalid value", [where])
