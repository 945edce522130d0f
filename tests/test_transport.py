"""One GET over a real socket: what comes back, within which time, and what is left behind."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from runflow_async import RateLimitError, ServerError, SessionClosedError, TransportError
from runflow_async._http.throttle import Throttle
from runflow_async._http.transport import Transport
from runflow_async._lifetime import Lifetime
from runflow_async._observing import UNOBSERVED, Call
from tests.rig import ScriptedServer, close, connections_in_use, eventually, hang, http, pause, send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.rig import Reply

pytestmark = pytest.mark.usefixtures("both_lanes")

BUSY = {"Retry-After": "60"}


def now() -> float:
    return asyncio.get_running_loop().time()


class Stand:
    """A transport on a scripted server."""

    def __init__(self, server: ScriptedServer, request_timeout: float) -> None:
        self.server = server
        self.lifetime = Lifetime()
        self.throttle = Throttle(None)
        self.sent = 0
        self.transport = Transport(
            self.lifetime,
            self.throttle,
            UNOBSERVED,
            base_url=server.url,
            headers={},
            http=None,
            request_timeout=request_timeout,
            max_connections=1,
            max_response_bytes=1000,
        )

    def count(self) -> None:
        self.sent += 1

    async def get(self, limit: float = math.inf):
        return await self.transport.get("/", Call(None), sent=self.count, limit=limit)


@asynccontextmanager
async def stand(*script: Reply, request_timeout: float = 60.0) -> AsyncIterator[Stand]:
    async with ScriptedServer(list(script)) as server:
        stand = Stand(server, request_timeout)
        yield stand
        way = stand.transport._connections.way
        assert not connections_in_use(stand.transport)
        assert stand.transport._turns._taken == 0
        await stand.lifetime.close(stand.transport.close)
        assert way is None or way.closed


async def test_a_response_comes_with_its_retry_after_and_its_roundtrip():
    async with stand(pause(0.05) + http(200, b"abc", BUSY)) as s:
        reply = await s.get()
        assert (reply.body, reply.retry_after, s.sent) == (b"abc", 60.0, 1)
        assert reply.roundtrip >= 0.05 - 0.001  # uvloop counts whole milliseconds
        assert not s.throttle.held_for(now()), "a valid response holds its own batch only"


@pytest.mark.parametrize("status", [429, 503])
async def test_a_refusal_holds_every_request_and_is_raised_with_the_same_retry_after(status):
    async with stand(http(status, b"", BUSY)) as s:
        with pytest.raises((RateLimitError, ServerError)) as caught:
            await s.get()
        assert caught.value.retry_after == 60.0
        assert s.throttle.held_for(now())


@pytest.mark.parametrize(("status", "headers"), [(503, {}), (500, BUSY)])
async def test_another_failure_holds_nobody(status, headers):
    async with stand(http(status, b"", headers)) as s:
        with pytest.raises(ServerError):
            await s.get()
        assert s.throttle.is_open


@pytest.mark.parametrize(
    "rest", [pytest.param(hang(), id="hangs"), pytest.param(send(b"{") + close(), id="is cut short")]
)
async def test_the_status_counts_although_its_body(rest):
    head = http(500, b"", BUSY, length=100)
    async with stand(head + rest, request_timeout=0.3) as s:
        with pytest.raises(ServerError) as caught:
            await s.get()
        assert (caught.value.status, caught.value.retry_after) == (500, 60.0)


@pytest.mark.slow
async def test_a_body_of_an_error_is_waited_for_for_a_second_at_most():
    async with stand(http(500, b"", length=100) + hang()) as s, asyncio.timeout(30):
        with pytest.raises(ServerError):
            await s.get()


@pytest.mark.parametrize("answer", [hang(), http(200, b"", length=100) + hang()], ids=["head", "body"])
async def test_a_request_ends_with_its_timeout(answer):
    async with stand(answer, request_timeout=0.1) as s:
        with pytest.raises(TransportError, match="did not answer in time"):
            await s.get()


async def test_a_limit_that_has_passed_sends_nothing():
    async with stand(http(200)) as s:
        with pytest.raises(TransportError, match="no time was left"):
            await s.get(limit=now())
        assert (s.sent, s.server.requests) == (0, [])


async def test_it_cannot_be_used_once_its_lifetime_was_closed():
    async with stand(http(200)) as s:
        await s.get()
        await s.lifetime.close(s.transport.close)
        with pytest.raises(SessionClosedError):
            await s.get()


async def test_a_close_that_was_cancelled_is_finished_by_the_next_one():
    async with stand(http(200), hang()) as s:
        await s.get()
        waiting = asyncio.create_task(s.get())
        await eventually(lambda: s.sent == 2)
        closing = asyncio.create_task(s.transport.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait({closing})
        assert s.transport._connections.way.closed
        await s.transport.close()
        await asyncio.wait({waiting})
        assert isinstance(waiting.exception(), SessionClosedError)
