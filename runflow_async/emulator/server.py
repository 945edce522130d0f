"""The emulator: the emulated API behind a real HTTP server, with injected faults.

Decides how a request is recorded, which fault hits it and how everything is shut down. `api` decides the response.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Self
from uuid import UUID

from aiohttp import hdrs, web
from msgspec import Struct

from runflow_async.emulator.answers import send
from runflow_async.emulator.api import Api, batch_id_in
from runflow_async.emulator.callbacks import Deliveries, SentCallback
from runflow_async.emulator.faults import Fault, take_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runflow_async.emulator.api import BatchDetails
    from runflow_async.emulator.listing import Listing
    from runflow_async.emulator.timelines import Timeline

__all__ = ["Emulator", "ReceivedRequest"]

BACKLOG = 1024
RECORDS_KEPT = 100_000
GRACE = 0.05
"""Seconds that a handler gets to finish after its connection was cut."""


class ReceivedRequest(Struct, frozen=True, kw_only=True):
    """A request as the emulator received it.

    Attributes:
        method: HTTP method, such as `GET`.
        path: the path in the request line, with its query.
        headers: the headers as spelled; the value of `Authorization` is always masked.
        received_at: time on the emulator's clock.
        status: status of the response; None if a fault left the request without one.
        batch_id: the requested batch; None if the path has none.
    """

    method: str
    path: str
    headers: dict[str, str]
    received_at: float
    status: int | None
    batch_id: UUID | None


class Emulator(Api):
    """A Runflow API with `GET /v1/batches/{id}`, its `/items` and callbacks, in this process and on this event loop.

    `async with Emulator() as emulator:` serves until the end of the block. Create batches with its methods, not over
    HTTP; they follow their timelines as its clock advances. The same seed and the same calls give the same ids.

    Args:
        seed: seed of the ids, the key and the timelines.
        host: address to listen on; anything but loopback exposes the emulator to the network.
        port: 0 picks a free one.
        api_key: the only key that is accepted; drawn from the seed by default.
        organization_id: owner of the key; if given, requests that name another organisation get 403.
        latency: delay of every response, in seconds.
        rate_limit: requests accepted within any one second, as a sliding window; others get 429. None: no limit.
        clock: returns seconds and never goes back; by default the running loop's time.
        callback_secret: signs what is posted to a batch's `callback_url`; None leaves it unsigned.
        listing: how a page of items refers to its neighbours. `next_pq`: with `next_pq` and `prev_pq`, as in the API's
            guide. `cursor`, `query` or `url`: with `first`, `next` and `previous`, as in its reference, each holding
            a cursor, a query or a URL.

    Attributes:
        faults: what goes wrong with the next requests, made by `runflow_async.emulator.faults`. The first fault that
            matches a request hits it, even a request without a key, and leaves the list once it is used up.
        requests: the requests received, oldest first; the last 100,000 are kept.
        callbacks: every attempt to deliver a callback, oldest first. Deliveries that `close()` interrupts start
            afresh at the next `start()`.

    You may change `latency`, `rate_limit`, `listing`, `faults` and `requests` at any time.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str | None = None,
        organization_id: UUID | None = None,
        latency: float = 0.0,
        rate_limit: float | None = None,
        clock: Callable[[], float] | None = None,
        callback_secret: str | None = None,
        listing: Listing = "next_pq",
    ) -> None:
        super().__init__(
            seed=seed,
            api_key=api_key,
            organization_id=organization_id,
            rate_limit=rate_limit,
            clock=clock,
            listing=listing,
        )
        self.latency = latency
        self.faults: list[Fault] = []
        self.requests: deque[ReceivedRequest] = deque(maxlen=RECORDS_KEPT)
        self._host = host
        self._port = port
        self._runner: web.ServerRunner | None = None
        self._deliveries = Deliveries(callback_secret, self.now, follows_loop=clock is None)
        self.callbacks: list[SentCallback] = self._deliveries.sent

    def __repr__(self) -> str:
        state = f"on port {self._port}" if self._runner else "not running"
        return f"<Emulator {state}, batches: {len(self._batches)}>"

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash.

        Raises:
            RuntimeError: if the emulator was never started, so it has no port.
        """
        if not self._port:
            raise RuntimeError("the emulator has no URL yet: start it first, or use 'async with'")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Start serving. After a `close()`, it uses the same port as before and still has all batches.

        Raises:
            OSError: if the port is taken.
            RuntimeError: if it is already running.
        """
        if self._runner is not None:
            raise RuntimeError("the emulator is running already: close it first")
        server = web.Server(self._handle, access_log=None, handler_cancellation=True)
        self._runner = web.ServerRunner(server, shutdown_timeout=GRACE)
        try:
            await self._runner.setup()
            await web.TCPSite(self._runner, self._host, self._port, backlog=BACKLOG).start()
        except BaseException:
            await self.close()
            raise
        self._port = self._runner.addresses[0][1]
        self._deliveries.start()

    async def close(self) -> None:
        """Stop serving; cut every connection, even during a response, and every delivery of a callback.

        It may be called again.
        """
        runner, self._runner = self._runner, None
        if runner is None:
            return
        await self._deliveries.close()
        for site in list(runner.sites):
            await site.stop()
        connections = runner.server.connections if runner.server else []
        for transport in [connection.transport for connection in connections if connection.transport]:
            transport.abort()  # aiohttp's own close would wait for clients that do not read
        await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _add(self, timelines: Sequence[Timeline], status_timeline: Timeline | None, details: BatchDetails) -> UUID:
        batch_id = super()._add(timelines, status_timeline, details)
        self._deliveries.expect(self._batches[batch_id], details.get("callback_times", 1))
        return batch_id

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        received_at, batch_id = self.now(), batch_id_in(request.raw_path)
        answer = self.answer(request.method, request.raw_path, request.headers)
        fault = take_fault(self.faults, batch_id)
        if fault is not None:
            answer = fault.rewrite(answer)
        self.requests.append(
            ReceivedRequest(
                method=request.method,
                path=request.raw_path,
                headers={name: _mask(name, value) for name, value in request.headers.items()},
                received_at=received_at,
                status=None if fault and fault.silent else answer.status,
                batch_id=batch_id,
            )
        )
        if self.latency:
            await asyncio.sleep(self.latency)
        return await (fault.deliver if fault else send)(request, answer)


def _mask(name: str, value: str) -> str:
    if name.lower() != hdrs.AUTHORIZATION.lower():
        return value
    return "Bearer ***" if value.startswith("Bearer ") else "***"
