"""The public surface as users type it; never run, only checked, against the installed package.

Lines with ignores must not type-check: each checker has its own, and complains of one that nothing needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never, assert_type
from uuid import UUID

import aiohttp
from aiohttp import web
from tenacity import RetryCallState, wait_fixed, wait_random

import runflow_async
from runflow_async import (
    TERMINAL_STATUSES,
    AuthenticationError,
    BadRequestError,
    Batch,
    BatchesWait,
    BatchFailedError,
    BatchItem,
    BatchItemHandle,
    BatchResults,
    BatchStatus,
    BatchWait,
    BatchWaitError,
    CertificateError,
    CheckpointError,
    ConfigurationError,
    DownloadError,
    ErrorDetail,
    Estimate,
    InvalidSignatureError,
    ItemTransition,
    MalformedResponseError,
    NotFoundError,
    OutageError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    ResponseTooLargeError,
    RetryPolicy,
    RunflowError,
    RunflowSession,
    SavedFile,
    SavedOutputs,
    SaveError,
    ServerError,
    SessionClosedError,
    ShardError,
    StalledError,
    StatusError,
    TransportError,
    UnprocessableError,
    WaitClosedError,
    WaitStats,
    WaitTimeoutError,
    blocking,
    wait_adaptive,
)
from runflow_async.asgi import callback_asgi
from runflow_async.callbacks import BatchCallback, callback_application, parse_callback, verify_signature
from runflow_async.checkpoints import Checkpoint, SQLiteCheckpoints
from runflow_async.distributed import DistributedWait, RemoteWait, SessionConfig, wait_for_batches
from runflow_async.emulator import (
    BatchDetails,
    BatchPlan,
    Emulator,
    Fault,
    ReceivedRequest,
    SentCallback,
    faults,
    in_thread,
)
from runflow_async.observers import (
    Event,
    FleetEnded,
    Observer,
    OutageBegan,
    OutageEnded,
    OutputSaved,
    PaceChanged,
    Polled,
    RequestEnded,
    RequestSent,
    RequestWrapper,
    ResultDelivered,
    Retrying,
    TransitionDelivered,
    WaitEnded,
    WaitStalled,
    WaitStarted,
)
from runflow_async.otel import OpenTelemetry
from runflow_async.progress import progress
from runflow_async.sse import since_of, sse

if TYPE_CHECKING:
    from distributed import Client
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider


async def sessions(http: aiohttp.ClientSession, organization: UUID) -> None:
    """All settings, and what only keywords may say."""
    async with RunflowSession() as session:
        assert_type(session, RunflowSession)
    assert_type(
        RunflowSession(
            "key",
            base_url="https://api.example",
            organization_id=organization,
            http=http,
            request_timeout=30,
            max_connections=10,
            max_rate=2.5,
            max_response_bytes=1,
            max_retry_after=60.0,
            retry=RetryPolicy(attempts=3, wait_initial=0.5, wait_max=8.0),
        ),
        RunflowSession,
    )
    assert_type(await session.close(), None)
    RunflowSession("key", "https://api.example")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    RunflowSession(b"key")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    RunflowSession(max_rate="fast")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    RunflowSession(timeout=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    RetryPolicy(3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def single_calls(session: RunflowSession, batch_id: UUID) -> None:
    """Calls that answer at once."""
    assert_type(await session.get_batch(batch_id), Batch)
    assert_type(await session.get_batch(str(batch_id)), Batch)
    assert_type(session.nudge(batch_id), bool)
    assert_type(session.iter_batch_items(batch_id, page_size=50), AsyncIterator[BatchItem])
    async for item in session.iter_batch_items("id"):
        assert_type(item, BatchItem)
    await session.get_batch(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(await session.get_batch_item(batch_id, "item"), BatchItem)
    await session.iter_batch_items("id")  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]


async def saved_outputs(session: RunflowSession, batch_id: UUID, item: BatchItem) -> None:
    """Files, and why some are missing."""
    saved = await session.save_outputs(batch_id, "outputs", concurrency=4)
    assert_type(saved, SavedOutputs)
    assert_type(saved.files, list[SavedFile])
    assert_type(saved.files[0].path, str)
    assert_type(saved.files[0].bytes, int)
    assert_type(saved.files[0].client_ref, str | None)
    assert_type(saved.bytes, int)
    assert_type(saved.failures, list[DownloadError])
    assert_type(saved.failures[0].status, int | None)
    assert_type(saved.failures[0].item_id, UUID | None)
    assert_type(saved.raise_for_failures(), None)
    assert_type(item.urls, list[str])
    await session.save_outputs("id", Path("outputs"))
    await session.save_outputs("id", "outputs", 4)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await session.save_outputs("id", 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def one_wait(session: RunflowSession, batch_id: UUID, seen: Batch) -> None:
    """One object with three faces."""
    wait = session.wait_for_batch(
        batch_id, timeout=None, interval=wait_adaptive(max=60), max_outage=60, until=lambda batch: batch.is_terminal
    )
    assert_type(wait, BatchWait)
    assert_type(await wait, Batch)
    async for transition in wait:
        assert_type(transition, ItemTransition)
    assert_type(await anext(wait), ItemTransition)
    async for transitions in wait.batched():
        assert_type(transitions, list[ItemTransition])
    assert_type(wait.batch_id, UUID)
    assert_type(wait.batch, Batch | None)
    assert_type(wait.delivered, Batch)
    assert_type(wait.stats, WaitStats)
    assert_type(wait.done(), bool)
    assert_type(wait.result(), Batch)
    assert_type(wait.exception(), Exception | None)
    assert_type(wait.nudge(), bool)
    assert_type(await wait.aclose(), None)
    async with session.wait_for_batch("id", since=seen) as entered:
        assert_type(entered, BatchWait)
    coroutine: Coroutine[Any, Any, Batch] = wait
    session.wait_for_batch(coroutine)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    session.wait_for_batch(batch_id, 60)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    session.wait_for_batch(batch_id, since="id")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    wait.batch = seen  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def waits_as_coroutines(session: RunflowSession, batch_ids: list[str]) -> None:
    """What asyncio takes, it takes as it is."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(session.wait_for_batch(batch_ids[0]))
    assert_type(task.result(), Batch)
    assert_type(await asyncio.create_task(session.wait_for_batch("id")), Batch)
    assert_type(await asyncio.gather(*map(session.wait_for_batch, batch_ids)), list[Batch])
    assert_type(await asyncio.wait_for(session.wait_for_batch("id"), 5), Batch)


def schedules(session: RunflowSession) -> None:
    """An interval is a number, a tenacity strategy, or a function of its state."""

    def later(state: RetryCallState) -> float:
        return float(state.attempt_number)

    session.wait_for_batch("id", interval=5)
    session.wait_for_batch("id", interval=later)
    session.wait_for_batch("id", interval=wait_fixed(3) + wait_random(0, 1))
    session.wait_for_batch("id", interval=wait_adaptive(min=1, max=9, eagerness=2, jitter=0) + wait_random(0, 1))
    wait_adaptive(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    session.wait_for_batch("id", interval=wait_fixed)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    session.wait_for_batch("id", interval="5s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def many_waits(session: RunflowSession, batch_ids: set[UUID], seen: list[Batch]) -> None:
    """Merged, in a list, or as they complete."""
    waits = session.wait_for_batches(batch_ids, timeout=60, interval=3, since=seen)
    assert_type(waits, BatchesWait)
    assert_type(await waits, list[Batch])
    async for transition in waits:
        assert_type(transition, ItemTransition)
    async for transitions in waits.batched():
        assert_type(transitions, list[ItemTransition])
    async for wait in waits.as_completed():
        assert_type(wait, BatchWait)
    assert_type(waits.add("id"), BatchWait)
    assert_type(waits.waits, Mapping[UUID, BatchWait])
    assert_type(waits.ended, list[BatchWait])
    assert_type(await waits.aclose(), None)
    async with session.wait_for_batches(["id"]) as entered:
        assert_type(entered, BatchesWait)
    session.wait_for_batches(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    waits.waits[UUID(int=1)] = waits.add("id")  # type: ignore[index]  # pyright: ignore[reportIndexIssue]


async def results(session: RunflowSession, batch_id: UUID, seen: Batch) -> None:
    """Of one batch or of many."""
    found = session.iter_results(batch_id, timeout=60, interval=3, since=seen)
    assert_type(found, BatchResults)
    async for item in found:
        assert_type(item, BatchItem)
    assert_type(found.delivered, list[Batch])
    assert_type(found.waits, Mapping[UUID, BatchWait])
    async with session.iter_results(["id", batch_id], since=found.delivered) as entered:
        assert_type(entered, BatchResults)
    assert_type(await found.aclose(), None)
    await found  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    session.iter_results(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def models(batch: Batch, item: BatchItem, transition: ItemTransition) -> None:
    """Everything is optional, and nothing can be changed."""
    assert_type(batch.id, UUID | None)
    assert_type(batch.status_code, str | None)
    assert_type(batch.items_total, int | None)
    assert_type(batch.cost, Decimal | None)
    assert_type(batch.output, dict[str, Any] | None)
    assert_type(batch.completed_at, datetime | None)
    assert_type(batch.items, list[BatchItemHandle] | None)
    assert_type(batch.is_terminal, bool)
    assert_type(batch.raise_for_status(), None)
    assert_type(item.id, UUID)
    assert_type(item.error, dict[str, Any] | None)
    assert_type(item.is_terminal, bool)
    assert_type(transition.batch_id, UUID)
    assert_type(transition.item, BatchItemHandle)
    assert_type(transition.item.sequence_index, int)
    assert_type(transition.item.client_ref, str | None)
    assert_type(transition.previous, str | None)
    assert_type(transition.current, str)
    assert_type(transition.observed_at, datetime)
    assert_type(transition.is_terminal, bool)
    assert_type(TERMINAL_STATUSES, frozenset[str])
    assert_type(BatchStatus("queued") == batch.status_code, bool)
    assert_type(WaitStats().elapsed, float)
    assert_type(ErrorDetail("CODE", "message").errors, list[dict[str, Any]] | None)
    assert_type(runflow_async.__version__, str)
    Batch(UUID(int=1))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    batch.status_code = "failed"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    range(batch.items_total)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    transition.current = "failed"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def errors(session: RunflowSession) -> None:
    """One tree, and what each kind carries."""
    try:
        session.nudge("id")
    except WaitTimeoutError as timeout:
        assert_type(timeout.batch, Batch | None)
        assert_type(timeout.timeout, float)
        as_builtin: TimeoutError = timeout
        raise as_builtin from None
    except RateLimitError as limited:
        assert_type(limited.retry_after, float | None)
    except RedirectError as redirect:
        assert_type(redirect.location, str | None)
    except StatusError as refused:
        assert_type(refused.status, int)
        assert_type(refused.code, str | None)
        assert_type(refused.message, str)
        assert_type(refused.errors, list[dict[str, Any]] | None)
        assert_type(refused.request_id, str | None)
    except MalformedResponseError as malformed:
        assert_type(malformed.reason, str)
        assert_type(malformed.where, str)
    except BatchFailedError as failed:
        assert_type(failed.status, str | None)
    except ShardError as lost:
        assert_type(lost.worker, str | None)
    except ConfigurationError as wrong:
        value_error: ValueError = wrong
        raise value_error from None
    except RunflowError as error:
        assert_type(error.batch_id, UUID | None)
        assert_type(error.batch, Batch | None)
        assert_type(error.stats, WaitStats | None)
        assert_type(error.retry_after, float | None)


STATUS_ERRORS: tuple[type[StatusError], ...] = (
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    ServerError,
    UnprocessableError,
)
WAIT_ERRORS: tuple[type[BatchWaitError], ...] = (OutageError, StalledError, WaitClosedError, WaitTimeoutError)
OTHER_ERRORS: tuple[type[RunflowError], ...] = (
    CertificateError,
    CheckpointError,
    InvalidSignatureError,
    ResponseTooLargeError,
    SaveError,
    SessionClosedError,
    TransportError,
)


async def callbacks(session: RunflowSession, body: bytes, signature: str | None) -> None:
    """Verified, parsed, served."""
    assert_type(verify_signature("secret", body, signature), None)
    assert_type(verify_signature(["new", "old"], body, signature), None)
    callback = parse_callback(body)
    assert_type(callback, BatchCallback)
    assert_type(callback.batch_id, UUID)
    assert_type(callback.status, str | None)
    assert_type(callback.is_terminal, bool)
    assert_type(callback_application(session, ["secret"], path="/runflow", max_body=9), web.Application)
    session.wait_for_batch(callback.batch_id, expect_callback=True)
    scope: dict[str, Any] = {"type": "lifespan"}
    assert_type(await callback_asgi(session, ["secret"], path="/runflow", max_body=9)(scope, receive, send), None)
    verify_signature(b"secret", body, signature)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    parse_callback("{}")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def receive() -> dict[str, Any]:
    """A server's."""
    return {"type": "lifespan.startup"}


async def send(message: Mapping[str, Any]) -> None:
    """A server's."""


async def pages(session: RunflowSession, batch_id: UUID, last_event_id: str | None) -> None:
    """Server-sent events."""
    since = since_of(last_event_id)
    assert_type(since, Batch | None)
    events = sse(session.wait_for_batch(batch_id, since=since), heartbeat=5)
    assert_type(events, AsyncGenerator[bytes, None])
    async for chunk in events:
        assert_type(chunk, bytes)
    sse(session.wait_for_batches([batch_id]))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def under_a_bar(session: RunflowSession, batch_id: UUID) -> None:
    """Bars, estimates, stalls."""
    wait = session.wait_for_batch(batch_id, stalled_after=timedelta(minutes=5), end_when_stalled=True)
    async for transition in progress(wait, bar="tqdm"):
        assert_type(transition, ItemTransition)
    waits = session.wait_for_batches([batch_id], stalled_after=300)
    assert_type(await progress(wait), Batch)
    assert_type(await progress(waits), list[Batch])
    for estimate in (wait.estimate(), waits.estimate()):
        assert_type(estimate, Estimate | None)
        if estimate is not None:
            assert_type(estimate.ends_at - estimate.unchanged_since, timedelta)
    progress([])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    progress(wait, bar="blocks")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


def plain_data(batch: Batch, transition: ItemTransition) -> None:
    """As dicts and as JSON."""
    assert_type(batch.to_dict(), dict[str, Any])
    assert_type(transition.to_json(), str)
    assert_type(dict(batch), dict[str, Any])


class Remembered:
    """A checkpoint of the user's own."""

    def __init__(self) -> None:
        self.taken: list[ItemTransition] = []

    async def load(self, batch_id: UUID) -> Batch | None:
        """Nothing is known."""
        return None

    def record(self, transition: ItemTransition) -> None:
        """Keep it."""
        self.taken.append(transition)


async def checkpoints(session: RunflowSession, batch_id: UUID) -> None:
    """Kept in a file, or as the user likes."""
    async with SQLiteCheckpoints("taken.db") as kept:
        assert_type(kept, SQLiteCheckpoints)
        named: Checkpoint = kept
        session.wait_for_batch(batch_id, checkpoint=kept)
        session.wait_for_batches([batch_id], checkpoint=named)
        assert_type(await kept.load(batch_id), Batch | None)
        assert_type(await kept.flush(), None)
        assert_type(await kept.forget(batch_id), None)
    assert_type(await kept.close(), None)
    session.wait_for_batch(batch_id, checkpoint=Remembered())
    session.wait_for_batch(batch_id, checkpoint="taken.db")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Tracer:
    """An observer that wraps requests."""

    def __call__(self, event: Event, /) -> None:
        """Every kind of event is one of these."""
        match event:
            case RequestSent() | RequestEnded() | Retrying():
                assert_type(event.batch_id, UUID | None)
                assert_type(event.wait_id, int | None)
                assert_type(event.attempt, int)
            case PaceChanged():
                assert_type(event.rate, float | None)
            case OutageBegan() | OutageEnded() | WaitStalled():
                assert_type(event.seconds, float)
            case WaitStarted() | FleetEnded():
                assert_type(event.fleet_id, int | None)
            case Polled():
                assert_type(event.changes, int)
            case TransitionDelivered():
                assert_type(event.transition, ItemTransition)
            case WaitEnded():
                assert_type(event.error, Exception | None)
                assert_type(event.stats, WaitStats)
            case OutputSaved():
                assert_type(event.saved, SavedFile)
            case ResultDelivered():
                assert_type(event.item, BatchItemHandle)
            case _:
                assert_never(event)

    @contextmanager
    def sending(self, request: RequestSent, /) -> Generator[dict[str, str]]:
        """Return the headers to add."""
        yield {"traceparent": request.path}


def observers(events: list[Event], other: Observer, tracers: TracerProvider, meters: MeterProvider) -> None:
    """Any callable that takes an event."""
    wrapper: RequestWrapper = Tracer()
    traced: RequestWrapper = OpenTelemetry(tracers, meters)
    RunflowSession(observers=[print, events.append, wrapper, traced, other, OpenTelemetry()])
    RunflowSession(observers=print)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    RunflowSession(observers=[asyncio.sleep])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


def key_of_the_worker() -> str:
    """Imported and called where it is needed."""
    return "key"


async def clusters(client: Client, batch_ids: list[UUID], seen: list[Batch]) -> None:
    """The same on Dask."""
    config = SessionConfig(api_key=key_of_the_worker, max_connections=10)
    waits = wait_for_batches(client, batch_ids, shards=4, max_rate=200, session=config, timeout=None, since=seen)
    assert_type(waits, DistributedWait)
    assert_type(await waits, list[Batch])
    async for transition in waits:
        assert_type(transition, ItemTransition)
    async for transitions in waits.batched():
        assert_type(transitions, list[ItemTransition])
    async for wait in waits.as_completed():
        assert_type(wait, RemoteWait)
        assert_type(wait.result(), Batch)
        assert_type(wait.exception(), Exception | None)
        assert_type(wait.delivered, Batch)
    assert_type(waits.waits, Mapping[UUID, RemoteWait])
    assert_type(await waits.aclose(), None)
    SessionConfig(api_key="key")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    wait_for_batches(batch_ids)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]


async def emulators(details: BatchDetails) -> None:
    """A server to test against."""
    async with Emulator(seed=1, latency=0.1, rate_limit=5, callback_secret="secret", listing="url") as emulator:
        assert_type(emulator, Emulator)
        assert_type(emulator.url, str)
        assert_type(emulator.api_key, str)
        batch_id = emulator.create_batch(items=3, duration=1, fail=0.5, client_refs=["a", "b", None])
        assert_type(batch_id, UUID)
        scripted = emulator.create_scripted_batch([[(0.0, "queued"), (1.0, "succeeded")]], **details)
        assert_type(scripted, UUID)
        assert_type(emulator.snapshot(batch_id), dict[str, Any])
        emulator.create_batch(1, inputs=[{"prompt": "a cat"}], outputs=[None])
        emulator.script_next([[(0.0, "queued")]], status_timeline=[(1.0, "running")])
        plan: BatchPlan = {"duration": 1, "fail": 0.5}
        assert_type(emulator.plan_created(**plan), None)
        assert_type(emulator.created, list[UUID])
        emulator.outputs.lifetime, emulator.outputs.size = 5, 1000
        assert_type(emulator.outputs.content_of(emulator.outputs.sign("/outputs/a/b/c")), bytes)
        assert_type(faults.status(503, times=2, headers={"Retry-After": "1"}), Fault)
        emulator.faults += [
            faults.body(b"{}"),
            faults.hang(times=2, route="output"),
            faults.html(route="create"),
            faults.other_batch(),
            faults.reset(batch_id=batch_id),
            faults.slow_body(0.1),
            faults.truncated_body(),
            faults.wrong_length(-5),
            faults.endless_body(),
            faults.no_ranges(times=2),
        ]
        received: Sequence[ReceivedRequest] = list(emulator.requests)
        assert_type(received[0].status, int | None)
        sent: Sequence[SentCallback] = emulator.callbacks
        assert_type(sent[0].body, bytes)
    with in_thread(Emulator(seed=1)) as threaded:
        assert_type(threaded, Emulator)
    emulator.create_batch(client_ref="a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    faults.reset(route="none")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    faults.status("503")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def without_asyncio(batch_id: UUID) -> None:
    with blocking.RunflowSession() as session, session.wait_for_batch(batch_id) as wait:
        assert_type(wait.result(), Batch)
        assert_type(next(wait), ItemTransition)
        assert_type([*wait.batched()], list[list[ItemTransition]])
        assert_type(session.get_batch(batch_id), Batch)
        assert_type(session.wait_for_batches([batch_id]).result(), list[Batch])
        assert_type([*session.wait_for_batches([batch_id]).as_completed()], list[blocking.BatchWait])
        assert_type(next(session.iter_results(batch_id)), BatchItem)
        with blocking.SQLiteCheckpoints("seen") as checkpoints:
            assert_type(session.wait_for_batch(batch_id, checkpoint=checkpoints), blocking.BatchWait)
            assert_type(session.create_batch("owner/slug", [{}], checkpoint=checkpoints), blocking.BatchWait)
            session.wait_for_batch(batch_id, checkpoint=Remembered(), stalled_after=60, end_when_stalled=True)
            assert_type(checkpoints.load(batch_id), Batch | None)
            assert_type(checkpoints.flush(), None)
            assert_type(checkpoints.forget(batch_id), None)
            assert_type(checkpoints.asynchronous, SQLiteCheckpoints)
        assert_type(wait.estimate(), Estimate | None)
    blocking.RunflowSession(observers=[print])
