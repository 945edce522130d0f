"""The session and its waits for programs without asyncio: the same names without `await`.

Each session runs the asynchronous one on an event loop in a thread of its own, so it also works where a loop is running
already, as in a notebook. Callbacks such as `until` run in that thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar
from weakref import finalize

import runflow_async
from runflow_async import RetryPolicy, checkpoints
from runflow_async._portal import Portal
from runflow_async.models import Batch, BatchItem, ItemTransition

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
    from datetime import timedelta
    from types import TracebackType
    from typing import Unpack
    from uuid import UUID

    import aiohttp
    from tenacity import RetryCallState
    from tenacity.wait import wait_base

    from runflow_async import OngoingOutage, SavedOutputs, WaitKeywords
    from runflow_async.checkpoints import Checkpoint
    from runflow_async.models import CallbackDelivery, WaitStats

__all__ = ["BatchResults", "BatchWait", "BatchesWait", "RunflowSession", "SQLiteCheckpoints"]

T = TypeVar("T")
Face = TypeVar("Face", "runflow_async.BatchWait", "runflow_async.BatchesWait", "runflow_async.BatchResults")


class _Steps(Iterator[T]):
    """An asynchronous iterator, step by step. What arrived when Ctrl-C did is kept for the next step."""

    def __init__(self, portal: Portal, source: AsyncIterator[T]) -> None:
        self._portal = portal
        self._held = [source]
        self._kept: list[T] = []
        finalize(self, portal.drop, self._held).atexit = False

    def __next__(self) -> T:
        if not self._kept and not self._portal.run(self._step):
            raise StopIteration
        return self._kept.pop()

    async def _step(self) -> bool:
        try:
            self._kept.append(await anext(self._held[0]))
        except StopAsyncIteration:
            return False
        return True


class _Closing(Iterator[T], Generic[Face, T]):
    """What a wait and results have in common."""

    def __init__(self, portal: Portal, inner: Face, steps: _Steps[T]) -> None:
        self._portal = portal
        self._held: list[Face] = [inner]
        self._steps = steps
        finalize(self, portal.drop, self._held).atexit = False

    @property
    def _inner(self) -> Face:
        return self._held[0]

    def __repr__(self) -> str:
        return self._portal.look(self._inner.__repr__)

    def __next__(self) -> T:
        return next(self._steps)

    def close(self) -> None:
        """End it for good. A thread that waits in it leaves first; afterwards iteration is over."""
        try:
            self._portal.run(self._inner.aclose)
        except runflow_async.SessionClosedError:
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class BatchWait(_Closing["runflow_async.BatchWait", ItemTransition]):
    """One batch: `result()` waits for the final `Batch`, and iterating yields every item's transitions.

    Made by `RunflowSession.wait_for_batch`. Nothing runs between two calls: after leaving a `for`, or after Ctrl-C, you
    can continue to iterate, or call `result()`. Using it from two threads at the same time raises `RuntimeError`.

    Attributes:
        batch_id: the batch that is waited for.
    """

    def __init__(self, portal: Portal, inner: runflow_async.BatchWait) -> None:
        super().__init__(portal, inner, _Steps(portal, inner))
        self.batch_id = inner.batch_id

    @property
    def batch(self) -> Batch | None:
        """The latest snapshot; None before the first response."""
        return self._portal.look(lambda: self._inner.batch)

    @property
    def delivered(self) -> Batch:
        """What has been delivered so far, item by item; pass it as `since=` to resume from here."""
        return self._portal.look(lambda: self._inner.delivered)

    @property
    def has_pending(self) -> bool:
        """Whether there are transitions that can be iterated without another poll."""
        return self._portal.look(lambda: self._inner.has_pending)

    @property
    def stats(self) -> WaitStats:
        """What the wait has cost so far."""
        return self._portal.look(lambda: self._inner.stats)

    @property
    def deadline(self) -> float:
        """The instant, on the clock of `time.monotonic()`, at which `timeout` ends the wait; infinite before."""
        return self._portal.look(lambda: self._inner.deadline)

    @property
    def next_poll_at(self) -> float:
        """The instant of the next poll, on the clock of `time.monotonic()`; infinite if there is none."""
        return self._portal.look(lambda: self._inner.next_poll_at)

    @property
    def outage(self) -> OngoingOutage | None:
        """Since when, and why, no valid response has come; None while they come."""
        return self._portal.look(lambda: self._inner.outage)

    def done(self) -> bool:
        """Whether the wait has ended, successfully or not. Transitions may still be pending."""
        return self._portal.look(self._inner.done)

    def result(self) -> Batch:
        """Wait until it has ended, and return the last batch or raise the error of the wait."""
        if self._portal.is_over and self.done():
            return self._inner.result()
        return self._portal.run(self._await)

    def exception(self) -> Exception | None:
        """Return the error with which the wait ended, or None if it succeeded.

        Raises:
            asyncio.InvalidStateError: before the wait has ended.
        """
        return self._portal.look(self._inner.exception)

    def nudge(self) -> bool:
        """Poll as soon as the server allows. Return whether there was still something to poll for."""
        return self._portal.call(self._inner.nudge)

    def batched(self) -> Iterator[list[ItemTransition]]:
        """Iterate the transitions in lists, one for each response that brought any: one change of threads for each.

        A list counts as delivered when you get it, and is recorded when you come back for the next one.
        """
        return _Steps(self._portal, self._inner.batched())

    async def _await(self) -> Batch:
        return await self._inner


class BatchesWait(_Closing["runflow_async.BatchesWait", ItemTransition]):
    """Many batches: `result()` waits for all, iterating yields their transitions, `as_completed()` their waits.

    Made by `RunflowSession.wait_for_batches`. If some waits failed, `result()` and iterating raise an `ExceptionGroup`
    at the end. Using it from two threads at the same time raises `RuntimeError`.
    """

    def __init__(self, portal: Portal, inner: runflow_async.BatchesWait) -> None:
        super().__init__(portal, inner, _Steps(portal, inner))
        self._faces: dict[UUID, BatchWait] = {}

    @property
    def ended(self) -> list[BatchWait]:
        """The waits that have ended, in the order in which they did."""
        return [self._face(wait) for wait in self._portal.look(lambda: list(self._inner.ended))]

    @property
    def waits(self) -> Mapping[UUID, BatchWait]:
        """The wait of every batch, by its id: to look at, not to use meanwhile."""
        waits = self._portal.look(lambda: dict(self._inner.waits))
        return {batch_id: self._face(wait) for batch_id, wait in waits.items()}

    def add(self, batch_id: UUID | str) -> BatchWait:
        """Wait for one more batch, even while this is running. A batch that was added before keeps its wait.

        Raises:
            ConfigurationError: if `batch_id` is not a UUID.
            WaitClosedError: if this was closed.
        """
        return self._face(self._portal.call(self._inner.add, batch_id))

    def result(self) -> list[Batch]:
        """Wait until all have ended, and return the last batches in input order.

        Raises:
            ExceptionGroup: the errors of those that failed.
        """
        return self._portal.run(self._await)

    def as_completed(self) -> Iterator[BatchWait]:
        """Iterate the waits as they end, successfully or not; `wait.result()` raises the error of a failed one.

        With a checkpoint, one that succeeded is recorded when the loop comes back for the next one, and skipped later.
        """
        return map(self._face, _Steps(self._portal, self._inner.as_completed()))

    def batched(self) -> Iterator[list[ItemTransition]]:
        """Iterate the transitions in lists, one for each response that brought any: one change of threads for each.

        A list counts as delivered when you get it, and is recorded when you come back for the next one.
        """
        return _Steps(self._portal, self._inner.batched())

    def _face(self, inner: runflow_async.BatchWait) -> BatchWait:
        return self._faces.setdefault(inner.batch_id, BatchWait(self._portal, inner))

    async def _await(self) -> list[Batch]:
        return await self._inner


class BatchResults(_Closing["runflow_async.BatchResults", BatchItem]):
    """The results of one or many batches: iterating yields every item once, after it has ended.

    Made by `RunflowSession.iter_results`. After leaving a `for` you can continue to iterate.
    """

    def __init__(self, portal: Portal, inner: runflow_async.BatchResults) -> None:
        super().__init__(portal, inner, _Steps(portal, inner))

    @property
    def waits(self) -> Mapping[UUID, BatchWait]:
        """The wait of every batch, by its id: to look at, not to use."""
        waits = self._portal.look(lambda: dict(self._inner.waits))
        return {batch_id: BatchWait(self._portal, wait) for batch_id, wait in waits.items()}

    @property
    def delivered(self) -> list[Batch]:
        """What has been delivered so far, for each batch; pass it as `since=` to get the results that are left."""
        return self._portal.look(lambda: self._inner.delivered)


class SQLiteCheckpoints(checkpoints.SQLiteCheckpoints):
    """Checkpoints in a file, opened by `with SQLiteCheckpoints(path) as checkpoints`, for `checkpoint=`."""

    def __enter__(self) -> Self:
        _run_once(self.__aenter__)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        _run_once(self.close)


def _run_once(function: Callable[[], Awaitable[object]]) -> None:
    portal = Portal()
    try:
        portal.run(function)
    finally:
        portal.close()


class RunflowSession:
    """A connection pool, a key and a request rate, shared by all batches and all threads that use it.

    Use it as `with RunflowSession() as session`, or call `close()`. Its event loop runs in a thread that starts with
    the first request; `until`, strategies and checkpoints are called in that thread, with the caller's context
    variables, and must not call the session. A session that was used before a fork cannot be used in the child.

    Args:
        api_key: falls back to `RUNFLOW_API_KEY`.
        base_url: falls back to `RUNFLOW_BASE_URL`, then to the production API.
        organization_id: sent as `X-Organization-Id`; falls back to `RUNFLOW_ORGANIZATION_ID`.
        http: returns your own `aiohttp.ClientSession`; called once on the event loop. The session closes it.
        request_timeout: seconds for one request, including the body.
        max_connections: requests in flight at the same time.
        max_rate: requests per second of all waits together; None means no limit.
        max_response_bytes: largest body accepted, counted after decompression.
        max_retry_after: seconds; a longer `Retry-After` is capped at this.
        retry: attempts and backoff of failed requests.

    Raises:
        ConfigurationError: if there is no key, or an argument is invalid.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        organization_id: UUID | str | None = None,
        http: Callable[[], aiohttp.ClientSession] | None = None,
        request_timeout: float | timedelta = 30.0,
        max_connections: int = 100,
        max_rate: float | None = None,
        max_response_bytes: int = 33_554_432,
        max_retry_after: float | timedelta = 120.0,
        retry: RetryPolicy = RetryPolicy(),
    ) -> None:
        self._portal = Portal()
        self._http: aiohttp.ClientSession | None = None
        try:
            self._http = None if http is None else self._portal.call(http)
            self._session = runflow_async.RunflowSession(
                api_key,
                base_url=base_url,
                organization_id=organization_id,
                http=self._http,
                request_timeout=request_timeout,
                max_connections=max_connections,
                max_rate=max_rate,
                max_response_bytes=max_response_bytes,
                max_retry_after=max_retry_after,
                retry=retry,
            )
        except BaseException:
            self._portal.close(self._close_http)
            raise

    def __repr__(self) -> str:
        return repr(self._session)

    def __enter__(self) -> Self:
        if self._portal.is_over:
            raise runflow_async.SessionClosedError
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close for good: calls and waits in all threads end with `SessionClosedError`, and its thread has ended."""
        self._portal.close(self._close)

    async def _close(self) -> None:
        await self._session.close()
        await self._close_http()

    async def _close_http(self) -> None:
        if self._http is not None:
            await self._http.close()

    def wait_for_batch(
        self,
        batch_id: UUID | str,
        *,
        timeout: float | timedelta | None = 3600.0,
        interval: float | timedelta | wait_base | Callable[[RetryCallState], float] | None = None,
        max_outage: float | timedelta = 300.0,
        until: Callable[[Batch], bool] | None = None,
        since: Batch | None = None,
        expect_callback: bool = False,
        checkpoint: Checkpoint | None = None,
    ) -> BatchWait:
        """Wait until a batch has ended: `result()` returns the final `Batch`; iterate it for every item's transitions.

        Args:
            batch_id: a UUID, or its text.
            timeout: seconds for the whole wait, from its first step, enforced even in the middle of a request. None
                means no limit, 0 exactly one poll. If the next poll would come too late, it is made earlier once, so
                that its response arrives in time. Every duration is a real number of seconds or a `timedelta`.
            interval: seconds between polls, or any tenacity wait strategy; the default is `wait_adaptive()`. If several
                waits watch the batch, the shortest interval counts, and polls of the others are no attempts.
            max_outage: give up after this many seconds without a valid response.
            until: a plain function. The wait ends early once it returns True for a snapshot.
            since: a `Batch` seen earlier, such as `delivered` of an interrupted wait. Only later changes are yielded.
            expect_callback: set this if something calls `nudge` when the batch ends, such as `callback_application`.
                Until then the batch is polled only about every three minutes. Cannot be combined with `interval`.
            checkpoint: records what was delivered and resumes from there, even in another process. Cannot be combined
                with `since`. A transition is recorded when the loop comes back for the next one, the rest when
                `result()` returns. `load` must finish within `timeout`, or `request_timeout` if `timeout` is 0.

        Raises:
            ConfigurationError: at once, if an argument is invalid.
            SessionClosedError: at once, or while waiting, if the session is closed.
            WaitTimeoutError: while waiting: `timeout` expired; the batch keeps running on the server.
            OutageError: while waiting: `max_outage` expired; its cause is the last error.
            RunflowError: while waiting: a failure that a retry cannot fix, such as a `StatusError`, `CertificateError`
                or `MalformedResponseError`.

        Errors of the wait carry `batch_id`, the last `batch` and `stats`. Exceptions raised by `until`, a strategy or
        the checkpoint propagate too. Of these, a `StopIteration`, a `StopAsyncIteration` or a `CancelledError` that
        nobody requested would look like the end of a loop or a task, so it becomes the cause of a `RuntimeError`.
        """
        return BatchWait(
            self._portal,
            self._portal.call(
                lambda: self._session.wait_for_batch(
                    batch_id,
                    timeout=timeout,
                    interval=interval,
                    max_outage=max_outage,
                    until=until,
                    since=since,
                    expect_callback=expect_callback,
                    checkpoint=checkpoint,
                )
            ),
        )

    def wait_for_batches(
        self,
        batch_ids: Iterable[UUID | str],
        *,
        timeout: float | timedelta | None = 3600.0,
        interval: float | timedelta | wait_base | Callable[[RetryCallState], float] | None = None,
        max_outage: float | timedelta = 300.0,
        until: Callable[[Batch], bool] | None = None,
        since: Iterable[Batch] = (),
        expect_callback: bool = False,
        checkpoint: Checkpoint | None = None,
    ) -> BatchesWait:
        """Wait for many batches: iterate their transitions, or `as_completed()`, or call `result()`.

        The first polls are spread, all polls share the session's request rate, and a failure ends only its own batch.

        Args:
            batch_ids: several UUIDs or their texts, such as a list; duplicates share one wait.
            timeout: as for `wait_for_batch`, for each batch from its own first poll.
            interval: as for `wait_for_batch`; a strategy is shared by all waits.
            max_outage: as for `wait_for_batch`.
            until: as for `wait_for_batch`.
            since: snapshots seen earlier, such as `delivered` of each wait of an interrupted stream, in any order.
            expect_callback: as for `wait_for_batch`.
            checkpoint: as for `wait_for_batch`; `as_completed()` records a batch when the loop comes back for the next
                one, and skips batches that an earlier run has delivered to the end.

        Raises:
            ConfigurationError: at once, if an argument is invalid.
            SessionClosedError: at once, or while waiting, if the session is closed.
            ExceptionGroup: while waiting, once all waits have ended: the errors of those that failed.
        """
        return BatchesWait(
            self._portal,
            self._portal.call(
                lambda: self._session.wait_for_batches(
                    batch_ids,
                    timeout=timeout,
                    interval=interval,
                    max_outage=max_outage,
                    until=until,
                    since=since,
                    expect_callback=expect_callback,
                    checkpoint=checkpoint,
                )
            ),
        )

    def nudge(self, batch_id: UUID | str) -> bool:
        """Poll a batch now, because something indicates that it has changed. Return whether a wait still waits for it.

        Raises:
            SessionClosedError: if the session is closed.
        """
        return self._portal.call(lambda: self._session.nudge(batch_id))

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
        """Create a batch, and return the wait for it.

        Transient failures are retried like those of `get_batch`. Every attempt has the same `Idempotency-Key`, so that
        there is one batch even if the response to an attempt was lost. A batch cannot be cancelled: the API offers
        that to administrators only.

        The response is the first snapshot: `batch_id` and, without a checkpoint, `batch` are known at once, its
        transitions are pending, and the next poll follows when the schedule says so. `timeout` counts from it. The wait
        may be dropped; the batch runs all the same.

        Args:
            model: `owner/slug`; it must have a template.
            inputs: 1 to 100 mappings that JSON can express. A `client_ref` in one names its item.
            client_refs: a name of at most 255 characters, or None, for each input.
            metadata: kept with the batch and sent with its callback.
            callback_url: called when the batch has ended; http(s), at most 2048 characters.
            idempotency_key: by default a new one for each call. With the same key and the same arguments, a later call
                returns the same batch, even in another process. How long the server remembers a key is not documented.
            **waiting: the keywords of `wait_for_batch`, except `since`.

        Raises:
            ConfigurationError: if an argument is invalid, before any request.
            PaymentRequiredError: the organisation's credit does not cover the batch.
            ConflictError: the key was used for other arguments.
            UnprocessableError: the server rejects an input, or the model takes no batches; `errors` says why.
            RunflowError: the last error, if it is final or the attempts are used up; `idempotency_key` is the key that
                was used.
        """
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
                    **waiting,
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
        """Create one batch for each 100 inputs, and return the wait for all of them.

        A few are created at a time, at the session's request rate. After a failure no further one begins.

        Args:
            model: as for `create_batch`.
            inputs: any number of mappings; all are checked before the first request.
            client_refs: as for `create_batch`.
            metadata: of each batch.
            callback_url: of each batch.
            idempotency_key: by default a new one for each call; each batch adds its number to it. With the same key and
                the same arguments, a later call creates only what is missing, and waits for all.
            **waiting: the keywords of `wait_for_batch`, except `since`.

        Raises:
            ConfigurationError: if an argument is invalid, before any request.
            PartlyCreatedError: if a batch could not be created; it says which ones were, and has the `idempotency_key`
                to go on with. Its cause is the first failure.
        """
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
                    **waiting,
                )
            ),
        )

    def get_batch(self, batch_id: UUID | str) -> Batch:
        """Fetch a batch. Transient failures are retried; at most `retry.attempts` requests are made.

        Raises:
            ConfigurationError: if `batch_id` is not a UUID.
            RunflowError: the last error, if it is final or the attempts are used up.
        """
        return self._portal.run(lambda: self._session.get_batch(batch_id))

    def iter_batch_items(self, batch_id: UUID | str, *, page_size: int = 500) -> Iterator[BatchItem]:
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
        return _Steps(
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
        return BatchWait(
            self._portal,
            self._portal.run(
                lambda: self._session.resubmit(
                    model,
                    batch,
                    metadata=metadata,
                    callback_url=callback_url,
                    idempotency_key=idempotency_key,
                    **waiting,
                )
            ),
        )

    def get_batch_item(self, batch_id: UUID | str, item_id: UUID | str) -> BatchItem:
        """Fetch one item of a batch, with its input and results. Retried like `get_batch`.

        Raises:
            ConfigurationError: if an id is not a UUID.
            RunflowError: the last error, if it is final or the attempts are used up.
        """
        return self._portal.run(lambda: self._session.get_batch_item(batch_id, item_id))

    def iter_results(
        self,
        batch_ids: UUID | str | Iterable[UUID | str],
        *,
        timeout: float | timedelta | None = 3600.0,
        interval: float | timedelta | wait_base | Callable[[RetryCallState], float] | None = None,
        max_outage: float | timedelta = 300.0,
        until: Callable[[Batch], bool] | None = None,
        since: Batch | Iterable[Batch] = (),
        expect_callback: bool = False,
        checkpoint: Checkpoint | None = None,
    ) -> BatchResults:
        """Iterate the items of one or many batches, each whole and once, as they end, successfully or not.

        The polls ask for the items instead of the batch while items run, so a result comes with the poll that sees it,
        and the requests are hardly more than those of a wait. Requests for results that fail are retried as polls are.

        Args:
            batch_ids: a UUID or its text, or several of them; duplicates count once.
            timeout: as for `wait_for_batch`, for each batch.
            interval: as for `wait_for_batch`.
            max_outage: as for `wait_for_batch`.
            until: as for `wait_for_batch`; to the snapshot, an item ends once its result is here.
            since: a `Batch`, or several; usually `delivered` of an interrupted iteration. Items that ended in it are
                skipped.
            expect_callback: as for `wait_for_batch`.
            checkpoint: as for `wait_for_batch`; an item is recorded when the loop comes back for the next one, so that
                no result is lost if the process is killed. Do not share the file with a wait for the same batches.

        Raises:
            ConfigurationError: at once, if an argument is invalid.
            SessionClosedError: at once, or while iterating, if the session is closed.
            RunflowError: while iterating: as for `wait_for_batch`, after all results that came before.
            MalformedResponseError: while iterating: the same, or a batch has ended and the result of an item did not
                come with four further polls.
            ExceptionGroup: while iterating several batches, once all have ended: the errors of those that failed.
        """
        return BatchResults(
            self._portal,
            self._portal.call(
                lambda: self._session.iter_results(
                    batch_ids,
                    timeout=timeout,
                    interval=interval,
                    max_outage=max_outage,
                    until=until,
                    since=since,
                    expect_callback=expect_callback,
                    checkpoint=checkpoint,
                )
            ),
        )

    def save_outputs(
        self, batch_id: UUID | str, folder: str | os.PathLike[str], *, concurrency: int = 8
    ) -> SavedOutputs:
        """Save the files of all outputs of a batch as `folder/<client_ref or index>/<name>`.

        Call it again to save what has been added, and what has failed: files that are whole stay as they are, and parts
        are resumed. `folder/outputs.jsonl` has one line for each whole file, a `SavedFile`.

        Each file is written to `<name>.part`, and renamed once it is whole and on disk. Transient failures are retried,
        and an item is read again, once, if one of its URLs has expired. If a file cannot be saved, a warning is logged,
        and the others are saved all the same.

        Downloads have connections of their own: without the key, cookies, proxies and `http=`. `request_timeout` is the
        longest time without a byte.

        Args:
            batch_id: a UUID, or its text.
            folder: made if there is none. A file of the same name as one that is saved is replaced.
            concurrency: files at the same time, 1 to 100.

        Returns:
            the files, and the `failures`. Call `raise_for_failures()` if you need them all.

        Raises:
            ConfigurationError: if an argument is invalid.
            SaveError: if the folder cannot be used, or nothing more can be written, as on a full disk.
            RunflowError: if the items cannot be read.
        """
        return self._portal.run(lambda: self._session.save_outputs(batch_id, folder, concurrency=concurrency))

    def callback_deliveries(self, batch_id: UUID | str) -> list[CallbackDelivery]:
        """Fetch the deliveries of a batch's callback, each with its attempts. Retried like `get_batch`.

        A batch without a `callback_url`, or one that has not ended, has none.

        Raises:
            ConfigurationError: if `batch_id` is not a UUID.
            RunflowError: the last error, if it is final or the attempts are used up.
        """
        return self._portal.run(lambda: self._session.callback_deliveries(batch_id))

    def redeliver_callback(self, batch_id: UUID | str) -> CallbackDelivery:
        """Have the server send a batch's callback again, and return the new delivery, which is in flight.

        The batch must have ended and have a `callback_url`. This sends one request and never repeats it, because each
        would make a delivery of its own.

        Raises:
            ConfigurationError: if `batch_id` is not a UUID.
            UnprocessableError: the batch runs, has no `callback_url`, or a delivery is in flight.
            RunflowError: for every other failure; after a lost response, `callback_deliveries` shows what was done.
        """
        return self._portal.run(lambda: self._session.redeliver_callback(batch_id))
