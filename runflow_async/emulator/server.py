"""The emulator: the emulated API behind a real HTTP server, with injected faults.

Decides which batches there are, how a request is recorded and which fault hits it. `api` decides the response.
"""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, Unpack

from runflow_async.emulator.answers import send
from runflow_async.emulator.api import Api, batch_id_in
from runflow_async.emulator.callbacks import Deliveries, SentCallback, check_callback
from runflow_async.emulator.drawing import BatchDetails, draw_batch, draw_timelines, draw_uuid, seeded
from runflow_async.emulator.faults import Fault, take_fault
from runflow_async.emulator.listening import Listener
from runflow_async.emulator.listing import Listing, check_listing
from runflow_async.emulator.received import ReceivedRequest, record
from runflow_async.emulator.timelines import ScriptedBatch, Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from uuid import UUID

    from aiohttp import web

__all__ = ["Emulator"]

RECORDS_KEPT = 100_000


class Emulator:
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
        self._random = seeded(seed)
        own_organization, own_key = draw_uuid(self._random), f"rf_test_{self._random.getrandbits(96):024x}"
        self.api_key = api_key or own_key
        self.organization_id = organization_id or own_organization
        self.rate_limit = rate_limit
        self.listing: Listing = check_listing(listing)
        self.latency = latency
        self.faults: list[Fault] = []
        self.requests: deque[ReceivedRequest] = deque(maxlen=RECORDS_KEPT)
        self._clock = clock
        self._batches: dict[UUID, ScriptedBatch] = {}
        self._api = Api(
            self._batches,
            api_key=self.api_key,
            organization_id=self.organization_id,
            checks_membership=organization_id is not None,
            now=self.now,
        )
        self._listener = Listener(self._handle, host, port)
        self._deliveries = Deliveries(callback_secret, self.now, follows_loop=clock is None)
        self.callbacks: list[SentCallback] = self._deliveries.sent

    def __repr__(self) -> str:
        state = f"on port {self._listener.port}" if self._listener.is_open else "not running"
        return f"<Emulator {state}, batches: {len(self._batches)}>"

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash.

        Raises:
            RuntimeError: if the emulator was never started, so it has no port.
        """
        if not self._listener.port:
            raise RuntimeError("the emulator has no URL yet: start it first, or use 'async with'")
        return self._listener.url

    def now(self) -> float:
        """The current time on the emulator's clock."""
        return self._clock() if self._clock else asyncio.get_running_loop().time()

    def create_batch(
        self,
        items: int = 24,
        duration: float = 10.0,
        fail: float = 0.0,
        cancel: float = 0.0,
        *,
        workers: int = 8,
        stragglers: int = 0,
        seed: int | None = None,
        **details: Unpack[BatchDetails],
    ) -> UUID:
        """Create a batch whose items start now; each is queued, dispatching, running and then terminal.

        Args:
            items: number of items.
            duration: seconds until the last item has ended.
            fail: share of the items, 0 to 1, that end failed, rounded to whole items.
            cancel: share of the items, 0 to 1, that end canceled, rounded to whole items.
            workers: how many items run at the same time.
            stragglers: number of items that end only at `duration`, while all others have ended by half of it.
            seed: seed of this batch's timelines; by default, the emulator's own random sequence continues.
            **details: see `BatchDetails`.

        Raises:
            ValueError: if an argument is invalid.
        """
        timelines = draw_timelines(
            self._random if seed is None else seeded(seed),
            items=items,
            duration=duration,
            fail=fail,
            cancel=cancel,
            workers=workers,
            stragglers=stragglers,
        )
        return self._add(timelines, None, details)

    def create_scripted_batch(
        self,
        timelines: Iterable[Iterable[tuple[float, str]]],
        *,
        status_timeline: Iterable[tuple[float, str]] | None = None,
        **details: Unpack[BatchDetails],
    ) -> UUID:
        """Create a batch that follows the given script exactly.

        Args:
            timelines: one per item, such as `[(0.0, "queued"), (1.5, "running"), (3.0, "succeeded")]`: seconds from
                now, and the status from then on. Any status is allowed, in any order. Before its first step, an item
                is missing from the responses.
            status_timeline: the batch's own statuses; by default they are derived from the items.
            **details: see `BatchDetails`.

        Raises:
            ValueError: if there are no items, or a timeline is empty or out of order.
        """
        scripts = [Timeline.of(steps) for steps in timelines]
        if not scripts:
            raise ValueError("a batch needs at least one item: pass one timeline per item")
        return self._add(scripts, None if status_timeline is None else Timeline.of(status_timeline), details)

    def snapshot(self, batch_id: UUID) -> dict[str, Any]:
        """Return the response to a request for the batch at this moment, as JSON.

        Raises:
            KeyError: if there is no such batch.
        """
        return self._batches[batch_id].snapshot(self.now())

    async def start(self) -> None:
        """Start serving. After a `close()`, it uses the same port as before and still has all batches.

        Raises:
            OSError: if the port is taken.
            RuntimeError: if it is already running.
        """
        if self._listener.is_open:
            raise RuntimeError("the emulator is running already: close it first")
        await self._listener.open()
        self._deliveries.start()

    async def close(self) -> None:
        """Stop serving; cut every connection and every delivery of a callback. It may be called again."""
        await self._deliveries.close()
        await self._listener.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _add(self, timelines: Sequence[Timeline], status_timeline: Timeline | None, details: BatchDetails) -> UUID:
        times = details.get("callback_times", 1)
        check_callback(details.get("callback_url"), times)
        created = self.now()
        batch = draw_batch(
            self._random,
            timelines,
            status_timeline,
            details,
            organization_id=self.organization_id,
            created=created,
            created_at=self._epoch + timedelta(seconds=created),
        )
        self._batches[batch.id] = batch
        self._deliveries.expect(batch, times)
        return batch.id

    @cached_property
    def _epoch(self) -> datetime:
        # Dates are derived from the clock, so that they stay consistent with it if it jumps.
        return datetime.now(UTC) - timedelta(seconds=self.now())

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        received_at, batch_id = self.now(), batch_id_in(request.raw_path)
        answer = self._api.answer(
            request.method, request.raw_path, request.headers, rate_limit=self.rate_limit, listing=self.listing
        )
        fault = take_fault(self.faults, batch_id)
        if fault is not None:
            answer = fault.rewrite(answer)
        status = None if fault and fault.silent else answer.status
        self.requests.append(record(request, received_at, status, batch_id))
        if self.latency:
            await asyncio.sleep(self.latency)
        return await (fault.deliver if fault else send)(request, answer)
