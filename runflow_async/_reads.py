"""Calls that fetch and do not wait: a batch, and the pages of its items. Transient failures are retried."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from runflow_async._answers.decoding import decode_batch, decode_deliveries, decode_item, decode_items
from runflow_async._answers.lenient import WarnOnce
from runflow_async._http.paging import iter_pages
from runflow_async._http.protocol import batch_path, deliveries_path, item_path, items_path
from runflow_async._observing import Call
from runflow_async.errors import RunflowError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from uuid import UUID

    from runflow_async._answers.decoding import DeliveriesPage, ItemsPage
    from runflow_async._http.transport import Transport
    from runflow_async._lifetime import Lifetime
    from runflow_async._waits.retries import Retries
    from runflow_async.models import Batch, BatchItem, CallbackDelivery

__all__ = ["Reads"]

T = TypeVar("T")


class Reads:
    """Reads of one session.

    Args:
        lifetime: of the session.
        transport: sends the requests.
        retries: what happens after a failure.
    """

    __slots__ = ("_lifetime", "_retries", "_transport")

    def __init__(self, lifetime: Lifetime, transport: Transport, retries: Retries) -> None:
        self._lifetime = lifetime
        self._transport = transport
        self._retries = retries

    async def batch(self, batch_id: UUID) -> Batch:
        """Fetch a batch.

        Raises:
            RunflowError: the last error, if it is final or the attempts are used up.
        """
        warn, call = WarnOnce("batch", batch_id), Call(batch_id)

        async def fetch() -> Batch:
            reply = await self._transport.get(batch_path(batch_id), call, sent=_uncounted)
            batch = decode_batch(reply.body, warn)
            reply.require_batch(batch_id, batch.id, warn)
            return batch if batch.id is not None else replace(batch, id=batch_id)

        return await self._retrying("get_batch", batch_id, call, fetch)

    def items(self, batch_id: UUID, page_size: int, known_total: Callable[[], int | None]) -> AsyncGenerator[BatchItem]:
        """Iterate a batch's items, page after page.

        Args:
            batch_id: the batch.
            page_size: items per request.
            known_total: says how many items there should be, if that is known.

        Raises:
            RunflowError: the last error of a page, if it is final or the attempts are used up.
        """
        warn, call = WarnOnce("items of batch", batch_id), Call(batch_id)

        async def fetch(cursor: str | None) -> ItemsPage:
            reply = await self._transport.get(items_path(batch_id, page_size, cursor), call, sent=_uncounted)
            page = decode_items(reply.body, warn)
            reply.require_items(batch_id, [item.batch_id for item in page.items])
            return page

        async def fetch_retrying(cursor: str | None) -> ItemsPage:
            return await self._retrying("iter_batch_items", batch_id, call, partial(fetch, cursor))

        return iter_pages(fetch_retrying, known_total, warn)

    async def deliveries(self, batch_id: UUID) -> list[CallbackDelivery]:
        """Fetch the deliveries of a batch's callback.

        Raises:
            RunflowError: the last error of a page, if it is final or the attempts are used up.
        """
        warn, call = WarnOnce("callbacks of batch", batch_id), Call(batch_id)

        async def fetch(cursor: str | None) -> DeliveriesPage:
            reply = await self._transport.get(deliveries_path(batch_id, cursor), call, sent=_uncounted)
            page = decode_deliveries(reply.body, warn)
            reply.require_items(batch_id, [delivery.batch_id for delivery in page.items])
            return page

        async def fetch_retrying(cursor: str | None) -> DeliveriesPage:
            return await self._retrying("callback_deliveries", batch_id, call, partial(fetch, cursor))

        return [delivery async for delivery in iter_pages(fetch_retrying, lambda: None, warn)]

    async def item(self, batch_id: UUID, item_id: UUID) -> BatchItem:
        """Fetch one item of a batch.

        Raises:
            RunflowError: the last error, if it is final or the attempts are used up.
        """
        warn, call = WarnOnce(f"item {item_id} of batch {batch_id}"), Call(batch_id)

        async def fetch() -> BatchItem:
            reply = await self._transport.get(item_path(batch_id, item_id), call, sent=_uncounted)
            item = decode_item(reply.body, warn)
            reply.require_item(batch_id, item_id, item)
            return item

        return await self._retrying("get_batch_item", batch_id, call, fetch)

    async def _retrying(self, purpose: str, batch_id: UUID, call: Call, fetch: Callable[[], Awaitable[T]]) -> T:
        engine = self._retries.engine(f"batch {batch_id}", call)
        try:
            with self._lifetime.scope(purpose):
                return await engine(fetch)
        except RunflowError as error:
            error.batch_id = batch_id
            raise


def _uncounted() -> None:
    """Requests of these calls are not counted."""
