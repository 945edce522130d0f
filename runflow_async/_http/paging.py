"""Page after page of a list, each entry once.

Decides where the next page is, when a listing has ended and when it makes no progress. The caller fetches the pages.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote

from runflow_async.errors import MalformedResponseError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from uuid import UUID

    from runflow_async._answers.decoding import Page
    from runflow_async._answers.lenient import Warn
    from runflow_async.models import BatchItem, CallbackDelivery

__all__ = ["iter_pages"]

MOST_PAGES_WITHOUT_NEWS = 3
"""Number of pages in a row without a new item at which a listing is given up, although it names a next page."""

_pq = re.compile(r"(?:^|[?&])pq=([^&#]*)")
_address = re.compile(r"://|\?|^/v\d")


T = TypeVar("T", "BatchItem", "CallbackDelivery")


async def iter_pages(
    fetch: Callable[[str | None], Awaitable[Page[T]]], known_total: Callable[[], int | None], warn: Warn
) -> AsyncGenerator[T]:
    """Yield every item of every page, in the order of the pages, none twice.

    Args:
        fetch: fetches the page at a cursor; None is the first page.
        known_total: returns how many items there should be, if that is known; called after the last page.
        warn: called with a warning if fewer items arrived.

    Raises:
        MalformedResponseError: if a cursor is repeated, the next page cannot be determined, or several pages in a row
            hold nothing new.
    """
    yielded: set[UUID] = set()
    cursors: set[str] = set()
    cursor: str | None = None
    pages_without_news = 0
    while True:
        page = await fetch(cursor)
        new = {item.id: item for item in page.items if item.id not in yielded}
        for item in new.values():
            yielded.add(item.id)
            yield item
        cursor = page.next_pq or _cursor_in(page.next)
        if not cursor:
            _check_total(len(yielded), (page.items_total, page.total, known_total()), warn)
            return
        pages_without_news = 0 if new else pages_without_news + 1
        if cursor in cursors or pages_without_news == MOST_PAGES_WITHOUT_NEWS:
            where = "$.next_pq" if page.next_pq else "$.next"
            raise MalformedResponseError("the pages of items do not end", where=where)
        cursors.add(cursor)


def _cursor_in(following: str | None) -> str | None:
    """The cursor in `next`: the text itself, or `pq` of a query or URL. The rest of a URL is ignored."""
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
        warn("%d of %d items came, and the last page names no next one", listed, expected)
