"""The API's nouns as frozen msgspec structs; their fields follow the contract one by one."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from runflow_async.errors import BatchFailedError

__all__ = [
    "KNOWN_STATUSES",
    "TERMINAL_STATUSES",
    "Batch",
    "BatchItem",
    "BatchItemHandle",
    "BatchStatus",
    "ErrorDetail",
    "WaitStats",
]

Instant = Annotated[datetime, Meta(tz=True)]
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
# Beyond 2**53 JSON numbers are not the same everywhere (RFC 8259, section 6), and nothing has that many items.
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class BatchStatus(StrEnum):
    """The statuses known today. The server may send others; they are kept as they came."""

    QUEUED = "queued"
    DISPATCHING = "dispatching"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    PARTIAL_SUCCEEDED = "partial_succeeded"


TERMINAL_STATUSES: frozenset[str] = frozenset({"succeeded", "failed", "canceled", "cancelled", "partial_succeeded"})
"""Statuses after which nothing changes, with both of the server's spellings of cancelled."""


KNOWN_STATUSES = TERMINAL_STATUSES | frozenset(BatchStatus)


def _check_finite(cost: Decimal | None) -> None:
    # Decimal reads "NaN", which equals nothing, so that a snapshot would not be the same after a round through JSON.
    if cost is not None and not cost.is_finite():
        raise ValueError(f"cost must be a finite number, not {cost}")


class BatchItemHandle(Struct, frozen=True, gc=False):
    """One item of a batch as the batch's detail shows it. Its identity is `id`, never its position."""

    id: UUID
    sequence_index: Whole
    run_id: UUID
    status_code: str
    client_ref: str | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the item has ended, well or badly."""
        return self.status_code in TERMINAL_STATUSES


class Batch(Struct, frozen=True, kw_only=True):
    """A batch at one moment. Every field is optional and nullable, as the contract has it.

    A value that cannot be used, such as a negative count or a date that is none, is None too; a warning says so. In a
    batch that was asked for, `id` is never None: an answer without one gets the id asked for.

    It goes through `msgspec.json.encode` and back unchanged.
    """

    id: UUID | None = None
    org_id: UUID | None = None
    target_type_code: str | None = None
    target_type: str | None = None
    target_id: UUID | None = None
    status_code: str | None = None
    source_code: str | None = None
    items_total: Count | None = None
    items_succeeded: Count | None = None
    items_failed: Count | None = None
    items_cancelled: Count | None = None
    input: list[dict[str, Any]] | None = None
    resolved_template_id: UUID | None = None
    dispatch_provider_link_id: UUID | None = None
    cost: Decimal | None = None
    output: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    callback_url: str | None = None
    duration_ms: Whole | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    failure_stage_code: str | None = None
    created_by: UUID | None = None
    created_at: Instant | None = None
    started_at: Instant | None = None
    completed_at: Instant | None = None
    links: dict[str, Any] | None = None
    items: list[BatchItemHandle] | None = None

    def __post_init__(self) -> None:
        _check_finite(self.cost)

    @property
    def is_terminal(self) -> bool:
        """Whether the batch has ended: a terminal status, or `completed_at` is set."""
        return self.status_code in TERMINAL_STATUSES or self.completed_at is not None

    def raise_for_status(self) -> None:
        """Do nothing if the batch succeeded.

        Raises:
            BatchFailedError: for every other status, `partial_succeeded` and a running batch included; it carries
                this batch.
        """
        if self.status_code != BatchStatus.SUCCEEDED:
            error = BatchFailedError(self.id, self.status_code, self.failure_message or self.failure_code)
            error.batch = self
            raise error


class BatchItem(Struct, frozen=True, kw_only=True):
    """One item with its input and results, from `GET /v1/batches/{id}/items`."""

    id: UUID
    batch_id: UUID | None = None
    sequence_index: Whole | None = None
    run_id: UUID | None = None
    client_ref: str | None = None
    status_code: str | None = None
    input: dict[str, Any] | None = None
    output: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    cost: Decimal | None = None
    created_at: Instant | None = None
    started_at: Instant | None = None
    completed_at: Instant | None = None
    run: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        _check_finite(self.cost)

    @property
    def is_terminal(self) -> bool:
        """Whether the item has ended, well or badly."""
        return self.status_code in TERMINAL_STATUSES


class ErrorDetail(Struct, frozen=True):
    """The server's error envelope."""

    code: str
    message: str
    errors: list[dict[str, Any]] | None = None


class WaitStats(Struct, frozen=True, kw_only=True):
    """What a wait has cost so far.

    Every request is counted as one thing: `requests == polls + failures + repeats + cut`, and one more while a request
    is in flight.

    Attributes:
        polls: requests with a good answer, which was taken in.
        requests: requests sent.
        retries: polls tried again after a failure, or after none could be sent in time.
        failures: requests that failed: an error, no answer in time, or an answer that was not taken in.
        repeats: requests that found their idle connection closed, and were sent again at once on another one.
        cut: requests that were in flight when their wait was cancelled or closed.
        transitions: transitions yielded.
        elapsed: seconds since the wait's first step.
    """

    polls: int = 0
    requests: int = 0
    retries: int = 0
    failures: int = 0
    repeats: int = 0
    cut: int = 0
    transitions: int = 0
    elapsed: float = 0.0
