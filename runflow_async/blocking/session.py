"""`RunflowSession` without asyncio: the thread with its loop, and the waits that it makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import runflow_async
from runflow_async import RetryPolicy
from runflow_async._portal import Portal
from runflow_async.blocking.calls import MakesCalls
from runflow_async.blocking.checkpoints import for_wait
from runflow_async.blocking.waits import BatchesWait, BatchResults, BatchWait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta
    from types import TracebackType
    from uuid import UUID

    import aiohttp
    from tenacity import RetryCallState
    from tenacity.wait import wait_base

    from runflow_async.blocking.checkpoints import Checkpoint
    from runflow_async.models import Batch
    from runflow_async.observers import Observer

__all__ = ["RunflowSession"]


class RunflowSession(MakesCalls):
    """A connection pool, a key and a request rate, shared by all batches and all threads that use it.

    Use it as `with RunflowSession() as session`, or call `close()`. Its event loop runs in a thread that starts with
    the first request; `until`, observers, strategies and checkpoints are called in that thread, with the caller's
    context variables, and must not call the session. A session that was used before a fork cannot be used in the child.

    The methods are those of `runflow_async.RunflowSession`, with the same arguments, results and errors. Where a wait
    is awaited there, call its `result()`.

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
        observers: plain callables that get every event, such as `print`; called on the event loop's thread.

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
        observers: Iterable[Observer] = (),
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
                observers=observers,
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
        stalled_after: float | timedelta | None = None,
        end_when_stalled: bool = False,
        checkpoint: Checkpoint | None = None,
    ) -> BatchWait:
        """As `runflow_async.RunflowSession.wait_for_batch`."""
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
                    stalled_after=stalled_after,
                    end_when_stalled=end_when_stalled,
                    checkpoint=for_wait(checkpoint),
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
        stalled_after: float | timedelta | None = None,
        end_when_stalled: bool = False,
        checkpoint: Checkpoint | None = None,
    ) -> BatchesWait:
        """As `runflow_async.RunflowSession.wait_for_batches`."""
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
                    stalled_after=stalled_after,
                    end_when_stalled=end_when_stalled,
                    checkpoint=for_wait(checkpoint),
                )
            ),
        )

    def nudge(self, batch_id: UUID | str) -> bool:
        """As `runflow_async.RunflowSession.nudge`."""
        return self._portal.call(lambda: self._session.nudge(batch_id))

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
        stalled_after: float | timedelta | None = None,
        end_when_stalled: bool = False,
        checkpoint: Checkpoint | None = None,
    ) -> BatchResults:
        """As `runflow_async.RunflowSession.iter_results`."""
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
                    stalled_after=stalled_after,
                    end_when_stalled=end_when_stalled,
                    checkpoint=for_wait(checkpoint),
                )
            ),
        )
