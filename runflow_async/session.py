"""`RunflowSession`: reads the configuration, owns the connections and creates the waits."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn, Self

from runflow_async._arguments.batches import (
    check_checkpoint,
    parse_batch_id,
    parse_batch_ids,
    parse_since,
    parse_since_of_many,
)
from runflow_async._arguments.connection import (
    DEFAULT_BASE_URL,
    check_observers,
    parse_api_key,
    parse_base_url,
    parse_organization_id,
)
from runflow_async._arguments.values import check_count, check_rate, check_seconds, check_type
from runflow_async._http.protocol import request_headers
from runflow_async._http.throttle import Throttle
from runflow_async._http.transport import Transport
from runflow_async._jobs.deliveries import ServesCallbacks
from runflow_async._jobs.resubmitting import ResubmitsItems
from runflow_async._jobs.results import YieldsResults
from runflow_async._jobs.saving import SavesOutputs
from runflow_async._lifetime import Lifetime
from runflow_async._observing import Observing
from runflow_async._reads import Reads
from runflow_async._waits.options import WaitOptions
from runflow_async._waits.retries import Retries, RetryPolicy
from runflow_async._waits.waits import Waits
from runflow_async._writes import Writes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta
    from types import TracebackType
    from uuid import UUID

    import aiohttp
    from tenacity import RetryCallState
    from tenacity.wait import wait_base

    from runflow_async._waits.fleet import BatchesWait
    from runflow_async._waits.one import BatchWait
    from runflow_async.checkpoints import Checkpoint
    from runflow_async.models import Batch
    from runflow_async.observers import Observer

__all__ = ["RunflowSession"]


class RunflowSession(ResubmitsItems, YieldsResults, SavesOutputs, ServesCallbacks):
    """A connection pool, a key and a request rate, shared by all batches that are followed through it.

    Use it as `async with RunflowSession() as session`, or call `close()`. It belongs to one event loop.

    Args:
        api_key: falls back to `RUNFLOW_API_KEY`.
        base_url: falls back to `RUNFLOW_BASE_URL`, then to the production API. Plain http only for loopback hosts.
        organization_id: sent as `X-Organization-Id`; falls back to `RUNFLOW_ORGANIZATION_ID`.
        http: your own `aiohttp.ClientSession` (proxies, TLS, `trace_configs`); you close it yourself. Its `auth=` must
            be None, because every request carries the key in its `Authorization` header. Exceptions from its
            middlewares and trace callbacks propagate as those of `until` do; see `wait_for_batch`. Without your own
            session, proxies, netrc and cookies from the environment are not used.
        request_timeout: seconds for one request, including the body; waiting for a free connection does not count.
        max_connections: requests in flight at the same time.
        max_rate: requests per second of all waits together; None means no limit.
        max_response_bytes: largest body accepted, counted after decompression.
        max_retry_after: seconds; a longer `Retry-After` is capped at this.
        retry: attempts and backoff of failed requests.
        observers: plain callables that get every event, such as `print`; see `runflow_async.observers`.

    Raises:
        ConfigurationError: if there is no key, or an argument is invalid.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        organization_id: UUID | str | None = None,
        http: aiohttp.ClientSession | None = None,
        request_timeout: float | timedelta = 30.0,
        max_connections: int = 100,
        max_rate: float | None = None,
        max_response_bytes: int = 33_554_432,
        max_retry_after: float | timedelta = 120.0,
        retry: RetryPolicy = RetryPolicy(),
        observers: Iterable[Observer] = (),
    ) -> None:
        key = parse_api_key(os.environ.get("RUNFLOW_API_KEY") if api_key is None else api_key)
        organization = organization_id or os.environ.get("RUNFLOW_ORGANIZATION_ID") or None
        self._base_url = parse_base_url(base_url or os.environ.get("RUNFLOW_BASE_URL") or DEFAULT_BASE_URL)
        longest_hold = check_seconds("max_retry_after", max_retry_after)
        self._observing = Observing(check_observers(observers))
        self._retries = Retries(check_type("retry", retry, RetryPolicy), longest_hold, self._observing)
        max_connections = check_count("max_connections", max_connections)
        self._lifetime = Lifetime()
        self._throttle = Throttle(check_rate(max_rate), longest_hold, self._observing)
        self._transport = Transport(
            self._lifetime,
            self._throttle,
            self._observing,
            base_url=self._base_url,
            headers=request_headers(key, parse_organization_id(organization)),
            http=http,
            request_timeout=check_seconds("request_timeout", request_timeout),
            max_connections=max_connections,
            max_response_bytes=check_count("max_response_bytes", max_response_bytes),
        )
        self._reads = Reads(self._lifetime, self._transport, self._retries)
        self._writes = Writes(self._lifetime, self._transport, self._retries)
        self._waits = Waits(self._lifetime, self._transport, self._retries, self._observing, 2 * max_connections)

    def __repr__(self) -> str:
        return f"<RunflowSession {self._base_url}{' closed' if self._lifetime.is_closed() else ''}>"

    def __enter__(self) -> NoReturn:
        raise TypeError("use `async with`; for a plain `with` there is runflow_async.blocking.RunflowSession")

    def __exit__(self, *_: object) -> None:
        """Never called; without it, `with` would not say what to do."""

    async def __aenter__(self) -> Self:
        self._lifetime.check_open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close for good: calls and waits in progress end with `SessionClosedError` before this returns."""
        await self._lifetime.close(self._transport.close)
        self._waits.end()

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
        stalled_after: float | timedelta | None = None,
        end_when_stalled: bool = False,
        checkpoint: Checkpoint | None = None,
    ) -> BatchWait:
        """Wait until a batch has ended: await it for the final `Batch`, or iterate it for every item's transitions.

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
            stalled_after: seconds without any change after which a warning is logged, once until something changes. A
                poll is made at that moment. None means never.
            end_when_stalled: end the wait with `StalledError` instead.
            checkpoint: records what was delivered and resumes from there, even in another process. Cannot be combined
                with `since`. A transition is recorded when the loop comes back for the next one, the rest when an
                `await` returns. `load` must finish within `timeout`, or `request_timeout` if `timeout` is 0.

        Raises:
            ConfigurationError: at once, if an argument is invalid.
            SessionClosedError: at once, or while waiting, if the session is closed.
            WaitTimeoutError: while waiting: `timeout` expired; the batch keeps running on the server.
            OutageError: while waiting: `max_outage` expired; its cause is the last error.
            StalledError: while waiting: nothing had changed for `stalled_after` seconds, and `end_when_stalled` is set.
            RunflowError: while waiting: a failure that a retry cannot fix, such as a `StatusError`, `CertificateError`
                or `MalformedResponseError`.

        Errors of the wait carry `batch_id`, the last `batch` and `stats`. Exceptions raised by `until`, a strategy or
        the checkpoint propagate too. Of these, a `StopIteration`, a `StopAsyncIteration` or a `CancelledError` that
        nobody requested would look like the end of a loop or a task, so it becomes the cause of a `RuntimeError`.
        """
        asked = parse_batch_id(batch_id)
        earlier = parse_since(since, asked)
        checkpoint = check_checkpoint(checkpoint, has_since=earlier is not None)
        options = WaitOptions.check(
            timeout=timeout,
            interval=interval,
            max_outage=max_outage,
            until=until,
            expect_callback=expect_callback,
            stalled_after=stalled_after,
            end_when_stalled=end_when_stalled,
        )
        self._lifetime.check_open()
        return self._waits.one(asked, options, earlier, checkpoint)

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
        stalled_after: float | timedelta | None = None,
        end_when_stalled: bool = False,
        checkpoint: Checkpoint | None = None,
    ) -> BatchesWait:
        """Wait for many batches: iterate their transitions, await their final states, or iterate `as_completed()`.

        The first polls are spread, all polls share the session's request rate, and a failure ends only its own batch.

        Args:
            batch_ids: several UUIDs or their texts, such as a list; duplicates share one wait.
            timeout: as for `wait_for_batch`, for each batch from its own first poll.
            interval: as for `wait_for_batch`; a strategy is shared by all waits.
            max_outage: as for `wait_for_batch`.
            until: as for `wait_for_batch`.
            since: snapshots seen earlier, such as `delivered` of each wait of an interrupted stream, in any order.
            expect_callback: as for `wait_for_batch`.
            stalled_after: as for `wait_for_batch`.
            end_when_stalled: as for `wait_for_batch`.
            checkpoint: as for `wait_for_batch`; `as_completed()` records a batch when the loop comes back for the next
                one, and skips batches that an earlier run has delivered to the end.

        Raises:
            ConfigurationError: at once, if an argument is invalid.
            SessionClosedError: at once, or while waiting, if the session is closed.
            ExceptionGroup: while waiting, once all waits have ended: the errors of those that failed.
        """
        options = WaitOptions.check(
            timeout=timeout,
            interval=interval,
            max_outage=max_outage,
            until=until,
            expect_callback=expect_callback,
            stalled_after=stalled_after,
            end_when_stalled=end_when_stalled,
        )
        self._lifetime.check_open()
        asked = parse_batch_ids(batch_ids)
        earlier = parse_since_of_many(since)
        checkpoint = check_checkpoint(checkpoint, has_since=bool(earlier))
        return self._waits.many(asked, options, earlier, checkpoint)
