"""Errors of creating batches, sending items again, and saving outputs."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from runflow_async._errors.base import RunflowError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from runflow_async._verdict import Verdict

__all__ = ["DownloadError", "NothingToResubmitError", "PartlyCreatedError", "ResubmitError", "SaveError"]


class PartlyCreatedError(RunflowError):
    """`create_batches` could not create all batches; `__cause__` says why.

    Attributes:
        created: the ids of those that were created, in the order of their inputs.
        total: the number of batches that all inputs need.
    """

    def __init__(self, created: Sequence[UUID], total: int, idempotency_key: str, *, reason: object) -> None:
        self.created = list(created)
        self.total = total
        self.idempotency_key = idempotency_key
        text = f"{len(created)} of {total} batches were created ({reason})"
        if getattr(reason, "status", None) != HTTPStatus.CONFLICT:
            text += f"; call again with idempotency_key={idempotency_key!r} and the same arguments to create the rest"
            text += ", and to wait for all"
        super().__init__(text)


class ResubmitError(RunflowError):
    """The items of a batch cannot be sent again: it has not ended, or too many failed, or their inputs are unknown."""

    def __init__(self, batch_id: UUID | None, reason: str) -> None:
        self.batch_id = batch_id
        super().__init__(f"batch {batch_id} cannot be resubmitted: {reason}")


class NothingToResubmitError(ResubmitError):
    """No item of the batch failed or was cancelled. Nothing was sent."""


class SaveError(RunflowError):
    """`save_outputs` cannot use its folder or disk. What was downloaded before is kept."""


class DownloadError(RunflowError):
    """One file of an output was not saved.

    Attributes:
        url: its URL without the query, which is the signature.
        status: HTTP status of the response that refused it, or None.
        item_id: the item that it belongs to, or None.
        sequence_index: of that item, or None.
        client_ref: of that item, or None.
    """

    item_id: UUID | None = None
    sequence_index: int | None = None
    client_ref: str | None = None

    def __init__(
        self,
        url: str,
        reason: object,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        verdict: Verdict | None = None,
    ) -> None:
        self.url = url
        self.status = status
        self.retry_after = retry_after
        self.verdict = verdict or self.verdict
        super().__init__(f"{url}: {reason}")
