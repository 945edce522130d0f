"""The session and its waits over real sockets, against the emulator."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from uuid import UUID, uuid4

import aiohttp
import msgspec
import pytest

from runflow_async import (
    AuthenticationError,
    Batch,
    ConfigurationError,
    MalformedResponseError,
    NotFoundError,
    PermissionDeniedError,
    ResponseTooLargeError,
    RetryPolicy,
    RunflowSession,
    ServerError,
    SessionClosedError,
    TransportError,
    WaitClosedError,
    WaitTimeoutError,
)
from runflow_async.emulator import Emulator, faults
from tests.rig import connections_in_use, lateness

pytestmark = pytest.mark.usefixtures("both_lanes")

QUICK = RetryPolicy(wait_initial=0.02, wait_max=0.05)
SCRIPT = [
    [(0.0, "queued"), (0.1, "running"), (0.3, "succeeded")],
    [(0.0, "queued"), (0.2, "running"), (0.35, "failed")],
]


def quick_session(emulator: Emulator, **keywords: object) -> RunflowSession:
    return RunflowSession(emulator.api_key, base_url=emulator.url, retry=QUICK, **keywords)


class TestGetBatch:
    async def test_gives_the_typed_batch(self, emulator, session):
        batch_id = emulator.create_batch(items=3)
        batch = await session.get_batch(str(batch_id).upper())
        assert isinstance(batch, Batch)
        assert batch == msgspec.convert(emulator.snapshot(batch_id), Batch)
        assert msgspec.json.decode(msgspec.json.encode(batch), type=Batch) == batch

    async def test_retries_what_may_pass_five_times_at_most(self, emulator):
        batch_id = emulator.create_batch()
        async with quick_session(emulator) as session:
            emulator.faults.append(faults.status(503, times=4))
            assert (await session.get_batch(batch_id)).id == batch_id
            emulator.faults.append(faults.status(503, times=5))
            with pytest.raises(ServerError) as caught:
                await session.get_batch(batch_id)
        assert caught.value.batch_id == batch_id
        assert len(emulator.requests) == 10

    async def test_raises_what_is_final_at_once(self, emulator, session):
        with pytest.raises(NotFoundError):
            await session.get_batch(uuid4())
        assert len(emulator.requests) == 1

    async def test_never_shows_another_batch(self, emulator):
        batch_id = emulator.create_batch()
        async with quick_session(emulator) as session:
            emulator.faults.append(faults.other_batch(times=3))
            with pytest.raises(MalformedResponseError, match="not about batch"):
                await session.get_batch(batch_id)
        assert len(emulator.requests) == 3


class TestRequests:
    async def test_carry_key_organisation_and_who_we_are(self, monkeypatch):
        organization = uuid4()
        async with Emulator(organization_id=organization) as emulator:
            monkeypatch.setenv("RUNFLOW_API_KEY", emulator.api_key)
            monkeypatch.setenv("RUNFLOW_BASE_URL", emulator.url + "/")
            monkeypatch.setenv("RUNFLOW_ORGANIZATION_ID", str(organization))
            async with RunflowSession() as session:
                batch_id = emulator.create_batch()
                await session.get_batch(batch_id)
        request = emulator.requests[0]
        assert (request.method, request.path) == ("GET", f"/v1/batches/{batch_id}")
        assert request.headers["X-Organization-Id"] == str(organization)
        assert request.headers["User-Agent"].startswith("runflow-async/")
        assert request.headers["Accept"] == "application/json"

    async def test_go_through_the_users_own_session_and_leave_it_open(self, emulator):
        seen = []

        async def spy(request, handler):
            seen.append(request.url.path)
            return await handler(request)

        async with aiohttp.ClientSession(middlewares=(spy,)) as http:
            batch_id = emulator.create_batch()
            async with quick_session(emulator, http=http) as session:
                await session.get_batch(batch_id)
            assert not http.closed
        assert seen == [f"/v1/batches/{batch_id}"]

    async def test_queue_for_the_users_smaller_pool_without_losing_their_time(self, emulator):
        """A pool of one, and answers that take half of what one request may take."""
        ids = [emulator.create_batch(duration=9) for _ in range(6)]
        emulator.faults.append(faults.slow_body(0.15, times=6))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit_per_host=1)) as http:
            once = RetryPolicy(attempts=1)
            session = RunflowSession(
                emulator.api_key, base_url=emulator.url, http=http, request_timeout=0.4, retry=once
            )
            batches = await asyncio.gather(*map(session.get_batch, ids))
        assert [batch.id for batch in batches] == ids

    async def test_fail_clearly_once_the_users_session_is_closed(self, emulator):
        async with aiohttp.ClientSession() as http:
            pass
        session = quick_session(emulator, http=http)
        with pytest.raises(SessionClosedError):
            await session.get_batch(uuid4())

    @pytest.mark.looptime
    async def test_are_paced_by_max_rate(self, emulator):
        async with quick_session(emulator, max_rate=0.5) as session:
            batch_id = emulator.create_batch()
            await asyncio.gather(*(session.get_batch(batch_id) for _ in range(5)))
        first = emulator.requests[0].received_at
        received = [request.received_at - first for request in emulator.requests]
        assert received == pytest.approx([0, 2, 4, 6, 8], abs=0.05)

    async def test_are_refused_a_body_over_the_bound(self, emulator):
        async with quick_session(emulator, max_response_bytes=1000) as session:
            with pytest.raises(ResponseTooLargeError, match="1000"):
                await session.get_batch(emulator.create_batch(items=50))
        assert len(emulator.requests) == 1

    @pytest.mark.parametrize(
        "fault",
        [faults.reset(), faults.truncated_body(), faults.html(), faults.status(429), faults.status(502)],
        ids=lambda fault: fault.name,
    )
    async def test_that_fail_are_tried_again(self, emulator, fault):
        emulator.faults.append(fault)
        async with quick_session(emulator) as session:
            batch_id = emulator.create_batch()
            assert (await session.get_batch(batch_id)).id == batch_id
        assert len(emulator.requests) == 2

    async def test_that_hang_end_with_the_request_timeout(self, emulator):
        emulator.faults.append(faults.hang(times=2))
        async with RunflowSession(
            emulator.api_key, base_url=emulator.url, request_timeout=0.05, retry=RetryPolicy(attempts=1)
        ) as session:
            with pytest.raises(TransportError, match="in time"):
                await session.get_batch(emulator.create_batch())

    async def test_shape_with_aioresponses(self, mocked_http):
        """The request as a user's own mock sees it."""
        batch_id = uuid4()
        url = f"https://api.runflow.io/v1/batches/{batch_id}"
        mocked_http.get(url, payload={"id": str(batch_id), "status_code": "running"})
        async with RunflowSession("rf_test_key") as session:
            assert (await session.get_batch(batch_id)).status_code == "running"
        ((_, _), calls), *others = mocked_http.requests.items()
        assert others == []
        assert calls[0].kwargs["headers"]["Authorization"] == "Bearer rf_test_key"
        assert calls[0].kwargs["allow_redirects"] is False


class TestWaits:
    async def test_end_right_all_hundred_in_one_pool(self, emulator, session):
        ids = [emulator.create_batch(items=5, duration=0.4, fail=0.2, seed=n) for n in range(100)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(session.wait_for_batch(i, interval=0.1)) for i in ids]
        assert [task.result().id for task in tasks] == ids
        assert Counter(task.result().status_code for task in tasks) == {"partial_succeeded": 100}

    async def test_yield_what_the_script_says(self, emulator, session):
        batch_id = emulator.create_scripted_batch(SCRIPT)
        got = [
            (t.item.sequence_index, t.previous, t.current)
            async for t in session.wait_for_batch(batch_id, interval=0.02)
        ]
        for index, script in enumerate(SCRIPT):
            statuses = [status for _, status in script]
            assert [(p, c) for i, p, c in got if i == index] == list(zip([None, *statuses], statuses, strict=False))

    async def test_resume_in_another_session_from_what_was_delivered(self, emulator):
        batch_id = emulator.create_scripted_batch(SCRIPT)
        first = []
        async with quick_session(emulator) as session:
            wait = session.wait_for_batch(batch_id, interval=0.02)
            async for transition in wait:
                first.append(transition)
                if len(first) == 3:
                    break
            saved = msgspec.json.encode(wait.delivered)
        async with quick_session(emulator) as session:
            since = msgspec.json.decode(saved, type=Batch)
            rest = [t async for t in session.wait_for_batch(batch_id, interval=0.02, since=since)]
        told = Counter((t.item.sequence_index, t.current) for t in first + rest)
        assert told == Counter((i, status) for i, script in enumerate(SCRIPT) for _, status in script)

    @pytest.mark.parametrize(
        "fault", [faults.hang(), faults.slow_body(seconds=5.0), None], ids=["request", "body", "sleep"]
    )
    async def test_time_out_at_most_50_ms_late(self, emulator, session, fault):
        batch_id = emulator.create_batch(duration=100)
        if fault:
            emulator.faults.append(fault)
        waiting = asyncio.create_task(session.wait_for_batch(batch_id, timeout=0.15, interval=60))
        assert -0.001 <= await lateness(asyncio.wait([waiting]), 0.15) <= 0.05  # uvloop counts whole milliseconds
        with pytest.raises(WaitTimeoutError, match="still running"):
            await waiting

    async def test_time_out_with_the_last_snapshot_also_in_a_hanging_request(self, emulator, session):
        batch_id = emulator.create_batch(duration=100)
        wait = session.wait_for_batch(batch_id, timeout=0.15, interval=0.02)
        await anext(wait)
        emulator.faults.append(faults.hang())
        with pytest.raises(WaitTimeoutError) as caught:
            await wait
        assert caught.value.batch.id == batch_id
        assert caught.value.stats.polls >= 1

    async def test_hold_no_connection_between_polls(self, emulator, session):
        wait = session.wait_for_batch(emulator.create_batch(), interval=60)
        await anext(wait)
        assert not connections_in_use(session)

    async def test_leave_nothing_behind_after_break_error_cancel_and_close(self, emulator, session):
        batch_id = emulator.create_batch()
        async for _ in session.wait_for_batch(batch_id):
            break
        emulator.faults.append(faults.status(401))
        with pytest.raises(AuthenticationError):
            await session.wait_for_batch(batch_id)
        emulator.faults.append(faults.hang())
        task = asyncio.create_task(session.wait_for_batch(batch_id))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with session.wait_for_batch(batch_id) as wait:
            await anext(wait)
        gc.collect()
        assert [task for task in asyncio.all_tasks() if "RequestHandler" not in repr(task)] == [asyncio.current_task()]

    async def test_survive_a_restart_of_the_server(self, emulator):
        batch_id = emulator.create_scripted_batch(SCRIPT)
        async with quick_session(emulator) as session:
            task = asyncio.create_task(session.wait_for_batch(batch_id, interval=0.03))
            await asyncio.sleep(0.1)
            await emulator.close()
            await asyncio.sleep(0.1)
            await emulator.start()
            assert (await task).status_code == "partial_succeeded"

    async def test_are_nudged_by_their_id(self, emulator, session):
        batch_id = emulator.create_scripted_batch([[(0.0, "running"), (0.1, "succeeded")]])
        task = asyncio.create_task(session.wait_for_batch(batch_id, interval=60))
        await asyncio.sleep(0.15)
        assert session.nudge(str(batch_id)) is True
        assert (await task).is_terminal
        assert session.nudge(batch_id) is False
        assert session.nudge(uuid4()) is False


class TestClosing:
    async def test_ends_calls_in_flight_queued_and_asleep(self, emulator):
        session = quick_session(emulator, max_connections=1)
        asleep = asyncio.create_task(session.wait_for_batch(emulator.create_batch(duration=99), interval=60))
        await asyncio.sleep(0.05)
        emulator.faults.append(faults.hang(times=2))
        in_flight = asyncio.create_task(session.wait_for_batch(emulator.create_batch()))
        await asyncio.sleep(0.05)
        queued = asyncio.create_task(session.wait_for_batch(emulator.create_batch()))
        single = asyncio.create_task(session.get_batch(emulator.create_batch()))
        await asyncio.sleep(0.05)
        await session.close()
        for task in (asleep, in_flight, queued, single):
            assert isinstance(task.exception(), SessionClosedError)
            assert task.cancelling() == 0

    def test_is_possible_after_its_loop_has_ended(self, monkeypatch):
        session = RunflowSession("rf_key", base_url="http://127.0.0.1:9", retry=RetryPolicy(attempts=1))
        with pytest.raises(TransportError):
            asyncio.run(session.get_batch(UUID(int=1)))
        asyncio.run(session.close())
        with pytest.raises(SessionClosedError):
            session.wait_for_batch(UUID(int=1))

    async def test_makes_every_later_call_say_so(self, emulator):
        async with quick_session(emulator) as session:
            wait = session.wait_for_batch(uuid4())
        await session.close()
        for use in (lambda: session.get_batch(uuid4()), lambda: wait, session.__aenter__):
            with pytest.raises(SessionClosedError):
                await use()
        with pytest.raises(SessionClosedError):
            session.wait_for_batch(uuid4())
        assert "closed" in repr(session)

    async def test_of_a_wait_from_within_its_own_request_cancels_nobody(self, emulator):
        """A middleware of the user's own session runs in the very task that is in the wait."""
        went_on = []

        async def close_the_wait(request, handler):
            await wait.aclose()
            went_on.append(request)
            return await handler(request)

        async with (
            aiohttp.ClientSession(middlewares=(close_the_wait,)) as http,
            quick_session(emulator, http=http) as session,
        ):
            wait = session.wait_for_batch(emulator.create_batch())
            with pytest.raises(WaitClosedError):
                await wait
        assert len(went_on) == 1


class TestAnswers:
    async def test_of_a_wrong_key_name_the_variable_and_not_the_key(self, emulator):
        async with RunflowSession("rf_wrong_canary", base_url=emulator.url) as session:
            with pytest.raises(AuthenticationError, match="RUNFLOW_API_KEY") as caught:
                await session.get_batch(emulator.create_batch())
        assert caught.value.code == "UNAUTHORIZED"
        assert "canary" not in repr(caught.value) + str(caught.value)

    async def test_of_a_foreign_organisation_carry_the_servers_code(self):
        async with Emulator(organization_id=uuid4()) as emulator:
            session = quick_session(emulator, organization_id=uuid4())
            with pytest.raises(PermissionDeniedError) as caught:
                await session.get_batch(emulator.create_batch())
            await session.close()
        assert caught.value.code == "ORGANIZATION_MEMBERSHIP_REQUIRED"


class TestConfiguration:
    def test_without_a_key_names_the_variable(self):
        with pytest.raises(ConfigurationError, match="RUNFLOW_API_KEY"):
            RunflowSession()

    @pytest.mark.parametrize("key", ["", "  ", "a b", "a\r\nb", "a\0", "ключ", "\ud800", 7])
    def test_refuses_a_key_that_cannot_be_a_header_without_showing_it(self, key):
        """Row 136."""
        with pytest.raises(ValueError) as caught:
            RunflowSession(key)
        assert not str(key).strip() or str(key) not in str(caught.value)

    @pytest.mark.parametrize(
        "url",
        [
            "http://api.runflow.io",
            "ftp://api.runflow.io",
            "https://user:pw@api.runflow.io",
            "https://api.runflow.io?x=1",
            "https://api.runflow.io/#f",
            "https://api.runflow.io?",
            "https://",
            "https://host:port",
            "https://a b",
            "api.runflow.io",
            7,
        ],
    )
    def test_refuses_a_base_url_that_is_unsafe_or_none(self, url):
        """Row 137."""
        with pytest.raises(ValueError):
            RunflowSession("k", base_url=url)

    @pytest.mark.parametrize(
        "url", ["https://api.runflow.io/", "http://localhost:1", "http://127.8.9.1", "http://[::1]:80/prefix/"]
    )
    def test_takes_https_and_loopback(self, url):
        assert url.rstrip("/") in repr(RunflowSession("k", base_url=url))

    def test_says_in_which_unit_a_rate_is(self):
        with pytest.raises(ConfigurationError, match="max_rate must be a finite number of requests per second"):
            RunflowSession("k", max_rate=0)

    @pytest.mark.parametrize(
        "keywords",
        [
            {"request_timeout": 0},
            {"request_timeout": True},
            {"request_timeout": "1"},
            {"max_connections": 0},
            {"max_connections": 1.5},
            {"max_rate": -1},
            {"max_response_bytes": 0},
            {"max_retry_after": float("inf")},
            {"retry": 3},
            {"organization_id": "a b"},
        ],
    )
    def test_refuses_settings_that_make_no_sense(self, keywords):
        with pytest.raises(ValueError):
            RunflowSession("k", **keywords)

    @pytest.mark.parametrize(
        "keywords",
        [
            {f"{name}": value}
            for name in ("timeout", "interval", "max_outage")
            for value in (-1, float("nan"), True, "5")
        ]
        + [{"timeout": float("inf")}, {"interval": 0}, {"max_outage": 0}, {"until": 1}, {"since": {}}]
        + [{"since": Batch(id=UUID(int=1))}],
    )
    async def test_refuses_keywords_of_a_wait_at_the_call(self, keywords):
        with pytest.raises(ValueError):
            RunflowSession("k").wait_for_batch(UUID(int=2), **keywords)

    @pytest.mark.parametrize(
        "batch_id",
        ["../../v1/admin", "..", "%2e%2e/x", "a?x=1", "a#f", "//evil", "http://evil", "", "x" * 5000, None, 7, b"x"]
        + [f"11111111-2222-4333-8444-55555555555{c}" for c in "\r\n\0\t_ "],
    )
    async def test_refuses_what_is_no_batch_id_at_the_call(self, batch_id):
        session = RunflowSession("k")
        with pytest.raises(ValueError, match="batch_id"):
            session.wait_for_batch(batch_id)
        with pytest.raises(ValueError, match="batch_id"):
            await session.get_batch(batch_id)

    async def test_refuses_an_interval_beside_an_expected_callback(self, session):
        with pytest.raises(ConfigurationError, match="expect_callback"):
            session.wait_for_batch(uuid4(), expect_callback=True, interval=3)

    def test_shows_no_secret(self):
        session = RunflowSession("rf_live_canary", base_url="https://api.runflow.io")
        assert "canary" not in repr(session) + repr(vars(session)) + repr(vars(session._transport))

    async def test_belongs_to_one_event_loop(self, emulator, session):
        batch_id = emulator.create_batch()
        await session.get_batch(batch_id)

        def elsewhere() -> None:
            asyncio.run(session.get_batch(batch_id))

        with pytest.raises(RuntimeError, match="one event loop"):
            await asyncio.to_thread(elsewhere)
        assert (await session.get_batch(batch_id)).id == batch_id
