"""The public surface, pinned: names, bases, signatures and defaults, in the spelling of the source.

A name stands at the left, what it has below it, and what does not fit into a line is further to the right. A class
that inherits its constructor or a member from another public one does not repeat it; the fields of a struct are the
arguments of its constructor.
"""

from __future__ import annotations

import importlib
import inspect
import re
from enum import Enum
from types import FunctionType, ModuleType, UnionType
from typing import Any, ForwardRef, Protocol
from uuid import UUID

import msgspec
import pytest

from runflow_async import (
    BatchFailedError,
    DownloadError,
    MalformedResponseError,
    OutageError,
    RedirectError,
    ResponseTooLargeError,
    RunflowSession,
    ShardError,
    StalledError,
    StatusError,
    WaitClosedError,
    WaitTimeoutError,
)
from runflow_async.emulator import Emulator

SURFACE = {
    "runflow_async": """
TERMINAL_STATUSES: frozenset
AuthenticationError < StatusError
    hint: str
BadRequestError < StatusError
Batch(*, id: UUID | None = None, org_id: UUID | None = None, target_type_code: str | None = None,
        target_type: str | None = None, target_id: UUID | None = None, status_code: str | None = None,
        source_code: str | None = None, items_total: Count | None = None, items_succeeded: Count | None = None,
        items_failed: Count | None = None, items_cancelled: Count | None = None,
        input: list[dict[str, Any]] | None = None, resolved_template_id: UUID | None = None,
        dispatch_provider_link_id: UUID | None = None, cost: Decimal | None = None,
        output: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None, callback_url: str | None = None,
        duration_ms: Whole | None = None, failure_code: str | None = None, failure_message: str | None = None,
        failure_stage_code: str | None = None, created_by: UUID | None = None, created_at: Instant | None = None,
        started_at: Instant | None = None, completed_at: Instant | None = None, links: dict[str, Any] | None = None,
        items: list[BatchItemHandle] | None = None) < Model
    is_terminal -> bool
    raise_for_status() -> None
    to_dict() -> dict[str, Any]
    to_json() -> str
BatchFailedError(batch_id: UUID | None, status: str | None, reason: str | None = None) < RunflowError
BatchItem(*, id: UUID, batch_id: UUID | None = None, sequence_index: Whole | None = None, run_id: UUID | None = None,
        client_ref: str | None = None, status_code: str | None = None, input: dict[str, Any] | None = None,
        output: dict[str, Any] | None = None, error: dict[str, Any] | None = None, cost: Decimal | None = None,
        created_at: Instant | None = None, started_at: Instant | None = None, completed_at: Instant | None = None,
        run: dict[str, Any] | None = None) < Model
    is_terminal -> bool
    to_dict() -> dict[str, Any]
    to_json() -> str
    urls -> list[str]
BatchItemHandle(id: UUID, sequence_index: Whole, run_id: UUID, status_code: str, client_ref: str | None = None)
        < Model
    is_terminal -> bool
    to_dict() -> dict[str, Any]
    to_json() -> str
BatchResults < AsyncIterator
    async aclose() -> None
    delivered -> list[Batch]
    waits -> Mapping[UUID, BatchWait]
BatchStatus < StrEnum
    CANCELED = 'canceled'
    DISPATCHING = 'dispatching'
    FAILED = 'failed'
    PARTIAL_SUCCEEDED = 'partial_succeeded'
    QUEUED = 'queued'
    RUNNING = 'running'
    SUCCEEDED = 'succeeded'
BatchWait < WarnsIfUnused, HasOutcome, Coroutine, AsyncIterator
    async aclose() -> None
    batch -> Batch | None
    batch_id: UUID
    batched() -> AsyncIterator[list[ItemTransition]]
    close() -> None
    deadline -> float
    delivered -> Batch
    done() -> bool
    estimate() -> Estimate | None
    exception() -> Exception | None
    has_pending -> bool
    next_poll_at -> float
    nudge() -> bool
    outage -> OngoingOutage | None
    result() -> Batch
    send(value: Any) -> Any
    stats -> WaitStats
    throw(*error: Any) -> Any
BatchWaitError(message: str, batch_id: UUID | None) < RunflowError
BatchesWait < ManyWaits
    async aclose() -> None
    add(batch_id: UUID | str) -> BatchWait
    as_completed() -> Completions[Wait]
    batched() -> AsyncIterator[list[ItemTransition]]
    estimate() -> Estimate | None
    waits -> Mapping[UUID, Wait]
CallbackAttempt(*, attempt_number: Whole | None = None, status_code: Whole | None = None,
        response_time_ms: Whole | None = None, error_message: str | None = None, created_at: Instant | None = None)
        < Model
    to_dict() -> dict[str, Any]
    to_json() -> str
CallbackDelivery(*, id: UUID, batch_id: UUID | None = None, callback_url: str | None = None,
        status_code: str | None = None, failure_reason_code: str | None = None, failure_detail: str | None = None,
        attempt_count: Whole | None = None, max_attempts: Whole | None = None, next_attempt_at: Instant | None = None,
        created_at: Instant | None = None, completed_at: Instant | None = None,
        attempts: list[CallbackAttempt] | None = None) < Model
    to_dict() -> dict[str, Any]
    to_json() -> str
CertificateError < TransportError
    verdict = 'final'
CheckpointError < RunflowError
ConfigurationError < RunflowError, ValueError
ConflictError < StatusError
DownloadError(url: str, reason: object, *, status: int | None = None, retry_after: float | None = None,
        verdict: Verdict | None = None) < RunflowError
    client_ref: str | None
    item_id: UUID | None
    sequence_index: int | None
ErrorDetail(code: str, message: str, errors: list[dict[str, Any]] | None = None) < Model
    to_dict() -> dict[str, Any]
    to_json() -> str
Estimate(*, ends_at: datetime, earliest: datetime, latest: datetime, unchanged_since: datetime) < Struct
InvalidSignatureError < RunflowError
ItemTransition(batch_id: UUID, item: BatchItemHandle, previous: str | None, observed_at: datetime) < Model
    current -> str
    is_terminal -> bool
    to_dict() -> dict[str, Any]
    to_json() -> str
MalformedResponseError(reason: str, *, where: str = '$', verdict: Verdict | None = None) < RunflowError
    verdict = 'suspect'
NotFoundError < StatusError
    hint: str
NothingToResubmitError < ResubmitError
OngoingOutage < tuple
    error: RunflowError
    since: float
    until: float
OutageError(batch_id: UUID, max_outage: float, *, reason: object) < BatchWaitError
PartlyCreatedError(created: Sequence[UUID], total: int, idempotency_key: str, *, reason: object) < RunflowError
PaymentRequiredError < StatusError
    hint: str
PermissionDeniedError < StatusError
RateLimitError < StatusError
RedirectError(status: int, *, location: str | None = None, **details: Any) < StatusError
    hint: str
ResponseTooLargeError(limit: int) < MalformedResponseError
    verdict = 'final'
ResubmitError(batch_id: UUID | None, reason: str) < RunflowError
RetryPolicy(*, attempts: int = 5, wait_initial: float | timedelta = 1.0, wait_max: float | timedelta = 32.0) < Struct
RunflowError < Exception
    batch: Batch | None
    batch_id: UUID | None
    idempotency_key: str | None
    retry_after: float | None
    stats: WaitStats | None
    verdict: Verdict
RunflowSession(api_key: str | None = None, *, base_url: str | None = None, organization_id: UUID | str | None = None,
        http: aiohttp.ClientSession | None = None, request_timeout: float | timedelta = 30.0,
        max_connections: int = 100,
        max_rate: float | None = None, max_response_bytes: int = 33554432, max_retry_after: float | timedelta = 120.0,
        retry: RetryPolicy = RetryPolicy(), observers: Iterable[Observer] = ())
        < ResubmitsItems, YieldsResults, SavesOutputs, ServesCallbacks
    async callback_deliveries(batch_id: UUID | str) -> list[CallbackDelivery]
    async close() -> None
    async create_batch(model: str, inputs: Sequence[Mapping[str, Any]], *,
        client_refs: Sequence[str | None] | None = None, metadata: Mapping[str, Any] | None = None,
        callback_url: str | None = None, idempotency_key: str | None = None, **waiting: Unpack[WaitKeywords])
        -> BatchWait
    async create_batches(model: str, inputs: Iterable[Mapping[str, Any]], *,
        client_refs: Iterable[str | None] | None = None, metadata: Mapping[str, Any] | None = None,
        callback_url: str | None = None, idempotency_key: str | None = None, **waiting: Unpack[WaitKeywords])
        -> BatchesWait
    async get_batch(batch_id: UUID | str) -> Batch
    async get_batch_item(batch_id: UUID | str, item_id: UUID | str) -> BatchItem
    iter_batch_items(batch_id: UUID | str, *, page_size: int = 500) -> AsyncIterator[BatchItem]
    iter_results(batch_ids: UUID | str | Iterable[UUID | str], *, timeout: float | timedelta | None = 3600.0,
        interval: float | timedelta | wait_base | Callable[[RetryCallState], float] | None = None,
        max_outage: float | timedelta = 300.0,
        until: Callable[[Batch], bool] | None = None, since: Batch | Iterable[Batch] = (),
        expect_callback: bool = False, stalled_after: float | timedelta | None = None, end_when_stalled: bool = False,
        checkpoint: Checkpoint | None = None) -> BatchResults
    nudge(batch_id: UUID | str) -> bool
    async redeliver_callback(batch_id: UUID | str) -> CallbackDelivery
    async resubmit(model: str, batch: Batch | UUID | str, *, metadata: Mapping[str, Any] | None = None,
        callback_url: str | None = None, idempotency_key: str | None = None, **waiting: Unpack[WaitKeywords])
        -> BatchWait
    async save_outputs(batch_id: UUID | str, folder: str | os.PathLike[str], *, concurrency: int = 8) -> SavedOutputs
    wait_for_batch(batch_id: UUID | str, *, timeout: float | timedelta | None = 3600.0,
        interval: float | timedelta | wait_base | Callable[[RetryCallState], float] | None = None,
        max_outage: float | timedelta = 300.0,
        until: Callable[[Batch], bool] | None = None, since: Batch | None = None, expect_callback: bool = False,
        stalled_after: float | timedelta | None = None, end_when_stalled: bool = False,
        checkpoint: Checkpoint | None = None) -> BatchWait
    wait_for_batches(batch_ids: Iterable[UUID | str], *, timeout: float | timedelta | None = 3600.0,
        interval: float | timedelta | wait_base | Callable[[RetryCallState], float] | None = None,
        max_outage: float | timedelta = 300.0,
        until: Callable[[Batch], bool] | None = None, since: Iterable[Batch] = (), expect_callback: bool = False,
        stalled_after: float | timedelta | None = None, end_when_stalled: bool = False,
        checkpoint: Checkpoint | None = None) -> BatchesWait
SaveError < RunflowError
SavedFile(*, batch_id: UUID, item_id: UUID, sequence_index: int | None = None, client_ref: str | None = None,
        status_code: str | None = None, position: int, url: str, path: str, bytes: int) < Struct
SavedOutputs(files: list[SavedFile], failures: list[DownloadError]) < Struct
    bytes -> int
    raise_for_failures() -> None
ServerError < StatusError
SessionClosedError() < RunflowError
ShardError(shard: int, worker: str | None, reason: object) < RunflowError
StalledError(batch_id: UUID, seconds: float, *, seen: str) < BatchWaitError
StatusError(status: int, *, code: str | None = None, message: str = '', errors: Sequence[dict[str, Any]] | None = None,
        request_id: str | None = None, retry_after: float | None = None, hint: str | None = None) < RunflowError
    hint: str
TransportError(message: str, *, verdict: Verdict | None = None) < RunflowError
    verdict = 'transient'
UnprocessableError < StatusError
WaitClosedError(batch_id: UUID | None = None) < BatchWaitError
WaitKeywords < dict
    checkpoint: Checkpoint | None
    end_when_stalled: bool
    expect_callback: bool
    interval: float | timedelta | Callable[[RetryCallState], float] | None
    max_outage: float | timedelta
    stalled_after: float | timedelta | None
    timeout: float | timedelta | None
    until: Callable[[Batch], bool] | None
WaitStats(*, polls: int = 0, requests: int = 0, retries: int = 0, failures: int = 0, repeats: int = 0, cut: int = 0,
        shared: int = 0, transitions: int = 0, elapsed: float = 0.0) < Model
    to_dict() -> dict[str, Any]
    to_json() -> str
WaitTimeoutError(batch_id: UUID, timeout: float, *, reason: object, batch: Batch | None = None)
        < BatchWaitError, TimeoutError
__version__: str
wait_adaptive(*, min: float | timedelta = 0.5, max: float | timedelta = 10.0, eagerness: float = 1.0,
        jitter: float = 0.1) < wait_base
""",
    "runflow_async.asgi": """
callback_asgi(session: RunflowSession, secrets: str | Sequence[str], *, path: str = '/', max_body: int = 1048576)
        -> ASGIApp
""",
    "runflow_async.blocking": """
BatchResults < Closing
    close() -> None
    delivered -> list[Batch]
    waits -> Mapping[UUID, BatchWait]
BatchWait < Closing
    batch -> Batch | None
    batched() -> Iterator[list[ItemTransition]]
    close() -> None
    deadline -> float
    delivered -> Batch
    done() -> bool
    estimate() -> Estimate | None
    exception() -> Exception | None
    has_pending -> bool
    next_poll_at -> float
    nudge() -> bool
    outage -> OngoingOutage | None
    result() -> Batch
    stats -> WaitStats
BatchesWait < Closing
    add(batch_id: UUID | str) -> BatchWait
    as_completed() -> Iterator[BatchWait]
    batched() -> Iterator[list[ItemTransition]]
    close() -> None
    ended -> list[BatchWait]
    estimate() -> Estimate | None
    result() -> list[Batch]
    waits -> Mapping[UUID, BatchWait]
RunflowSession(api_key: str | None = None, *, base_url: str | None = None, organization_id: UUID | str | None = None,
        http: Callable[[], aiohttp.ClientSession] | None = None, request_timeout: float | timedelta = 30.0,
        max_connections: int = 100, max_rate: float | None = None, max_response_bytes: int = 33554432,
        max_retry_after: float | timedelta = 120.0, retry: RetryPolicy = RetryPolicy(),
        observers: Iterable[Observer] = ()) < MakesCalls
    callback_deliveries(batch_id: UUID | str) -> list[CallbackDelivery]
    close() -> None
    create_batch(model: str, inputs: Sequence[Mapping[str, Any]], *, client_refs: Sequence[str | None] | None = None,
        metadata: Mapping[str, Any] | None = None, callback_url: str | None = None, idempotency_key: str | None =
        None, **waiting: Unpack[WaitKeywords]) -> BatchWait
    create_batches(model: str, inputs: Iterable[Mapping[str, Any]], *, client_refs: Iterable[str | None] | None =
        None, metadata: Mapping[str, Any] | None = None, callback_url: str | None = None, idempotency_key: str | None
        = None, **waiting: Unpack[WaitKeywords]) -> BatchesWait
    get_batch(batch_id: UUID | str) -> Batch
    get_batch_item(batch_id: UUID | str, item_id: UUID | str) -> BatchItem
    iter_batch_items(batch_id: UUID | str, *, page_size: int = 500) -> Iterator[BatchItem]
    iter_results(batch_ids: UUID | str | Iterable[UUID | str], *, timeout: float | timedelta | None = 3600.0,
        interval: float | timedelta | wait_base | Callable[[RetryCallState], float] | None = None, max_outage: float |
        timedelta = 300.0, until: Callable[[Batch], bool] | None = None, since: Batch | Iterable[Batch] = (),
        expect_callback: bool = False,
        stalled_after: float | timedelta | None = None, end_when_stalled: bool = False,
        checkpoint: Checkpoint | None = None) -> BatchResults
    nudge(batch_id: UUID | str) -> bool
    redeliver_callback(batch_id: UUID | str) -> CallbackDelivery
    resubmit(model: str, batch: Batch | UUID | str, *, metadata: Mapping[str, Any] | None = None, callback_url: str |
        None = None, idempotency_key: str | None = None, **waiting: Unpack[WaitKeywords]) -> BatchWait
    save_outputs(batch_id: UUID | str, folder: str | os.PathLike[str], *, concurrency: int = 8) -> SavedOutputs
    wait_for_batch(batch_id: UUID | str, *, timeout: float | timedelta | None = 3600.0, interval: float | timedelta |
        wait_base | Callable[[RetryCallState], float] | None = None, max_outage: float | timedelta = 300.0, until:
        Callable[[Batch], bool] | None = None, since: Batch | None = None, expect_callback: bool = False,
        stalled_after: float | timedelta | None = None, end_when_stalled: bool = False,
        checkpoint: Checkpoint | None = None) -> BatchWait
    wait_for_batches(batch_ids: Iterable[UUID | str], *, timeout: float | timedelta | None = 3600.0, interval: float |
        timedelta | wait_base | Callable[[RetryCallState], float] | None = None, max_outage: float | timedelta =
        300.0, until: Callable[[Batch], bool] | None = None, since: Iterable[Batch] = (), expect_callback: bool =
        False,
        stalled_after: float | timedelta | None = None, end_when_stalled: bool = False,
        checkpoint: Checkpoint | None = None) -> BatchesWait
SQLiteCheckpoints(path: str | os.PathLike[str])
    check_open() -> None
    close() -> None
    flush() -> None
    forget(batch_id: UUID) -> None
    load(batch_id: UUID) -> Batch | None
    record(transition: ItemTransition) -> None
""",
    "runflow_async.callbacks": """
BatchCallback(*, event: str, batch_id: UUID, status: str | None = None, output: dict[str, Any] | None = None,
        duration_ms: int | None = None, created_at: Annotated[datetime, Meta(tz=True)] | None = None,
        completed_at: Annotated[datetime, Meta(tz=True)] | None = None, metadata: dict[str, Any] | None = None)
        < Struct
    is_terminal -> bool
callback_application(session: RunflowSession, secrets: str | Sequence[str], *, path: str = '/',
        max_body: int = 1048576) -> web.Application
parse_callback(body: bytes) -> BatchCallback
verify_signature(secrets: str | Sequence[str], body: bytes, signature: str | None) -> None
""",
    "runflow_async.checkpoints": """
Checkpoint < Protocol
    async load(batch_id: UUID) -> Batch | None
    record(transition: ItemTransition) -> None
SQLiteCheckpoints(path: str | os.PathLike[str])
    check_open() -> None
    async close() -> None
    async flush() -> None
    async forget(batch_id: UUID) -> None
    async load(batch_id: UUID) -> Batch | None
    record(transition: ItemTransition) -> None
""",
    "runflow_async.distributed": """
DistributedWait < ManyWaits
    async aclose() -> None
    as_completed() -> Completions[Wait]
    batched() -> AsyncIterator[list[ItemTransition]]
    waits -> Mapping[UUID, Wait]
RemoteWait < HasOutcome
    batch_id: UUID
    delivered -> Batch
    done() -> bool
    exception() -> Exception | None
    result() -> Batch
    stats -> WaitStats
SessionConfig(*, api_key: Callable[[], str] | None = None, base_url: str | None = None,
        organization_id: UUID | str | None = None, request_timeout: float | timedelta = 30.0,
        max_connections: int = 100,
        max_response_bytes: int = 33554432, max_retry_after: float | timedelta = 120.0,
        retry: RetryPolicy = RetryPolicy())
        < Struct
wait_for_batches(client: Client, batch_ids: Iterable[UUID | str], *, shards: int | None = None,
        max_rate: float | None = None, session: SessionConfig = SessionConfig(),
        timeout: float | timedelta | None = 3600.0,
        interval: float | timedelta | wait_base | Callable[[RetryCallState], float] | None = None,
        max_outage: float | timedelta = 300.0,
        until: Callable[[Batch], bool] | None = None, since: Iterable[Batch] = (),
        stalled_after: float | timedelta | None = None, end_when_stalled: bool = False) -> DistributedWait
""",
    "runflow_async.emulator": """
BatchDetails < dict
    callback_times: int
    callback_url: str | None
    client_refs: Sequence[str | None] | None
    inputs: Sequence[dict[str, Any]] | None
    metadata: dict[str, Any] | None
    organization_id: UUID | None
    outputs: Sequence[dict[str, Any] | None] | None
BatchPlan < dict
    cancel: float
    duration: float
    fail: float
    seed: int | None
    stragglers: int
    workers: int
Emulator(*, seed: int = 0, host: str = '127.0.0.1', port: int = 0, api_key: str | None = None,
        organization_id: UUID | None = None, latency: float = 0.0, rate_limit: float | None = None,
        clock: Callable[[], float] | None = None, callback_secret: str | None = None,
        listing: Listing = 'next_pq')
    async close() -> None
    create_batch(items: int = 24, duration: float = 10.0, fail: float = 0.0, cancel: float = 0.0, *, workers: int = 8,
        stragglers: int = 0, seed: int | None = None, **details: Unpack[BatchDetails]) -> UUID
    create_scripted_batch(timelines: Iterable[Iterable[tuple[float, str]]], *,
        status_timeline: Iterable[tuple[float, str]] | None = None, **details: Unpack[BatchDetails]) -> UUID
    now() -> float
    plan_created(**plan: Unpack[BatchPlan]) -> None
    script_next(timelines: Iterable[Iterable[tuple[float, str]]], *,
        status_timeline: Iterable[tuple[float, str]] | None = None) -> None
    snapshot(batch_id: UUID) -> dict[str, Any]
    async start() -> None
    url -> str
Fault(*, name: str, times: float = 1, batch_id: UUID | None = None, route: Route | None = None, silent: bool = False,
        instead: Answer | None = None, ignores: tuple[str, ...] = (),
        rewrite: Callable[[Answer], Answer] = _unchanged,
        deliver: Callable[[web.BaseRequest, Answer], Awaitable[web.StreamResponse]] = send) < Struct
Outputs
    content_of(url: str) -> bytes
    is_valid(url: str) -> bool
    sign(path: str) -> str
    url -> str
ReceivedRequest(*, method: str, path: str, headers: dict[str, str], received_at: float, status: int | None,
        batch_id: UUID | None, body: bytes = b'') < Struct
SentCallback(*, batch_id: UUID, url: str, body: bytes, status: int | None, attempt: int) < Struct
faults: module
in_thread(emulator: E) -> Generator[E, None, None]
""",
    "runflow_async.progress": """
progress(wait_or_waits: BatchWait | BatchesWait, *, bar: Literal['tqdm', 'rich'] | None = None)
        -> _Progress[Batch] | _Progress[list[Batch]]
""",
    "runflow_async.emulator.faults": """
Fault(*, name: str, times: float = 1, batch_id: UUID | None = None, route: Route | None = None, silent: bool = False,
        instead: Answer | None = None, ignores: tuple[str, ...] = (),
        rewrite: Callable[[Answer], Answer] = _unchanged,
        deliver: Callable[[web.BaseRequest, Answer], Awaitable[web.StreamResponse]] = send) < Struct
Target < dict
    batch_id: UUID | None
    route: Route | None
    times: float
body(content: bytes, *, status: int = 200, content_type: str = 'application/json',
        headers: Mapping[str, str] | None = None, **target: Unpack[Target]) -> Fault
endless_body(**target: Unpack[Target]) -> Fault
hang(**target: Unpack[Target]) -> Fault
html(*, status: int = 200, **target: Unpack[Target]) -> Fault
no_ranges(**target: Unpack[Target]) -> Fault
other_batch(snapshot: dict[str, Any] | None = None, **target: Unpack[Target]) -> Fault
reset(**target: Unpack[Target]) -> Fault
slow_body(seconds: float, *, pieces: int = 10, **target: Unpack[Target]) -> Fault
status(status: int, *, code: str = 'INJECTED_FAULT', message: str = 'injected by the emulator',
        errors: list[dict[str, Any]] | None = None, headers: Mapping[str, str] | None = None,
        **target: Unpack[Target]) -> Fault
truncated_body(**target: Unpack[Target]) -> Fault
wrong_length(by: int, **target: Unpack[Target]) -> Fault
""",
    "runflow_async.otel": """
OpenTelemetry(tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None)
    sending(request: RequestSent, /) -> Generator[Mapping[str, str]]
""",
    "runflow_async.observers": """
Event: Union
FleetEnded(*, fleet_id: int, waits: int) < Struct
Observer < Protocol
OutageBegan(*, seconds: float, waits: int, error: RunflowError) < Struct
OutageEnded(*, seconds: float, waits: int) < Struct
OutputSaved(*, batch_id: UUID, saved: SavedFile) < Struct
PaceChanged(*, rate: float | None, reason: str, held_for: float) < Struct
Polled(*, batch_id: UUID, wait_id: int, status_code: str | None, changes: int, items_ended: int,
        items_total: int | None) < Struct
RequestEnded(*, batch_id: UUID | None, wait_id: int | None, method: str, path: str, attempt: int, status: int | None,
        seconds: float, error: RunflowError | None, bytes: int) < Struct
RequestSent(*, batch_id: UUID | None, wait_id: int | None, method: str, path: str, attempt: int) < Struct
RequestWrapper < Observer, Protocol
    sending(request: RequestSent, /) -> AbstractContextManager[Mapping[str, str]]
ResultDelivered(*, batch_id: UUID, item: BatchItemHandle) < Struct
Retrying(*, batch_id: UUID | None, wait_id: int | None, subject: str, attempt: int, delay: float,
        error: RunflowError) < Struct
TransitionDelivered(*, batch_id: UUID, wait_id: int, transition: ItemTransition, age: float) < Struct
WaitEnded(*, batch_id: UUID, wait_id: int, status_code: str | None, error: Exception | None,
        stats: WaitStats) < Struct
WaitStalled(*, batch_id: UUID, wait_id: int, seconds: float, status_code: str | None, items_ended: int,
        items_total: int | None) < Struct
WaitStarted(*, batch_id: UUID, wait_id: int, fleet_id: int | None) < Struct
""",
    "runflow_async.sse": """
EndOfWait(*, batch_id: UUID, status_code: str | None, items_total: int | None, items_succeeded: int | None,
        items_failed: int | None, items_cancelled: int | None, error: str | None) < Struct
since_of(last_event_id: str | None) -> Batch | None
sse(wait: BatchWait, *, heartbeat: float | timedelta = 15.0) -> AsyncGenerator[bytes, None]
""",
}
MADE_BY_OTHERS = {"BatchResults", "BatchWait", "BatchesWait", "DistributedWait", "Outputs", "RemoteWait"}
VALUES = {"__version__", "hint"}
HOW_ON = "If that is meant, change the table in tests/test_public_api.py, tests/typing/api.py and CHANGELOG.md."


def parse(table: str) -> dict[str, str]:
    """The entries of a table by their qualified names."""
    entries: dict[str, str] = {}
    name = owner = ""
    for line in table.strip("\n").splitlines():
        if line.startswith(" " * 8):
            entries[name] += f" {line.strip()}"
            continue
        own = re.match(r"(?:async )?(\w+)", line.strip())[1]
        owner = owner if line.startswith(" ") else own
        name = f"{owner}.{own}" if line.startswith(" ") else own
        entries[name] = line.strip()
    return entries


def surface_of(module: ModuleType) -> dict[str, str]:
    """What there is, in the spelling of the table."""
    entries: dict[str, str] = {}
    for name in module.__all__:
        thing = getattr(module, name)
        entries[name] = describe(name, thing)
        entries |= {f"{name}.{own}": describe(own, member) for own, member in sorted(members(thing).items())}
    return entries


def members(thing: Any) -> dict[str, Any]:
    """What a class has itself, or from bases that are not public; annotations stand for what has no value."""
    found: dict[str, Any] = {}
    for base in reversed(thing.__mro__ if isinstance(thing, type) else ()):
        if base is thing or (base.__module__.startswith("runflow_async") and base.__name__ not in PUBLIC):
            found |= {name: value for name, value in vars(base).items() if not inspect.ismemberdescriptor(value)}
            found |= {} if issubclass(base, msgspec.Struct) else inspect.get_annotations(base)
    return {name: value for name, value in found.items() if not name.startswith("_")}


def describe(name: str, thing: Any) -> str:
    match thing:
        case type():
            bases = ", ".join(base.__name__ for base in thing.__bases__ if base is not object)
            return f"{name}{constructor_of(thing)}{bases and ' < '}{bases}"
        case FunctionType():
            return f"{'async ' * inspect.iscoroutinefunction(thing)}{name}{signature_of(thing)}"
        case property():
            return f"{name} -> {inspect.get_annotations(thing.fget)['return']}"
        case Enum():
            return f"{name} = {thing.value!r}"
        case UnionType():
            return f"{name}: Union"  # as Python 3.14 names the type, too
        case ForwardRef():
            return f"{name}: {thing.__forward_arg__}"
        case str() if name not in VALUES:
            return f"{name}: {thing}"  # an annotation
        case _:
            return f"{name}: {type(thing).__name__}"


def constructor_of(cls: type) -> str:
    has_own = ("__init__" in vars(cls) and Protocol not in cls.__bases__) or issubclass(cls, msgspec.Struct)
    return signature_of(cls).removesuffix(" -> None") if has_own and cls.__name__ not in MADE_BY_OTHERS else ""


class Spelled(str):
    """Shown as it stands in the source."""

    __slots__ = ()
    __repr__ = str.__str__


def signature_of(thing: Any) -> str:
    signature = inspect.signature(thing)
    fields = inspect.get_annotations(thing) if isinstance(thing, type) else {}
    shown = [
        one.replace(annotation=Spelled(fields.get(name, one.annotation)), default=shown_default(one.default))
        for name, one in signature.parameters.items()
        if name != "self"
    ]
    answer = signature.return_annotation
    spelled = Spelled(answer) if isinstance(answer, str) else answer
    return str(signature.replace(parameters=shown, return_annotation=spelled))


def shown_default(value: Any) -> Any:
    if isinstance(value, FunctionType):
        return Spelled(value.__name__)
    if isinstance(value, msgspec.Struct) and value == type(value)():
        return Spelled(f"{type(value).__name__}()")
    return value


MODULES = {name: importlib.import_module(name) for name in SURFACE}
PUBLIC = {name for module in MODULES.values() for name in module.__all__}


def changes(pinned: dict[str, str], found: dict[str, str]) -> list[str]:
    gone = [f"gone: {name}\n  was  {entry}" for name, entry in pinned.items() if name not in found]
    new = [f"new: {name}\n  is   {entry}" for name, entry in found.items() if name not in pinned]
    other = [
        f"changed: {name}\n  from {entry}\n  to   {found[name]}"
        for name, entry in pinned.items()
        if found.get(name, entry) != entry
    ]
    return gone + new + other


@pytest.mark.parametrize("name", SURFACE)
def test_the_surface_is_what_the_table_says(name):
    found = changes(parse(SURFACE[name]), surface_of(MODULES[name]))
    assert not found, "\n".join([f"the surface of {name} is another one:", *found, HOW_ON])


@pytest.mark.parametrize("name", SURFACE)
def test_all_is_exactly_the_table_and_in_its_order(name):
    assert MODULES[name].__all__ == [entry for entry in parse(SURFACE[name]) if "." not in entry]


def attributes(thing: object) -> list[str]:
    return sorted(name for name in vars(thing) if not name.startswith("_"))


async def test_objects_hold_nothing_else_that_is_public():
    """What no signature shows, because it is set when the object is made."""
    async with RunflowSession("key") as session:
        assert attributes(session) == []
        async with session.wait_for_batch(UUID(int=1)) as wait, session.wait_for_batches([]) as waits:
            assert attributes(wait) == ["batch_id"]
            assert attributes(waits) == ["ended"]
    asked_for = ["api_key", "latency", "listing", "organization_id", "rate_limit"]
    assert attributes(Emulator()) == sorted([*asked_for, "callbacks", "created", "faults", "outputs", "requests"])
    assert attributes(Emulator().outputs) == ["lifetime", "requests", "size"]


@pytest.mark.parametrize(
    ("error", "held"),
    [
        (BatchFailedError(UUID(int=1), "failed"), ["batch_id", "status"]),
        (MalformedResponseError("no JSON"), ["reason", "verdict", "where"]),
        (ResponseTooLargeError(1), ["limit", "reason", "verdict", "where"]),
        (ShardError(0, None, "no key"), ["shard", "worker"]),
        (DownloadError("https://h/a", "gone", status=410), ["retry_after", "status", "url", "verdict"]),
        (OutageError(UUID(int=1), 300.0, reason="down"), ["batch_id", "max_outage"]),
        (WaitTimeoutError(UUID(int=1), 5.0, reason="down"), ["batch", "batch_id", "timeout"]),
        (StalledError(UUID(int=1), 5.0, seen="it"), ["batch_id", "seconds"]),
        (WaitClosedError(UUID(int=1)), ["batch_id"]),
        (StatusError(418), ["code", "errors", "message", "request_id", "retry_after", "status", "verdict"]),
        (
            RedirectError(301),
            ["code", "errors", "location", "message", "request_id", "retry_after", "status", "verdict"],
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_hold_what_they_say(error, held):
    assert attributes(error) == held
