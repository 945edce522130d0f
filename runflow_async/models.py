"""The API's objects as frozen msgspec structs, with the fields of the contract."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta

from runflow_async._model import Model, check_finite
from runflow_async._outputs import files_of
from runflow_async._shown import batch_row, counts_of, describe_batch, describe_transition, quoted, table_of
from runflow_async._statuses import KINDS, TERMINAL_STATUSES, BatchStatus, Phase, kind_of, phase_of
from runflow_async.errors import BatchFailedError

__all__ = [
    "KINDS",
    "TERMINAL_STATUSES",
    "Batch",
    "BatchItem",
    "BatchItemHandle",
    "BatchStatus",
    "CallbackAttempt",
    "CallbackDelivery",
    "ErrorDetail",
    "ItemTransition",
    "Phase",
    "WaitStats",
    "kind_of",
    "phase_of",
]

Instant = Annotated[datetime, Meta(tz=True)]
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
# JSON numbers beyond 2**53 are not portable (RFC 8259, section 6), and no batch has that many items.
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class BatchItemHandle(Model, frozen=True, gc=False):
    """One item of a batch as shown in the batch's detail. It is identified by `id`, never by its position."""

    id: UUID
    sequence_index: Whole
    run_id: UUID
    status_code: str
    client_ref: str | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the item has ended, successfully or not."""
        return self.status_code in TERMINAL_STATUSES


class ItemTransition(Model, frozen=True, gc=False):
    """One item changed from one status to another. Encodes to JSON as it is.

    Attributes:
        batch_id: the item's batch.
        item: the item after the change.
        previous: its status before; None if the item is seen for the first time.
        observed_at: when the response that showed the change arrived (UTC), not when the change happened.
    """

    batch_id: UUID
    item: BatchItemHandle
    previous: str | None
    observed_at: datetime

    def _describe(self) -> str:
        return describe_transition(self)

    @property
    def current(self) -> str:
        """The item's status now, as the server spelled it."""
        return self.item.status_code

    @property
    def is_terminal(self) -> bool:
        """Whether the item has ended with this change."""
        return self.item.is_terminal


class Batch(Model, frozen=True, kw_only=True):
    """A snapshot of a batch. Every field is optional and nullable, as in the contract.

    An unusable value, such as a negative count or an invalid date, becomes None and a warning is logged. In a batch
    fetched by id, `id` is never None: a response without one gets the id that was requested.

    A round trip through `msgspec.json` leaves it unchanged.
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

    def _describe(self) -> str:
        return f"{self.id} {describe_batch(self)}"

    def _repr_html_(self) -> str | None:
        with suppress(Exception):  # as for `__repr__`
            return table_of([batch_row(str(self.id), counts_of(self), describe_batch(self))])
        return None

    def __post_init__(self) -> None:
        check_finite(self.cost)

    @property
    def is_terminal(self) -> bool:
        """Whether the batch has ended: its status is terminal, or `completed_at` is set."""
        return self.status_code in TERMINAL_STATUSES or self.completed_at is not None

    def raise_for_status(self) -> None:
        """Raise unless the batch succeeded.

        Raises:
            BatchFailedError: for every status but `succeeded`, including `partial_succeeded` and that of a running
                batch. It carries this batch.
        """
        if self.status_code != BatchStatus.SUCCEEDED:
            error = BatchFailedError(self.id, self.status_code, self.failure_message or self.failure_code)
            error.batch = self
            raise error


class BatchItem(Model, frozen=True, kw_only=True):
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

    def _describe(self) -> str:
        return f"{self.id} {self.sequence_index} {quoted(self.client_ref)} {quoted(self.status_code)}"

    def __post_init__(self) -> None:
        check_finite(self.cost)

    @property
    def urls(self) -> list[str]:
        """The URLs of the files in `output`, each once; empty without any. They are signed, and expire."""
        return [file.url for file in files_of(self.output)]

    @property
    def is_terminal(self) -> bool:
        """Whether the item has ended, successfully or not."""
        return self.status_code in TERMINAL_STATUSES


class CallbackAttempt(Model, frozen=True, kw_only=True):
    """One attempt to deliver a callback."""

    attempt_number: Whole | None = None
    status_code: Whole | None = None
    response_time_ms: Whole | None = None
    error_message: str | None = None
    created_at: Instant | None = None


class CallbackDelivery(Model, frozen=True, kw_only=True):
    """The delivery of a batch's callback, from `GET /v1/batches/{id}/callback`."""

    id: UUID
    batch_id: UUID | None = None
    callback_url: str | None = None
    status_code: str | None = None
    failure_reason_code: str | None = None
    failure_detail: str | None = None
    attempt_count: Whole | None = None
    max_attempts: Whole | None = None
    next_attempt_at: Instant | None = None
    created_at: Instant | None = None
    completed_at: Instant | None = None
    attempts: list[CallbackAttempt] | None = None


class ErrorDetail(Model, frozen=True):
    """The server's error envelope."""

    code: str
    message: str
    errors: list[dict[str, Any]] | None = None


class WaitStats(Model, frozen=True, kw_only=True):
    """The requests, transitions and time of a wait so far.

    Every request is counted exactly once: `requests == polls - shared + failures + repeats + cut`, plus one while a
    request is in flight.

    Attributes:
        polls: valid responses that were processed.
        requests: requests sent for this wait.
        retries: polls retried after a failure, or because none could be sent in time.
        failures: requests that failed: an error, no response in time, or a response that was rejected.
        repeats: requests that found their idle connection closed and were sent again at once on another one.
        cut: requests that were in flight when their wait was cancelled or closed.
        shared: valid responses to requests that were sent for another wait of the same session.
        transitions: transitions delivered.
        elapsed: seconds since the wait's first step.
    """

    polls: int = 0
    requests: int = 0
    retries: int = 0
    failures: int = 0
    repeats: int = 0
    cut: int = 0
    shared: int = 0
    transitions: int = 0
    elapsed: float = 0.0
