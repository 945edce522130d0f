"""Read only what differs between two answers: the envelope, and the items whose bytes have changed.

Theory of operation. An answer is an array of items in an envelope. The envelope is decoded with a stand-in in place of
the array. If that is valid, and the stand-in is what the envelope has as its items, the answer is valid if and only if
the array is. The array of the previous answer is valid and flat: it has as many closing braces as items, so that each
ends one, and splitting at them yields the items. An array that differs only in items, each replaced by another valid
one with a single closing brace, is again valid and flat. Whatever does not fit in here is left to the decoder of whole
answers, which also says what is wrong.
"""

from __future__ import annotations

import re
from itertools import compress
from operator import attrgetter, ne
from typing import NamedTuple
from uuid import UUID

import msgspec

from runflow_async._answers.decoding import PollAnswer
from runflow_async.models import BatchItemHandle

__all__ = ["Layout", "Update", "is_few", "read_layout", "read_update"]


class Layout(NamedTuple):
    """Where a body has its items.

    Attributes:
        start: offset of the opening bracket of a flat array.
        end: offset after its closing bracket.
        envelope: the answer, with a stand-in for the items.
    """

    start: int
    end: int
    envelope: PollAnswer


class Update(NamedTuple):
    """An answer that lists the same items as the previous one, in the same order.

    Attributes:
        layout: where its body has its items.
        items: the items whose bytes have changed.
    """

    layout: Layout
    items: list[BatchItemHandle]

    @property
    def envelope(self) -> PollAnswer:
        """The answer, with a stand-in for the items."""
        return self.layout.envelope


FEW = 8
"""So many items may always differ."""
_STAND_IN = BatchItemHandle(UUID(int=0), -1, UUID(int=0), "stand-in")
_STAND_IN_ARRAY = msgspec.json.encode([_STAND_IN])
_KEY = b'"items"'
_opening = re.compile(_KEY + rb"\s*:\s*\[")
_closing = re.compile(rb"\}\s*\]")
_UNREADABLE = (ValueError, RecursionError)
_envelopes = msgspec.json.Decoder(PollAnswer)
_key = attrgetter("id.int")
_elements = msgspec.json.Decoder(list[msgspec.Raw])
_items = msgspec.json.Decoder(list[BatchItemHandle])


def read_layout(body: bytes, count: int) -> Layout | None:
    """Find the items of a valid answer.

    Args:
        body: an answer that was decoded.
        count: the number of different items that it lists.

    Returns:
        None if no update can start from this answer, because its items are not flat.
    """
    closing = _closing.search(body, body.rfind(_KEY))
    layout = _locate(body, closing[0]) if closing else None
    if layout is None:
        return None
    array = body[layout.start : layout.end]
    if array.count(b"}") != count:
        return None
    try:
        return layout if len(_elements.decode(array)) == count else None
    except _UNREADABLE:
        return None


def _locate(body: bytes, closing: bytes) -> Layout | None:
    """Find the array of items, which is still to be proven valid, given how it closes after the last item."""
    opening = _opening.match(body, body.rfind(_KEY))
    if opening is None:
        return None
    start = opening.end() - 1
    end = body.find(closing, start) + len(closing)
    try:
        envelope = _envelopes.decode(body[:start] + _STAND_IN_ARRAY + body[end:])
    except _UNREADABLE:
        return None
    return Layout(start, end, envelope) if envelope.items == [_STAND_IN] else None


def read_update(previous: bytes, layout: Layout, body: bytes) -> Update | None:
    """Read what has changed since the previous answer.

    Args:
        previous: the body of the previous answer.
        layout: where that has its items.
        body: the new body.

    Returns:
        None if it lists other items than the previous one, or if it is not certain to be valid.
    """
    closing = previous[previous.rfind(b"}", layout.start, layout.end) : layout.end]
    found = _follow(previous, layout, body) or _locate(body, closing)
    if found is None:
        return None
    before, after = _differing(previous, layout, body, found)
    is_new = list(map(ne, before, after))
    changed = sum(is_new)
    if len(before) != len(after) or not is_few(changed, len(before)):
        return None
    try:
        both = _read_chunks([*compress(before, is_new), *compress(after, is_new)])
    except _UNREADABLE:
        return None
    known, items = both[:changed], both[changed:]
    return Update(found, items) if list(map(_key, known)) == list(map(_key, items)) else None


def is_few(changed: int, items: int) -> bool:
    """Whether an update is cheaper than reading a whole answer."""
    return changed <= max(FEW, items // 4)


def _read_chunks(chunks: list[bytes]) -> list[BatchItemHandle]:
    """Decode what stands between closing braces: for each item a comma, and the item without its brace."""
    return _items.decode(b"}".join((_STAND_IN_ARRAY[:-2], *chunks, b"]")))[1:]


def _differing(previous: bytes, layout: Layout, body: bytes, found: Layout) -> tuple[list[bytes], list[bytes]]:
    """Split both arrays at their closing braces, leaving out what they have in common before and after."""
    first = layout.start + 1
    shared = _shared_prefix(
        previous, first, body, found.start + 1, min(layout.end - first, found.end - found.start - 1)
    )
    start = previous.rfind(b"}", first, first + shared) + 1 or first
    end = previous.find(b"}", start, layout.end) + 1
    new_start, new_end = start + found.start - layout.start, end + found.end - layout.end
    if not end or new_end <= new_start or not body.startswith(previous[end : layout.end], new_end):
        end, new_end = layout.end, found.end  # more than one item differs
    comma = b"," if start == first else b""  # so that every item has one before it
    return (comma + previous[start:end]).split(b"}"), (comma + body[new_start:new_end]).split(b"}")


def _shared_prefix(one: bytes, start: int, other: bytes, new_start: int, most: int) -> int:
    """The length of what two bodies have in common from these offsets on.

    Found by halving: comparing slices is much faster than comparing byte by byte.
    """
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if other.startswith(one[start + low : start + middle], new_start + low):
            low = middle
        else:
            high = middle - 1
    return low


def _follow(previous: bytes, layout: Layout, body: bytes) -> Layout | None:
    """The layout of a body with the same envelope, byte for byte, from the brackets of the array outwards."""
    start, last = layout.start, layout.end - 1
    new_last = last + len(body) - len(previous)
    if new_last <= start or not body.startswith(previous[: start + 1]) or body[new_last:] != previous[last:]:
        return None
    return layout._replace(end=new_last + 1)
