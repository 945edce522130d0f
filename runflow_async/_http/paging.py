"""Page after page of a batch's items, each item once.

Decides where the next page is, when a listing has ended and when it goes nowhere; what a page is and how it is fetched
is passed in.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from runflow_async.errors import MalformedResponseError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from uuid import UUID

    from runflow_async._answers.decoding import ItemsPage
    from runflow_async._answers.lenient import Warn
    from runflow_async.models import BatchItem

__all__ = ["iter_pages"]

BARREN_PAGES = 3
"""Pages in a row that may bring nothing new while they promise more."""

_pq = re.compile(r"(?:^|[?&])pq=([^&#]*)")
_address = re.compile(r"://|\?|^/v\d")


async def iter_pages(
    fetch: Callable[[str | None], Awaitable[ItemsPage]], known_total: Callable[[], int | None], warn: Warn
) -> AsyncGenerator[BatchItem]:
    """Yield every item of every page, in the order of the pages, none twice.

    Args:
        fetch: given a page's cursor, None for the first one, fetches the page.
        known_total: says how many items there should be, if that is known; asked at the end.
        warn: is given a warning if fewer came.

    Raises:
        MalformedResponseError: if a cursor comes twice, the next page cannot be made out, or pages go on without
            bringing anything new.
    """
    told: set[UUID] = set()
    cursors: set[str] = set()
    cursor: str | None = None
    barren = 0
    while True:
        page = await fetch(cursor)
        new = {item.id: item for item in page.items if item.id not in told}
        for item in new.values():
            told.add(item.id)
            yield item
        cursor = page.next_pq or _cursor_in(page.next)
        if not cursor:
            _check_total(len(told), (page.items_total, page.total, known_total()), warn)
            return
        barren = 0 if new else barren + 1
        if cursor in cursors or barren == BARREN_PAGES:
            where = "$.next_pq" if page.next_pq else "$.next"
            raise MalformedResponseError("the pages of items come to no end", where=where)
        cursors.add(cursor)


def _cursor_in(following: str | None) -> str | None:
    """The cursor in a `next`, which is one, or a query or URL with one as `pq`; nothing else of a URL is followed."""
    if not following:
        return None
    found = _pq.search(following)
    if found is None and not _address.search(following):
        return following
    cursor = unquote(found[1]) if found else ""
    if not cursor:
        raise MalformedResponseError(f"no cursor pq in the next page's address {following[:200]!r}", where="$.next")
    return cursor


def _check_total(listed: int, totals: tuple[int | None, ...], warn: Warn) -> None:
    expected = max((total for total in totals if total is not None), default=0)
    if listed < expected:
        warn("%d of %d came, and no page after the last one is named", listed, expected)
