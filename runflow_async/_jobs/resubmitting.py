"""`resubmit`: which items of a batch are sent again, and as what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from runflow_async._arguments.batches import parse_batch_id
from runflow_async._arguments.creation import MOST_INPUTS, check_creation
from runflow_async._jobs.creating import CreatesBatches
from runflow_async._jobs.keywords import check_keywords
from runflow_async._jobs.reading import ReadsBatches
from runflow_async.errors import NothingToResubmitError, ResubmitError
from runflow_async.models import Batch, Phase, phase_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Unpack
    from uuid import UUID

    from runflow_async._waits.one import BatchWait
    from runflow_async._waits.options import WaitKeywords
    from runflow_async.models import BatchItem, BatchItemHandle

__all__ = ["ResubmitsItems"]

UNSUCCESSFUL = {Phase.FAILED, Phase.CANCELLED}
NOT_ENDED = {Phase.WAITING, Phase.RUNNING}
ORIGIN = "resubmitted_from"
"""The field of the metadata that names the first batch."""

Item = TypeVar("Item", "BatchItem", "BatchItemHandle")


class ResubmitsItems(CreatesBatches, ReadsBatches):
    """The methods that send failed items again."""

    async def resubmit(
        self,
        model: str,
        batch: Batch | UUID | str,
        *,
        metadata: Mapping[str, Any] | None = None,
        callback_url: str | None = None,
        idempotency_key: str | None = None,
        **waiting: Unpack[WaitKeywords],
    ) -> BatchWait:
        """Create a batch of the items that failed or were cancelled, and return the wait for it.

        They have the same inputs and the same `client_ref`s. The metadata is that of the first batch, updated with
        `metadata`, and names the first batch as `resubmitted_from`.

        Args:
            model: `owner/slug` of the first batch, which the API does not tell.
            batch: a batch that has ended, or its id.
            metadata: as for `create_batch`.
            callback_url: as for `create_batch`; that of the first batch is not used again.
            idempotency_key: as for `create_batch`.
            **waiting: as for `create_batch`.

        Raises:
            ConfigurationError: if an argument is invalid.
            NothingToResubmitError: no item failed or was cancelled. Nothing was sent.
            ResubmitError: the batch has not ended, more than 100 items failed, or the server does not show an input.
                Nothing was sent.
            RunflowError: as for `create_batch`, or of reading the batch and its items.
        """
        rest: dict[str, Any] = {"callback_url": callback_url, "idempotency_key": idempotency_key}
        check_keywords(**waiting)
        check_creation(model, [{}], client_refs=None, metadata=metadata, **rest)
        first = await self._read_ended(batch)
        items = await self._read_unsuccessful(first)
        return await self.create_batch(
            model,
            [_input_of(item, first) for item in items],
            metadata={**(first.metadata or {}), **(metadata or {}), ORIGIN: str(first.id)},
            **rest,
            **waiting,
        )

    async def _read_ended(self, batch: Batch | UUID | str) -> Batch:
        if isinstance(batch, Batch):
            if batch.is_terminal and batch.id is not None:
                return batch
            batch = parse_batch_id(batch.id)
        read = await self.get_batch(batch)
        if not read.is_terminal:
            raise ResubmitError(read.id, f"it is {read.status_code!r}; wait for its end first")
        return read

    async def _read_unsuccessful(self, batch: Batch) -> list[BatchItem]:
        """Fetch the items to send again, and make sure that none is missing."""
        asked = parse_batch_id(batch.id)
        if batch.items is not None and not any(_unsuccessful(batch.items)):
            raise NothingToResubmitError(asked, "none of its items failed or was cancelled")
        items = [item async for item in self.iter_batch_items(asked)]
        running = sum(phase_of(item.status_code) in NOT_ENDED for item in items)
        if running:
            raise ResubmitError(asked, f"it has ended, but {running} of its items not yet; try again in a few seconds")
        found = list(_unsuccessful(items))
        missing = {item.id for item in _unsuccessful(batch.items or [])} - {item.id for item in found}
        if missing:
            raise ResubmitError(asked, f"the list of items lacks {len(missing)} of those that failed; try again later")
        if not found:
            raise NothingToResubmitError(asked, "none of its items failed or was cancelled")
        if len(found) > MOST_INPUTS:
            advice = "pass their inputs to create_batches"
            raise ResubmitError(asked, f"{len(found)} items failed, and a batch takes {MOST_INPUTS}; {advice}")
        return found


def _unsuccessful(items: Iterable[Item]) -> Iterator[Item]:
    return (item for item in items if phase_of(item.status_code) in UNSUCCESSFUL)


def _input_of(item: BatchItem, batch: Batch) -> dict[str, Any]:
    if item.input is None:
        raise ResubmitError(batch.id, f"the server does not show the input of item {item.id}")
    return item.input if item.client_ref is None else item.input | {"client_ref": item.client_ref}
