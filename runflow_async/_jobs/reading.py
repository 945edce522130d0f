"""`get_batch` and `iter_batch_items`: the methods that fetch and do not wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runflow_async._arguments.batches import parse_batch_id
from runflow_async._arguments.values import check_count
from runflow_async._jobs.parts import HasParts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from runflow_async.models import Batch, BatchItem

__all__ = ["ReadsBatches"]

LARGEST_PAGE = 500
"""The largest page of items that the server returns."""


class ReadsBatches(HasParts):
    """The methods that fetch and do not wait."""

    async def get_batch(self, batch_id: UUID | str) -> Batch:
        """Fetch a batch. Transient failures are retried; at most `retry.attempts` requests are made.

        Raises:
            ConfigurationError: if `batch_id` is not a UUID.
            RunflowError: the last error, if it is final or the attempts are used up.
        """
        return await self._reads.batch(parse_batch_id(batch_id))

    def iter_batch_items(self, batch_id: UUID | str, *, page_size: int = LARGEST_PAGE) -> AsyncIterator[BatchItem]:
        """Iterate a batch's items with their inputs and results, in the server's order, each once.

        Pages are fetched as needed and retried like `get_batch`. A warning is logged if items are missing at the end.

        Args:
            batch_id: a UUID, or its text.
            page_size: items per request, 1 to 500.

        Raises:
            ConfigurationError: at once, if an argument is invalid.
            SessionClosedError: at once, or while iterating, if the session is closed.
            RunflowError: while iterating: the last error of a page, if it is final or the attempts are used up.
        """
        asked = parse_batch_id(batch_id)
        page_size = check_count("page_size", page_size, most=LARGEST_PAGE)
        self._lifetime.check_open()
        return self._reads.items(asked, page_size, lambda: self._waits.items_total(asked))
