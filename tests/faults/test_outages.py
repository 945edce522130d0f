"""What waits say and log of an outage, and of a hold that concerns all of a session."""

from __future__ import annotations

import asyncio
import logging
import re
from uuid import UUID

import pytest

from runflow_async import (
    OutageError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    TransportError,
    WaitTimeoutError,
)
from tests.faults.tables import BATCH_ID, GOOD, RUNNING, connect
from tests.rig import ScriptedServer, close, eventually, hang, http, pause

pytestmark = pytest.mark.usefixtures("both_lanes")

OTHER_ID = UUID("11111111-0b0a-4908-8706-050403020100")
HELD = http(429, headers={"Retry-After": "30"})


def now() -> float:
    return asyncio.get_running_loop().time()


class TestHolds:
    """Rows 46 and 51: what a `Retry-After` that one batch was answered with means to the others."""

    @pytest.mark.looptime
    async def test_row_51_a_hold_beyond_the_deadline_of_another_wait_ends_it_at_once(self):
        async with ScriptedServer(HELD) as server, connect(server) as session:
            with pytest.raises(RateLimitError):
                await session.wait_for_batch(BATCH_ID, timeout=3)
            await asyncio.sleep(3)
            wait = session.wait_for_batch(OTHER_ID, timeout=3)
            with pytest.raises(RateLimitError, match=r"Retry-After holds .* for 27\.\d s more") as caught:
                await wait
            assert caught.value.retry_after == pytest.approx(27, abs=0.01)
            assert (wait.stats.elapsed, wait.stats.requests) == (pytest.approx(0, abs=0.01), 0)
            with pytest.raises(RateLimitError):
                await session.wait_for_batch(OTHER_ID, timeout=0)
        assert len(server.requests) == 1

    @pytest.mark.looptime
    @pytest.mark.parametrize("slots", [pytest.param(1, id="row 51: for a slot"), pytest.param(9, id="row 51: a turn")])
    async def test_that_begins_while_another_wait_queues_ends_that_one_too(self, slots):
        script = [RUNNING, pause(1) + HELD]
        async with (
            ScriptedServer(script) as server,
            connect(server, max_connections=slots, max_rate=0.5, request_timeout=9) as session,
        ):
            await session.get_batch(BATCH_ID)
            first = asyncio.create_task(session.wait_for_batch(BATCH_ID, timeout=20))
            await asyncio.sleep(0)
            wait = session.wait_for_batch(OTHER_ID, timeout=20)
            outcomes = await asyncio.gather(first, wait, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [RateLimitError, RateLimitError]
            assert wait.stats.elapsed == pytest.approx(3, abs=0.1)
        assert len(server.requests) == 2

    @pytest.mark.looptime
    async def test_row_46_a_hold_within_the_deadline_is_waited_for_by_all(self):
        script = [HELD, GOOD]
        async with ScriptedServer(script) as server, connect(server) as session:
            first = asyncio.create_task(session.wait_for_batch(BATCH_ID))
            await eventually(lambda: session._throttle.held_for(now()))
            started = now()
            await session.get_batch(BATCH_ID)
            assert now() - started == pytest.approx(30, abs=0.1)
            await first


class TestCauses:
    """The cause of an error is what the server did last; queueing for what is ours says nothing of it."""

    @pytest.mark.looptime
    async def test_of_an_outage_is_the_servers_last_error_and_no_queue(self):
        """Both are tried again after a second, but the pace gives the one turn a minute."""
        async with ScriptedServer(http(503)) as server, connect(server, max_rate=1 / 60) as session:
            with pytest.raises(OutageError, match="HTTP 503") as caught:
                await session.wait_for_batch(BATCH_ID, max_outage=10)
        assert isinstance(caught.value.__cause__, ServerError)
        assert len(server.requests) == 1

    @pytest.mark.looptime
    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ({"max_connections": 1, "request_timeout": 900}, "every connection that this session may use"),
            ({"max_rate": 0.001, "request_timeout": 900}, "the session's rate"),
        ],
        ids=["pool", "pace"],
    )
    async def test_of_a_wait_that_never_got_to_ask_is_what_it_queued_for(self, settings, says):
        async with ScriptedServer(hang()) as server, connect(server, **settings) as session:
            holder = asyncio.create_task(session.get_batch(BATCH_ID))
            await eventually(lambda: server.requests)
            with pytest.raises(WaitTimeoutError, match=says) as caught:
                await session.wait_for_batch(OTHER_ID, timeout=3)
            holder.cancel()
            await asyncio.gather(holder, return_exceptions=True)
        assert isinstance(caught.value.__cause__, TransportError)


class TestLogs:
    """What an application that only reads its log learns of an outage."""

    @pytest.mark.looptime
    async def test_of_retries_and_the_recovery_name_the_batch(self, caplog):
        caplog.set_level(logging.INFO, "runflow_async")
        async with ScriptedServer([http(503), http(500), GOOD]) as server, connect(server) as session:
            await session.wait_for_batch(BATCH_ID)
        retries, recovery = [record.getMessage() for record in caplog.records][:2], caplog.records[-1]
        assert [line.partition("; ")[0] for line in retries] == [
            f"batch {BATCH_ID}: attempt 1 failed (HTTP 503)",
            f"batch {BATCH_ID}: attempt 2 failed (HTTP 500)",
        ]
        assert recovery.levelno == logging.INFO
        assert recovery.getMessage().startswith(f"batch {BATCH_ID}: a valid response again, after 2 failed ")
        assert all(record.levelno == logging.INFO for record in caplog.records)

    @pytest.mark.looptime
    async def test_warn_once_of_an_outage_that_lasts(self, caplog):
        patient = RetryPolicy(wait_initial=4, wait_max=4)
        async with ScriptedServer(http(503)) as server, connect(server, retry=patient) as session:
            with pytest.raises(OutageError):
                await session.wait_for_batch(BATCH_ID, max_outage=200)
        (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert re.match(r"no valid response for 3\d s, 1 wait \(HTTP 503\); still trying", warning.getMessage())
        assert warning.status == 503

    async def test_of_a_request_sent_again_say_so(self, caplog):
        caplog.set_level(logging.DEBUG, "runflow_async")
        async with ScriptedServer([RUNNING, close(), GOOD]) as server, connect(server) as session:
            await session.wait_for_batch(BATCH_ID, interval=0.01)
        (line,) = [text for text in caplog.messages if "sent again" in text]
        assert str(BATCH_ID) in line

    async def test_of_get_batch_name_it(self, caplog):
        caplog.set_level(logging.INFO, "runflow_async")
        async with ScriptedServer([http(503), GOOD]) as server, connect(server) as session:
            await session.get_batch(BATCH_ID)
        assert caplog.records[0].getMessage().startswith(f"batch {BATCH_ID}: attempt 1 failed (HTTP 503)")


async def test_every_request_counts_as_one_thing_that_became_of_it():
    """Good, failed, sent again, cut by a cancellation: they add up, and nothing else is sent."""
    script = [RUNNING, close(), http(503), http(200, b"[]"), RUNNING, hang()]
    async with ScriptedServer(script) as server, connect(server, request_timeout=60) as session:
        wait = session.wait_for_batch(BATCH_ID, interval=0.001)
        task = asyncio.ensure_future(wait)
        await eventually(lambda: len(server.requests) == 6)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    stats = wait.stats
    assert (stats.polls, stats.failures, stats.repeats, stats.cut, stats.retries) == (2, 2, 1, 1, 2)
    assert stats.requests == 6
