"""The results of one batch's items that were fetched and not taken yet, and the requests that fetch them."""

from __future__ import annotations

import math
from contextlib import aclosing
from typing import TYPE_CHECKING
from uuid import UUID

from runflow_async._answers.decoding import decode_item, decode_items
from runflow_async._answers.lenient import WarnOnce
from runflow_async._http.paging import iter_pages
from runflow_async._http.protocol import item_path, items_path
from runflow_async.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Collection

    from runflow_async._answers.decoding import ItemsPage
    from runflow_async._http.replies import Reply
    from runflow_async.models import BatchItem

    Get = Callable[[str], Awaitable[Reply]]

__all__ = ["PAGE_SIZE", "Fetched"]

PAGE_SIZE = 500
"""Items per page, the most that the server returns."""


class Fetched:
    """What was fetched of one batch and not taken yet.

    Args:
        batch_id: the batch.
        take_turn: returns when there is room for heavy work in this iteration of the event loop.
    """

    def __init__(self, batch_id: UUID, take_turn: Callable[[], Awaitable[None]]) -> None:
        self._batch_id = batch_id
        self._take_turn = take_turn
        self._items: dict[int, BatchItem] = {}
        self._warn = WarnOnce("results of batch", batch_id)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: int) -> bool:
        return key in self._items

    def put(self, item: BatchItem) -> None:
        """Keep the result of an item that has ended."""
        self._items[item.id.int] = item

    def take(self, key: int) -> BatchItem:
        """Return a result and forget it."""
        return self._items.pop(key)

    async def page(self, get: Get, cursor: str | None = None) -> tuple[ItemsPage, Reply]:
        """Fetch the page of items at a cursor, by default the first one."""
        reply = await get(items_path(self._batch_id, PAGE_SIZE, cursor))
        await self._take_turn()
        page = decode_items(reply.body, self._warn)
        reply.require_items(self._batch_id, [item.batch_id for item in page.items])
        return page, reply

    async def fetch(self, get: Get, wanted: Collection[int], total: int) -> None:
        """Fetch the results of items that have ended, with as few requests as possible.

        A result may lag behind the end of its item: it is left out.

        Args:
            get: sends a request.
            wanted: the keys of the items.
            total: number of all items, which tells how many pages there are.

        Raises:
            RunflowError: of a request; what was fetched before is kept.
        """
        if len(wanted) > math.ceil(total / PAGE_SIZE):
            await self._scan(get, set(wanted))
            return
        try:
            for key in wanted:
                await self._fetch_one(get, UUID(int=key))
        except NotFoundError:  # not there yet, though it may be on a page
            await self._scan(get, set(wanted))

    async def all(self, get: Get) -> list[BatchItem]:
        """Fetch every item, whether it has ended or not, and keep none."""
        async with aclosing(self._iterate(get)) as items:
            return [item async for item in items]

    async def _fetch_one(self, get: Get, item_id: UUID) -> None:
        reply = await get(item_path(self._batch_id, item_id))
        item = decode_item(reply.body, self._warn)
        reply.require_item(self._batch_id, item_id, item)
        if _is_whole(item):
            self.put(item)

    async def _scan(self, get: Get, wanted: set[int]) -> None:
        async with aclosing(self._iterate(get)) as items:
            async for item in items:
                if item.id.int in wanted and _is_whole(item):
                    self.put(item)
                    wanted.remove(item.id.int)
                    if not wanted:
                        break

    def _iterate(self, get: Get) -> AsyncGenerator[BatchItem]:
        async def fetch(cursor: str | None) -> ItemsPage:
            return (await self.page(get, cursor))[0]

        return iter_pages(fetch, lambda: None, self._warn)


def _is_whole(item: BatchItem) -> bool:
    """Whether an item that has ended is listed so. One that is listed without a status is taken at its batch's word."""
    return item.status_code is None or item.is_terminal or item.completed_at is not None
