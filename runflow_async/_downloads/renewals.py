"""New URLs for those that are refused because they have expired: an item is read again, once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runflow_async.errors import RunflowError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from runflow_async._downloads.wanted import Wanted
    from runflow_async.errors import DownloadError
    from runflow_async.models import BatchItem

__all__ = ["Renewals"]

REFUSALS = frozenset({401, 403, 404, 410})


class Renewals:
    """Reads the items of one batch again.

    Args:
        read: fetches an item.
    """

    def __init__(self, read: Callable[[UUID], Awaitable[BatchItem]]) -> None:
        self._read = read
        self._items: dict[UUID, BatchItem] = {}
        self._reading: dict[UUID, asyncio.Lock] = {}

    async def renew(self, wanted: Wanted, error: DownloadError) -> Wanted:
        """Return the file at its new URL.

        Raises:
            DownloadError: the error, if it does not look like an expired URL, or there is no new one.
        """
        if error.status not in REFUSALS:
            raise error
        try:
            renewed = wanted.among((await self._read_once(wanted.item_id)).urls)
        except RunflowError as failure:
            raise wanted.error(f"HTTP {error.status}, and the item could not be read again: {failure}") from failure
        if renewed is None:
            raise error
        return renewed

    async def _read_once(self, item_id: UUID) -> BatchItem:
        async with self._reading.setdefault(item_id, asyncio.Lock()):
            if item_id not in self._items:
                self._items[item_id] = await self._read(item_id)
            return self._items[item_id]
