"""Page after page of a batch's items, each item once.

Decides when a listing has ended and when it goes nowhere; what a page is and how it is fetched is passed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runflow_async.errors import MalformedResponseError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from uuid import UUID

    from runflow_async.decoding import ItemsPage
    from runflow_async.models import BatchItem

__all__ = ["iter_pages"]

BARREN_PAGES = 3
"""Pages in a row that may bring nothing new while they promise more."""


async def iter_pages(fetch: Callable[[str | None], Awaitable[ItemsPage]]) -> AsyncGenerator[BatchItem]:
    """Yield every item of every page, in the order of the pages, none twice.

    Args:
        fetch: given a page's cursor, None for the first one, fetches the page.

    Raises:
        MalformedResponseError: if a cursor comes twice, or pages go on without bringing anything new.
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
        cursor = page.next_pq
        if not cursor:
            return
        barren = 0 if new else barren + 1
        if cursor in cursors or barren == BARREN_PAGES:
            raise MalformedResponseError("the pages of items come to no end", where="$.next_pq")
        cursors.add(cursor)
