"""What the emulator posts when a batch has ended, received over a real socket."""

from __future__ import annotations

import asyncio
import gc
import hmac
import json
import math
import ssl
from contextlib import asynccontextmanager
from hashlib import sha256
from uuid import UUID

import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from runflow_async import RunflowSession
from runflow_async.callbacks import callback_application, parse_callback, verify_signature
from runflow_async.emulator import Emulator
from runflow_async.emulator.serve import serve
from tests.emulator.conftest import until

SECRET = "a callback secret"
ENDED = [(0.0, "succeeded")]
SOON = [(0.0, "queued"), (0.01, "running"), (0.03, "succeeded")]


class Receiver:
    """Takes callbacks; answers them with `statuses`, and once these are used up with 200."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.bodies = []
        self.headers = []
        self.instants = []
        self.on_receipt = lambda: None
        self.before_response = self.respond_at_once
        self.url = None

    async def respond_at_once(self):
        pass

    async def take(self, request):
        self.bodies.append(await request.read())
        self.headers.append(request.headers)
        self.instants.append(asyncio.get_running_loop().time())
        self.on_receipt()
        await self.before_response()
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status, headers={"Location": "/elsewhere"} if 300 <= status < 400 else None)


@asynccontextmanager
async def receiving(*statuses):
    receiver = Receiver(*statuses)
    application = web.Application()
    application.router.add_post("/hook", receiver.take)
    async with TestServer(application) as server:
        receiver.url = str(server.make_url("/hook"))
        yield receiver


async def settle(emulator):
    """Wait until the emulator has nothing left to deliver."""
    await until(lambda: not emulator._deliveries._tasks)


def outcomes(emulator):
    return [(sent.attempt, sent.status) for sent in emulator.callbacks]


@pytest.mark.looptime
async def test_the_command_signs_what_it_posts_with_the_secret_of_its_environment(monkeypatch):
    monkeypatch.setenv("RUNFLOW_CALLBACK_SECRET", SECRET)
    shown: list[str] = []
    serving = asyncio.create_task(serve(0, show=shown.append))
    await until(lambda: len(shown) == 6)
    url, key = (line.partition("=")[2] for line in shown[1:3])
    async with receiving() as receiver, RunflowSession(key, base_url=url) as session:
        await (await session.create_batch("acme/draw", [{}], callback_url=receiver.url))
        await until(lambda: receiver.bodies)
        verify_signature(SECRET, receiver.bodies[0], receiver.headers[0]["Runflow-Signature"])
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_one_callback_says_how_a_batch_ended():
    async with receiving() as receiver, Emulator() as emulator:
        seen = []
        receiver.on_receipt = lambda: seen.append(emulator.snapshot(batch_id)["status_code"])
        batch_id = emulator.create_scripted_batch([SOON, SOON], callback_url=receiver.url, metadata={"order": [1]})
        await settle(emulator)
        assert seen == ["succeeded"]  # no callback comes before an answer that says the same
        snapshot = emulator.snapshot(batch_id)
        names = ("output", "duration_ms", "created_at", "completed_at", "metadata")
        expected = {name: snapshot[name] for name in names}
        (body,) = receiver.bodies
        assert json.loads(body) == {
            "event": "batch.succeeded",
            "batch_id": str(batch_id),
            "status": "succeeded",
            **expected,
        }
        assert expected["duration_ms"] == 20
        assert expected["metadata"] == {"order": [1]}
        (sent,) = emulator.callbacks
        assert (sent.batch_id, sent.url, sent.body) == (batch_id, receiver.url, body)
        assert (sent.status, sent.attempt) == (200, 1)


@pytest.mark.parametrize(
    ("statuses", "event", "status"),
    [
        (["failed"], "batch.failed", "failed"),
        (["failed", "succeeded"], "batch.partial_succeeded", "partial_succeeded"),
        (["canceled"], "batch.cancelled", "canceled"),
    ],
)
async def test_events_have_the_names_of_the_api(statuses, event, status):
    async with receiving() as receiver, Emulator() as emulator:
        emulator.create_scripted_batch([[(0.0, item)] for item in statuses], callback_url=receiver.url)
        await settle(emulator)
        parsed = parse_callback(receiver.bodies[0])
    assert (parsed.event, parsed.status, parsed.is_terminal) == (event, status, True)


async def test_the_raw_body_is_signed_with_the_secret():
    async with receiving() as receiver, Emulator(callback_secret=SECRET) as emulator:
        emulator.create_batch(3, 0.02, callback_url=receiver.url)
        await settle(emulator)
    (body,), (headers,) = receiver.bodies, receiver.headers
    assert headers["Runflow-Signature"] == hmac.new(SECRET.encode(), body, sha256).hexdigest()
    assert headers["Content-Type"] == "application/json"
    assert UUID(headers["Runflow-Request-Id"])
    assert SECRET not in repr(emulator)


async def test_without_a_secret_there_is_no_signature():
    async with receiving() as receiver, Emulator() as emulator:
        emulator.create_batch(3, 0.02, callback_url=receiver.url)
        await settle(emulator)
    assert "Runflow-Signature" not in receiver.headers[0]
    assert UUID(receiver.headers[0]["Runflow-Request-Id"])


async def test_a_refused_callback_is_retried_after_growing_delays_until_it_is_accepted():
    async with receiving(500, 302, 404) as receiver, Emulator(callback_secret=SECRET) as emulator:
        emulator.create_scripted_batch([ENDED], callback_url=receiver.url)
        await settle(emulator)
        assert outcomes(emulator) == [(1, 500), (2, 302), (3, 404), (4, 200)]
    assert len(set(receiver.bodies)) == 1
    assert len({headers["Runflow-Request-Id"] for headers in receiver.headers}) == 4
    for index, delay in enumerate((0.05, 0.1, 0.2)):
        assert receiver.instants[index + 1] - receiver.instants[index] >= delay - 0.001


async def test_a_callback_that_is_never_accepted_is_given_up_after_five_attempts():
    async with Emulator() as emulator:
        emulator.create_scripted_batch([ENDED], callback_url=f"http://127.0.0.1:{unused_port()}/")
        await settle(emulator)
        assert outcomes(emulator) == [(attempt, None) for attempt in range(1, 6)]


async def test_a_connection_that_breaks_counts_as_an_attempt():
    async def cut(_, writer):
        writer.transport.abort()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Emulator() as emulator:
        emulator.create_scripted_batch([ENDED], callback_url=f"http://localhost:{port}/")
        await until(lambda: len(emulator.callbacks) >= 2)
        assert outcomes(emulator)[:2] == [(1, None), (2, None)]


async def test_a_callback_is_delivered_callback_times():
    async with receiving(200, 500) as receiver, Emulator() as emulator:
        batch_id = emulator.create_batch(3, 0.02, callback_url=receiver.url, callback_times=2)
        await settle(emulator)
        assert outcomes(emulator) == [(1, 200), (1, 500), (2, 200)]
        assert {sent.batch_id for sent in emulator.callbacks} == {batch_id}
    assert len(set(receiver.bodies)) == 1


async def test_each_batch_has_its_own_callback_and_those_without_a_url_have_none():
    async with receiving() as receiver, Emulator() as emulator:
        expected = {emulator.create_batch(2, 0.02 + 0.005 * i, callback_url=receiver.url) for i in range(10)}
        emulator.create_batch(2, 0.02)
        await settle(emulator)
    assert {parse_callback(body).batch_id for body in receiver.bodies} == expected
    assert len(receiver.bodies) == 10


async def test_batches_from_before_the_start_get_their_callbacks_once_it_listens():
    async with receiving() as receiver:
        emulator = Emulator()
        batch_id = emulator.create_scripted_batch([SOON], callback_url=receiver.url)
        assert not emulator._deliveries._tasks
        async with emulator:
            await settle(emulator)
        async with emulator:
            assert not emulator._deliveries._tasks
    assert [parse_callback(body).batch_id for body in receiver.bodies] == [batch_id]


@pytest.mark.parametrize(
    ("timelines", "status_timeline"),
    [
        ([ENDED, [(0.0, "running")]], None),
        ([ENDED], [(0.0, "running")]),
        ([ENDED], [(0.0, "succeeded"), (0.0, "running")]),
        ([[(0.0, "succeeded"), (1.0, "running")], [(2.0, "failed")]], None),
    ],
)
async def test_a_batch_that_never_ends_has_no_callback(timelines, status_timeline):
    async with Emulator() as emulator:
        emulator.create_scripted_batch(timelines, status_timeline=status_timeline, callback_url="http://127.0.0.1:9/")
        assert not emulator._deliveries._tasks


@pytest.mark.parametrize(
    ("timelines", "status_timeline", "expected"),
    [
        ([[(0.0, "queued"), (3.0, "failed")], [(1.0, "succeeded")]], None, 3.0),
        ([[(0.0, "succeeded"), (1.0, "queued"), (4.0, "failed")], [(2.0, "canceled")]], None, 4.0),
        ([[(0.0, "succeeded"), (3.0, "queued")], [(2.0, "canceled")]], None, 2.0),
        ([[(0.0, "running")]], [(1.0, "running"), (2.5, "partial_succeeded"), (3.0, "running")], 2.5),
        ([ENDED], [(1.0, "running")], math.inf),
    ],
)
async def test_a_callback_comes_when_the_responses_first_show_the_end(
    emulator, clock, timelines, status_timeline, expected
):
    batch = emulator._batches.by_id[emulator.create_scripted_batch(timelines, status_timeline=status_timeline)]
    assert batch.ends() == expected
    if expected < math.inf:
        terminal = [batch.snapshot_after(expected + late)["completed_at"] is not None for late in (-0.001, 0.0)]
        assert terminal == [False, True]


async def test_callbacks_follow_another_clock(clock):
    async with receiving() as receiver, Emulator(clock=clock) as emulator:
        first = emulator.create_scripted_batch([[(0.0, "queued"), (5.0, "failed")]], callback_url=receiver.url)
        second = emulator.create_scripted_batch([[(0.0, "queued"), (7.0, "succeeded")]], callback_url=receiver.url)
        for batch_id, instant in ((first, 1005.0), (second, 1007.0)):
            clock.now = instant
            await until(lambda: receiver.bodies)
            assert [parse_callback(body).batch_id for body in receiver.bodies] == [batch_id]
            receiver.bodies.clear()


async def test_https_on_loopback_needs_no_trusted_certificate():
    receiver = Receiver()
    application = web.Application()
    application.router.add_post("/", receiver.take)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    server = TestServer(application, scheme="https")
    await server.start_server(ssl=context)
    async with Emulator() as emulator:
        emulator.create_scripted_batch([ENDED], callback_url=str(server.make_url("/")))
        await settle(emulator)
        assert outcomes(emulator) == [(1, 200)]
    await server.close()


async def test_a_session_accepts_the_callbacks_of_the_emulator():
    """End to end: one poll before the end, and one for the callback."""
    async with Emulator(callback_secret=SECRET) as emulator:
        async with RunflowSession(emulator.api_key, base_url=emulator.url) as session:
            async with TestServer(callback_application(session, SECRET)) as server, asyncio.timeout(60):
                url = str(server.make_url("/"))
                batch_id = emulator.create_batch(3, 0.2, callback_url=url, callback_times=2)
                batch = await session.wait_for_batch(batch_id, interval=60)
                assert batch.is_terminal
                await settle(emulator)
        assert outcomes(emulator) == [(1, 200), (1, 200)]
        assert len(emulator.requests) <= 2


@pytest.mark.parametrize("answers", [True, False], ids=["between two attempts", "in the middle of one"])
async def test_closing_cancels_a_delivery_and_the_next_start_resumes_it(answers):
    arrived, let_go = asyncio.Event(), asyncio.Event()

    async def take(_):
        arrived.set()
        if not answers:
            await let_go.wait()
        return web.Response(status=200 if let_go.is_set() else 503)

    application = web.Application()
    application.router.add_post("/", take)
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with TestServer(application) as server:
        before = asyncio.all_tasks()
        emulator = Emulator()
        await emulator.start()
        emulator.create_scripted_batch([ENDED], callback_url=str(server.make_url("/")))
        emulator.create_scripted_batch([[(3600.0, "failed")]], callback_url=str(server.make_url("/")))
        await arrived.wait()
        if answers:
            await until(lambda: len(emulator.callbacks) == 2)
        async with asyncio.timeout(60):
            await emulator.close()
        assert not emulator._deliveries._tasks
        let_go.set()
        await until(lambda: asyncio.all_tasks() <= before)
        emulator.callbacks.clear()
        async with emulator:
            await until(lambda: emulator.callbacks)
            assert outcomes(emulator) == [(1, 200)]
    gc.collect()
    assert reported == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/done",
        "http://127.0.0.1.example.com/",
        "http://127.0.0.1@example.com/",
        "http://192.168.0.1/",
        "http://0.0.0.0/",
        "ftp://127.0.0.1/",
        "http://127.0.0.1:99999/",
        "http://[::1/",
        "//127.0.0.1/",
        "/done",
        "",
        7,
    ],
)
def test_a_callback_to_anywhere_but_loopback_is_refused(clock, url):
    emulator = Emulator(clock=clock)
    with pytest.raises(ValueError, match="callback_url must be an http or https URL on loopback"):
        emulator.create_batch(callback_url=url)
    assert not emulator._batches.by_id


@pytest.mark.parametrize(
    "url", [None, "http://127.0.0.1:1", "HTTPS://LOCALHOST/x?y=z", "http://[::1]:8/", "http://127.9.9.9/"]
)
def test_a_callback_to_any_name_of_loopback_is_accepted(clock, url):
    emulator = Emulator(clock=clock)
    assert emulator.snapshot(emulator.create_batch(callback_url=url))["callback_url"] == url


@pytest.mark.parametrize("times", [0, -1, 1.5, True, "2"])
def test_an_invalid_number_of_deliveries_is_an_error(clock, times):
    with pytest.raises(ValueError, match="callback_times must be a positive whole number"):
        Emulator(clock=clock).create_batch(callback_url="http://localhost/", callback_times=times)


@pytest.mark.parametrize("secret", ["", b"bytes", 7, "\ud800"])
def test_an_invalid_secret_is_an_error(secret):
    with pytest.raises(ValueError):
        Emulator(callback_secret=secret)
