"""Callbacks: who signed them, what they say, and what is done about them."""

from __future__ import annotations

import asyncio
import gzip
import hmac
import json
import shutil
import subprocess
import sys
import zlib
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import UUID

import aiohttp
import brotli
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from runflow_async import ConfigurationError, InvalidSignatureError, MalformedResponseError, RunflowSession
from runflow_async._callbacks import MOST_REMEMBERED, Receiver
from runflow_async.asgi import callback_asgi
from runflow_async.callbacks import callback_application, parse_callback, verify_signature
from tests.rig import eventually, on_uvicorn

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "a callback secret"
BODY = b'{"event":"batch.succeeded","batch_id":"00000000-0000-0000-0000-000000000001","status":"succeeded"}'


def sign(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, sha256).hexdigest()


def callback(batch_id: UUID, **fields: object) -> bytes:
    document = {"event": "batch.succeeded", "batch_id": str(batch_id), "status": "succeeded", "output": None}
    return json.dumps(document | fields).encode()


class TestSignatures:
    def test_are_hmac_sha256_of_the_raw_body_in_lowercase_hex(self):
        verify_signature(SECRET, BODY, "2b0ef2d8464946c6fe956adbae733a3363fff793f68a433a9cfe053ec6e607a5")

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to ask")
    def test_of_openssl_verify(self):
        command = ["openssl", "dgst", "-sha256", "-hmac", SECRET]
        said = subprocess.run(command, input=BODY, capture_output=True, check=True).stdout.decode()
        verify_signature(SECRET, BODY, said.split("= ")[1].strip())

    def test_of_either_secret_verify_during_a_rotation(self):
        for secret in ("old", "new"):
            verify_signature(["old", "new"], BODY, sign(BODY, secret))

    @pytest.mark.parametrize(
        "signature",
        [
            None,
            "",
            sign(BODY)[:-1],
            sign(BODY) + "0",
            sign(BODY).upper(),
            " " + sign(BODY),
            "sha256=" + sign(BODY),
            sign(BODY, "another secret"),
            "é" * 64,
            "\u0660" * 64,
            b"0" * 64,
        ],
    )
    def test_that_are_not_right_to_the_letter_do_not(self, signature):
        with pytest.raises(InvalidSignatureError) as caught:
            verify_signature(SECRET, BODY, signature)
        assert SECRET not in str(caught.value)

    def test_do_not_survive_a_flipped_bit(self):
        for position in range(0, 8 * len(BODY), 37):
            flipped = bytearray(BODY)
            flipped[position // 8] ^= 1 << position % 8
            with pytest.raises(InvalidSignatureError):
                verify_signature(SECRET, bytes(flipped), sign(BODY))
        for digit in range(64):
            right = sign(BODY)
            wrong = f"{right[:digit]}{int(right[digit], 16) ^ 1:x}{right[digit + 1 :]}"
            with pytest.raises(InvalidSignatureError):
                verify_signature(SECRET, BODY, wrong)

    @pytest.mark.parametrize("secrets", ["", [], [""], ["good", ""], [None], [b"bytes"], b"x", None, 5, "\ud800"])
    def test_need_a_secret_that_is_not_empty(self, secrets):
        with pytest.raises(ConfigurationError):
            verify_signature(secrets, BODY, sign(BODY, ""))
        for make in (callback_application, callback_asgi):
            with pytest.raises(ConfigurationError):
                make(None, secrets)


class TestBodies:
    def test_are_typed(self):
        body = callback(
            UUID(int=1),
            duration_ms=12,
            created_at="2026-01-02T03:04:05Z",
            completed_at="2026-01-02T03:05:05+01:00",
            metadata={"a": 1},
            future="field",
        )
        parsed = parse_callback(body)
        assert (parsed.batch_id, parsed.event, parsed.duration_ms) == (UUID(int=1), "batch.succeeded", 12)
        assert (parsed.created_at.year, parsed.metadata, parsed.is_terminal) == (2026, {"a": 1}, True)

    def test_may_name_an_event_of_the_future(self):
        assert not parse_callback(callback(UUID(int=1), event="batch.paused", status="paused")).is_terminal

    @pytest.mark.parametrize(
        ("field", "value"), [("output", []), ("duration_ms", "1"), ("created_at", "noon"), ("metadata", 1)]
    )
    def test_keep_the_rest_where_one_value_is_odd(self, caplog, field, value):
        parsed = parse_callback(callback(UUID(int=1), **{field: value}))
        assert getattr(parsed, field) is None
        assert parsed.status == "succeeded"
        assert field in caplog.text

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b"{}", b'{"event": "x"}', b'{"event": 1, "batch_id": 2}', b'{"x": ' + b"[" * 10**5]
    )
    def test_that_are_no_callback_are_refused(self, body):
        with pytest.raises(MalformedResponseError):
            parse_callback(body)

    @pytest.mark.parametrize(
        ("body", "where"),
        [
            (b'{"event": 1, "batch_id": "00000000-0000-0000-0000-000000000001"}', "$.event"),
            (b'{"event": "x", "batch_id": "one"}', "$.batch_id"),
            (b'{"event": "x"}', "$"),
            (b"\xff", "$"),
        ],
    )
    def test_that_are_refused_say_where(self, body, where):
        with pytest.raises(MalformedResponseError) as caught:
            parse_callback(body)
        assert caught.value.where == where

    @pytest.mark.parametrize("number", ["9" * 5000, "1e999"])
    def test_keep_the_rest_where_a_number_is_beyond_reading(self, caplog, number):
        body = callback(UUID(int=1)).replace(b'"output": null', b'"output": {"a": %s}' % number.encode())
        parsed = parse_callback(body)
        assert (parsed.output, parsed.status) == (None, "succeeded")
        assert "output" in caplog.text

    def test_keep_their_texts_without_halves_of_surrogate_pairs(self, caplog):
        body = callback(UUID(int=1), metadata={"\ud800": "\udfff"}, status="\ud800")[:-1] + b', "x": NaN}'
        parsed = parse_callback(body)
        assert (parsed.metadata, parsed.status) == ({"\ufffd": "\ufffd"}, "\ufffd")
        assert len(caplog.records) == 1

    def test_may_hold_nan_where_nobody_reads_and_bytes_that_are_no_text(self):
        body = BODY[:-1] + b', "x": NaN, "status": "caf\xe9", "\xff": 1}'
        assert parse_callback(body).status == "caf\ufffd"

    def test_may_begin_with_a_byte_order_mark(self):
        assert parse_callback(b"\xef\xbb\xbf" + BODY).batch_id == UUID(int=1)

    @given(st.binary() | st.integers(0, len(BODY)).map(lambda cut: BODY[:cut] + b"\xff" + BODY[cut + 1 :]))
    def test_of_any_bytes_are_parsed_or_refused(self, body):
        with suppress(MalformedResponseError):
            assert parse_callback(body).event


class Client:
    """Posts callbacks to an application over a real socket."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.url = url

    async def post(self, body: object, signature: str | None = None, **more: str) -> int:
        headers = more if signature is None else {"Runflow-Signature": signature, **more}
        async with self.http.post(self.url, data=body, headers=headers) as response:
            return response.status


@asynccontextmanager
async def on_aiohttp(app: web.Application) -> AsyncIterator[str]:
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


def asgi_server(parser: str):
    return lambda app: on_uvicorn(app, http=parser)


SERVERS = [
    pytest.param(callback_application, on_aiohttp, id="aiohttp"),
    pytest.param(callback_asgi, asgi_server("h11"), id="uvicorn"),
]


@pytest.mark.parametrize(("make", "serve"), SERVERS)
class TestApplication:
    @pytest.fixture
    def receiving(self, make, serve):
        @asynccontextmanager
        async def receiving(session: RunflowSession, **keywords: object) -> AsyncIterator[Client]:
            app = make(session, [SECRET], path="/hook", **keywords)
            async with serve(app) as url, aiohttp.ClientSession() as http:
                yield Client(http, f"{url}/hook")

        return receiving

    async def test_ends_a_wait_within_a_round_trip(self, receiving, emulator, session):
        batch_id = emulator.create_batch(items=2, duration=0.3)
        wait = session.wait_for_batch(batch_id, expect_callback=True)
        async for _ in wait:
            break
        async with receiving(session) as receiver:
            task = asyncio.ensure_future(wait)
            await eventually(lambda: emulator.snapshot(batch_id)["completed_at"])
            body = callback(batch_id)
            assert await receiver.post(body, sign(body)) == 200
            assert (await task).is_terminal
        assert wait.stats.polls == 2

    async def test_acts_once_on_what_comes_twice(self, receiving, emulator, session):
        batch_id = emulator.create_batch(duration=99)
        wait = session.wait_for_batch(batch_id, expect_callback=True)
        await anext(wait)
        body = callback(batch_id)
        nudged = []
        wait._run.watch(lambda: nudged.append(batch_id))
        async with receiving(session) as receiver:
            assert [await receiver.post(body, sign(body)) for _ in range(3)] == [200] * 3
        assert nudged == [batch_id]

    async def test_refuses_what_is_forged_and_does_nothing(self, receiving, emulator, session, caplog):
        batch_id = emulator.create_batch(duration=99)
        wait = session.wait_for_batch(batch_id, expect_callback=True)
        await anext(wait)
        nudged = []
        wait._run.watch(lambda: nudged.append(batch_id))
        body = callback(batch_id)
        async with receiving(session) as receiver:
            assert [await receiver.post(body, s) for s in (None, "x", sign(body, "guess"))] == [401] * 3
        assert nudged == []
        assert SECRET not in caplog.text

    async def test_tells_what_is_wrong_by_the_status(self, receiving, session, caplog):
        async with receiving(session, max_body=1000) as receiver:
            assert await receiver.post(b"{}", sign(b"{}")) == 400
            assert "callback without a request id rejected: " in caplog.text
            large = b" " * 1001
            assert await receiver.post(large, sign(large)) == 413
            unknown = callback(UUID(int=5))
            assert await receiver.post(unknown, sign(unknown)) == 200
            await session.close()
            other = callback(UUID(int=6))
            assert await receiver.post(other, sign(other)) == 503

    async def test_ends_a_wait_of_long_intervals_soon_after_its_batch(self, receiving, emulator, session):
        batch_id = emulator.create_batch(items=2, duration=0.15)
        wait = session.wait_for_batch(batch_id, interval=60)
        await anext(wait)
        async with receiving(session) as receiver:
            waiting = asyncio.ensure_future(wait)
            await eventually(lambda: emulator.snapshot(batch_id)["completed_at"])
            body = callback(batch_id)
            assert await receiver.post(body, sign(body)) == 200
            assert (await waiting).is_terminal
        assert wait.stats.elapsed < 60

    async def test_refuses_large_bodies_however_they_come(self, receiving, session):
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b" " * 100

        async with receiving(session, max_body=1000) as receiver:
            fits = callback(UUID(int=7)).ljust(1000)
            assert await receiver.post(fits, sign(fits)) == 200
            assert await receiver.post(chunks(), sign(b" " * 2000)) == 413
            bomb = gzip.compress(b" " * 10**6)
            assert await receiver.post(bomb, sign(bomb), **{"Content-Encoding": "gzip"}) == 413
            assert await receiver.post(b"none", sign(b"none"), **{"Content-Encoding": "gzip"}) == 400

    async def test_verifies_compressed_bodies_as_they_were_before(self, receiving, session):
        async with receiving(session) as receiver:
            packed, how = gzip.compress(BODY), {"Content-Encoding": "gzip"}
            assert await receiver.post(packed, sign(BODY), **how) == 200
            assert await receiver.post(packed, sign(packed), **how) == 401

    @pytest.mark.parametrize("coding", ["deflate", "Deflate", "br", "zstd", "identity", "x-none", "utf-8"])
    async def test_knows_the_compressions_of_aiohttp_and_takes_others_as_none(self, receiving, session, coding):
        pack = {"deflate": zlib.compress, "br": brotli.compress, "zstd": zstd.compress}.get(coding.lower(), bytes)
        async with receiving(session) as receiver:
            packed, how = pack(BODY), {"Content-Encoding": coding}
            assert await receiver.post(packed, sign(BODY), **how) == 200

    @pytest.mark.parametrize("max_body", [0, -1, True, 1.5])
    def test_needs_a_bound_of_bodies(self, make, serve, max_body):
        with pytest.raises(ConfigurationError):
            make(None, SECRET, max_body=max_body)

    async def test_has_no_other_path_and_no_other_method(self, receiving, session):
        async with receiving(session) as receiver:
            async with receiver.http.get(receiver.url) as answer:
                assert (answer.status, answer.headers["Allow"]) == (405, "POST")
            for path in ("", "/", "/hook/hook", "/x/hook"):
                async with receiver.http.post(receiver.url.removesuffix("/hook") + path) as answer:
                    assert answer.status == 404

    async def test_says_what_is_wrong_as_json(self, receiving, session):
        async with receiving(session) as receiver:
            async with receiver.http.post(receiver.url, data=BODY) as answer:
                assert "Runflow-Signature is missing" in (await answer.json())["error"]
            async with receiver.http.post(receiver.url, data=BODY, headers={"runflow-signature": sign(BODY)}) as answer:
                assert (answer.status, await answer.json()) == (200, {})

    async def test_keeps_the_secrets_it_was_made_with(self, make, serve, session):
        secrets = [SECRET]
        application = make(session, secrets)
        secrets.clear()
        async with serve(application) as url, aiohttp.ClientSession() as http:
            assert await Client(http, f"{url}/").post(BODY, sign(BODY)) == 200

    async def test_names_the_request_it_refuses_without_control_characters(self, receiving, session, caplog):
        async with receiving(session) as receiver:
            name = {"Runflow-Request-Id": "one\u202etwo"}
            assert await receiver.post(BODY, sign(BODY, "guess"), **name) == 401
        assert "one" in caplog.text
        assert "\u202e" not in caplog.text


@pytest.mark.parametrize("is_read_before", [False, True])
async def test_an_application_of_aiohttp_keeps_its_bound_where_it_is_mounted(session, is_read_before):
    @web.middleware
    async def read_before(request, handler):
        await request.read()
        return await handler(request)

    outer = web.Application(client_max_size=10**6, middlewares=[read_before] if is_read_before else [])
    outer.add_subapp("/runflow", callback_application(session, SECRET, path="/hook", max_body=1000))
    fits, large = (callback(UUID(int=8)).ljust(size) for size in (1000, 1001))
    async with TestServer(outer) as server, aiohttp.ClientSession() as http:
        receiver = Client(http, str(server.make_url("/runflow/hook")))
        assert await receiver.post(fits, sign(fits)) == 200
        assert await receiver.post(large, sign(large)) == 413


async def test_callbacks_are_remembered_in_bounded_memory_whatever_their_events_are_called(session):
    receiver = Receiver(session, SECRET)
    known = receiver._known
    known.update({(UUID(int=number), b""): None for number in range(MOST_REMEMBERED)})
    body = callback(UUID(int=1), event="x" * 10**5)
    assert receiver.answer(body, sign(body), None).status == 200
    assert len(known) == MOST_REMEMBERED
    assert (UUID(int=0), b"") not in known
    assert max(len(event) for _, event in known) == 32
