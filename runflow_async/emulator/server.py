"""The emulator: the emulated API behind a real HTTP server, with injected faults.

Puts its parts together: `api` decides the responses, `batches` which batches there are, `handling` which fault hits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Self, Unpack

from runflow_async.emulator.api import Api
from runflow_async.emulator.batches import Batches, BatchPlan, script_of
from runflow_async.emulator.callbacks import Deliveries, SentCallback
from runflow_async.emulator.creating import Creations
from runflow_async.emulator.drawing import BatchDetails, draw_timelines, draw_uuid, seeded
from runflow_async.emulator.handling import handle
from runflow_async.emulator.listening import Listener
from runflow_async.emulator.listing import Listing, check_listing
from runflow_async.emulator.outputs import Outputs, answer_download, show_output
from runflow_async.emulator.received import RECORDS_KEPT, ReceivedRequest
from runflow_async.emulator.threads import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from aiohttp import web

    from runflow_async.emulator.faults import Fault

__all__ = ["Emulator"]


class Emulator:
    """A Runflow API in this process: batches, their items, outputs and callbacks.

    It serves on the event loop that starts it; `in_thread` gives it one of its own. Other threads may call its methods.
    `async with Emulator() as emulator:` serves until the end of the block. Create batches with its methods, or over
    HTTP for any model; they follow their timelines as its clock advances. A model whose name ends in `no-template` has
    no batches. The same seed and the same calls give the same ids.

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
        requests: the requests to the API, oldest first; the last 100,000 are kept.
        created: the ids of the batches that were created over HTTP, oldest first.
        outputs: the files that succeeded items have produced, on a second port.
        callbacks: every attempt to deliver a callback, oldest first. Deliveries that `close()` interrupts start
            afresh at the next `start()`.

    You may change `latency`, `rate_limit`, `listing`, `faults`, `requests` and `created` at any time and in any thread.
    In another thread, iterate `requests.copy()`.
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
        self._home = Home()
        self._deliveries = Deliveries(callback_secret, self.now, follows_loop=clock is None)
        self.callbacks: list[SentCallback] = self._deliveries.sent
        self._batches = Batches(self._random, self.organization_id, self.now, self._deliveries)
        self.created: list[UUID] = self._batches.created
        self._listener = Listener(self._handle, host, port)
        self._downloads = Listener(self._handle_download, host, 0)
        self.outputs = Outputs(self.api_key, self.now, lambda: self._downloads.url)
        self._api = Api(
            self._batches.by_id,
            Creations(partial(self._batches.create, draw=self.create_batch)),
            partial(show_output, self.outputs),
            self._deliveries,
            api_key=self.api_key,
            organization_id=self.organization_id,
            checks_membership=organization_id is not None,
            now=self.now,
        )

    def __repr__(self) -> str:
        state = f"on port {self._listener.port}" if self._listener.is_open else "not running"
        return f"<Emulator {state}, batches: {len(self._batches.by_id)}>"

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash.

        Raises:
            RuntimeError: if the emulator was never started, so it has no port.
        """
        return self._listener.url

    def now(self) -> float:
        """The current time on the emulator's clock."""
        return self._clock() if self._clock else self._home.call(lambda: asyncio.get_running_loop().time())

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
        random = self._random if seed is None else seeded(seed)
        draw = partial(draw_timelines, random, items=items, duration=duration, workers=workers, stragglers=stragglers)
        return self._home.call(lambda: self._batches.add(draw(fail=fail, cancel=cancel), None, details))

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
        return self._home.call(self._batches.add, *script_of(timelines, status_timeline), details)

    def script_next(
        self,
        timelines: Iterable[Iterable[tuple[float, str]]],
        *,
        status_timeline: Iterable[tuple[float, str]] | None = None,
    ) -> None:
        """Let the next batch that is created over HTTP follow a script; later calls script later batches.

        The arguments and errors are those of `create_scripted_batch`. If the batch has more items than there are
        timelines, they start over, so a single one is enough for all items.
        """
        self._batches.scripts.append(script_of(timelines, status_timeline))

    def plan_created(self, **plan: Unpack[BatchPlan]) -> None:
        """Let the batches that are created over HTTP without a script run by this plan instead of the last one.

        Its keywords have the defaults of `create_batch`. If they do not fit a batch, its creation gets status 500.
        """
        self._batches.plan = plan

    def snapshot(self, batch_id: UUID) -> dict[str, Any]:
        """Return the response to a request for the batch at this moment, as JSON.

        Raises:
            KeyError: if there is no such batch.
        """
        return self._batches.by_id[batch_id].snapshot(self.now())

    async def start(self) -> None:
        """Start serving. After a `close()`, it uses the same ports as before and still has all batches.

        Raises:
            OSError: if the port is taken.
            RuntimeError: if it is already running.
        """
        if self._listener.is_open:
            raise RuntimeError("the emulator is running already: close it first")
        await self._downloads.open()
        try:
            await self._listener.open()
        except BaseException:
            await self._downloads.close()
            raise
        self._deliveries.start()
        self._home.enter()

    async def close(self) -> None:
        """Stop serving; cut every connection and every delivery of a callback. It may be called again."""
        await self._deliveries.close()
        await self._listener.close()
        await self._downloads.close()
        self._home.leave()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        answer = partial(self._api.answer, rate_limit=self.rate_limit, listing=self.listing)
        return await handle(request, answer, self.faults, self.requests, now=self.now, latency=self.latency)

    async def _handle_download(self, request: web.BaseRequest) -> web.StreamResponse:
        answer = partial(answer_download, self.outputs)
        return await handle(request, answer, self.faults, self.outputs.requests, now=self.now, latency=self.latency)
