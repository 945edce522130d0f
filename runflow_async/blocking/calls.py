"""The methods of the session without asyncio that make a request and return its outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runflow_async.blocking.checkpoints import for_session
from runflow_async.blocking.steps import Steps
from runflow_async.blocking.waits import BatchesWait, BatchWait

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Unpack
    from uuid import UUID

    import runflow_async
    from runflow_async import SavedOutputs
    from runflow_async._portal import Portal
    from runflow_async.blocking.checkpoints import WaitKeywords
    from runflow_async.models import Batch, BatchItem, CallbackDelivery

__all__ = ["MakesCalls"]


class MakesCalls:
    """Base of `RunflowSession`, which sets these attributes."""

    _portal: Portal
    _session: runflow_async.RunflowSession

    def create_batch(
        self,
        model: str,
        inputs: Sequence[Mapping[str, Any]],
        *,
        client_refs: Sequence[str | None] | None = None,
        metadata: Mapping[str, Any] | None = None,
        callback_url: str | None = None,
        idempotency_key: str | None = None,
        **waiting: Unpack[WaitKeywords],
    ) -> BatchWait:
        """As `runflow_async.RunflowSession.create_batch`."""
        return BatchWait(
            self._portal,
            self._portal.run(
                lambda: self._session.create_batch(
                    model,
                    inputs,
                    client_refs=client_refs,
                    metadata=metadata,
                    callback_url=callback_url,
                    idempotency_key=idempotency_key,
                    **for_session(waiting),
                )
            ),
        )

    def create_batches(
        self,
        model: str,
        inputs: Iterable[Mapping[str, Any]],
        *,
        client_refs: Iterable[str | None] | None = None,
        metadata: Mapping[str, Any] | None = None,
        callback_url: str | None = None,
        idempotency_key: str | None = None,
        **waiting: Unpack[WaitKeywords],
    ) -> BatchesWait:
        """As `runflow_async.RunflowSession.create_batches`."""
        return BatchesWait(
            self._portal,
            self._portal.run(
                lambda: self._session.create_batches(
                    model,
                    inputs,
                    client_refs=client_refs,
                    metadata=metadata,
                    callback_url=callback_url,
                    idempotency_key=idempotency_key,
                    **for_session(waiting),
                )
            ),
        )

    def get_batch(self, batch_id: UUID | str) -> Batch:
        """As `runflow_async.RunflowSession.get_batch`."""
        return self._portal.run(lambda: self._session.get_batch(batch_id))

    def iter_batch_items(self, batch_id: UUID | str, *, page_size: int = 500) -> Iterator[BatchItem]:
        """As `runflow_async.RunflowSession.iter_batch_items`."""
        return Steps(
            self._portal, self._portal.call(lambda: self._session.iter_batch_items(batch_id, page_size=page_size))
        )

    def resubmit(
        self,
        model: str,
        batch: Batch | UUID | str,
        *,
        metadata: Mapping[str, Any] | None = None,
        callback_url: str | None = None,
        idempotency_key: str | None = None,
        **waiting: Unpack[WaitKeywords],
    ) -> BatchWait:
        """As `runflow_async.RunflowSession.resubmit`."""
        return BatchWait(
            self._portal,
            self._portal.run(
                lambda: self._session.resubmit(
                    model,
                    batch,
                    metadata=metadata,
                    callback_url=callback_url,
                    idempotency_key=idempotency_key,
                    **for_session(waiting),
                )
            ),
        )

    def get_batch_item(self, batch_id: UUID | str, item_id: UUID | str) -> BatchItem:
        """As `runflow_async.RunflowSession.get_batch_item`."""
        return self._portal.run(lambda: self._session.get_batch_item(batch_id, item_id))

    def save_outputs(
        self, batch_id: UUID | str, folder: str | os.PathLike[str], *, concurrency: int = 8
    ) -> SavedOutputs:
        """As `runflow_async.RunflowSession.save_outputs`."""
        return self._portal.run(lambda: self._session.save_outputs(batch_id, folder, concurrency=concurrency))

    def callback_deliveries(self, batch_id: UUID | str) -> list[CallbackDelivery]:
        """As `runflow_async.RunflowSession.callback_deliveries`."""
        return self._portal.run(lambda: self._session.callback_deliveries(batch_id))

    def redeliver_callback(self, batch_id: UUID | str) -> CallbackDelivery:
        """As `runflow_async.RunflowSession.redeliver_callback`."""
        return self._portal.run(lambda: self._session.redeliver_callback(batch_id))
