"""Callbacks mounted in the applications of ASGI frameworks; `test_callbacks` has what they answer."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from uuid import UUID

import aiohttp
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from runflow_async.asgi import callback_asgi
from tests.rig import eventually, on_uvicorn
from tests.test_callbacks import BODY, SECRET, callback, sign


def starlette_mount(app):
    return Starlette(routes=[Mount("/runflow", app)])


def starlette_nested(app):
    return Starlette(routes=[Mount("/api", Starlette(routes=[Mount("/runflow", app)]))])


def fastapi_mount(app):
    outer = FastAPI()
    outer.mount("/runflow", app)
    return outer


def litestar_mount(app):
    litestar = pytest.importorskip("litestar", reason="litestar is not installed")
    return litestar.Litestar([litestar.asgi("/runflow", is_mount=True, copy_scope=True)(app)])


@pytest.mark.parametrize(
    ("mount", "path"),
    [
        (starlette_mount, "/runflow/hook"),
        (starlette_nested, "/api/runflow/hook"),
        (fastapi_mount, "/runflow/hook"),
        (litestar_mount, "/runflow/hook"),
    ],
)
async def test_is_found_where_it_is_mounted_and_keeps_its_bound(session, mount, path):
    app = mount(callback_asgi(session, SECRET, path="/hook", max_body=1000))
    fits, large = (callback(UUID(int=8)).ljust(size) for size in (1000, 1001))
    async with on_uvicorn(app) as url, aiohttp.ClientSession() as http:
        for where, body, status in [(path, fits, 200), (path, large, 413), (f"{path}/x", fits, 404)]:
            headers = {"Runflow-Signature": sign(body)}
            async with http.post(url + where, data=body, headers=headers) as answer:
                assert answer.status == status


async def test_is_an_endpoint_of_a_route(session):
    app = Starlette(routes=[Route("/runflow", callback_asgi(session, SECRET, path="/runflow"), methods=["POST"])])
    async with on_uvicorn(app) as url, aiohttp.ClientSession() as http:
        async with http.post(f"{url}/runflow", data=BODY, headers={"Runflow-Signature": sign(BODY)}) as answer:
            assert answer.status == 200


async def test_is_found_behind_a_proxy_that_strips_a_path(session):
    app = callback_asgi(session, SECRET, path="/hook")
    async with on_uvicorn(app, root_path="/behind") as url, aiohttp.ClientSession() as http:
        async with http.post(f"{url}/hook", data=BODY, headers={"Runflow-Signature": sign(BODY)}) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    ("root", "path", "status"),
    [
        ("", "/", 401),
        ("/runflow", "/runflow", 401),
        ("/runflow", "/runflow/", 401),
        ("/runflow/", "/runflow/", 401),
        ("/runflow", "/", 401),
        ("/runflow", "/runflower", 404),
        ("", "", 401),
    ],
)
async def test_its_root_may_be_spelled_with_or_without_a_slash(session, root, path, status):
    scope = {"type": "http", "method": "POST", "path": path, "root_path": root, "headers": []}
    assert (await call(callback_asgi(session, SECRET), scope, body(BODY)))[0]["status"] == status


def body(*pieces: bytes, ends: bool = True) -> list[dict[str, object]]:
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    return [*messages, {"type": "http.request"} if ends else {"type": "http.disconnect"}]


async def call(app, scope, messages) -> list[dict[str, object]]:
    """Call an application with these messages, and return what it sends."""
    sent, left = [], iter(messages)

    async def receive():
        return next(left)

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return sent


HTTP = {"type": "http", "method": "POST", "path": "/", "headers": [(b"Runflow-Signature", sign(BODY).encode())]}


async def test_a_body_in_pieces_is_one(session):
    sent = await call(callback_asgi(session, SECRET), HTTP, body(BODY[:9], b"", BODY[9:]))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 200


async def test_no_more_is_read_of_a_large_body_than_shows_its_size(session):
    app = callback_asgi(session, SECRET, max_body=10)
    assert (await call(app, HTTP, body(b"12345", b"67890", b"1")[:3]))[0]["status"] == 413


async def test_a_client_that_leaves_in_the_middle_gets_no_answer(session):
    assert await call(callback_asgi(session, SECRET), HTTP, body(BODY, ends=False)) == []


async def test_a_lifespan_is_answered_to_its_end_and_leaves_the_session_open(session):
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = await call(callback_asgi(session, SECRET), {"type": "lifespan"}, events)
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert not session._lifetime.is_closed()


async def test_a_websocket_is_refused_and_a_protocol_of_the_future_too(session):
    app = callback_asgi(session, SECRET)
    assert await call(app, {"type": "websocket", "path": "/"}, []) == [{"type": "websocket.close", "code": 1000}]
    with pytest.raises(NotImplementedError, match="'webtransport'"):
        await call(app, {"type": "webtransport"}, [])


async def test_a_framework_that_opens_the_session_in_its_lifespan_finds_it_in_the_state(emulator, session):
    @asynccontextmanager
    async def lifespan(_app):
        yield {"callbacks": callback_asgi(session, SECRET, path="/hook")}

    async def receive_callback(scope, receive, send):
        await scope["state"]["callbacks"](scope, receive, send)

    app = FastAPI(lifespan=lifespan)
    app.mount("/runflow", receive_callback)

    batch_id = emulator.create_scripted_batch([[(0.0, "running"), (0.1, "succeeded")]])
    wait = session.wait_for_batch(batch_id, interval=60)
    await anext(wait)
    async with on_uvicorn(app) as url, aiohttp.ClientSession() as http:
        waiting = asyncio.ensure_future(wait)
        await eventually(lambda: emulator.snapshot(batch_id)["completed_at"])
        signed = {"Runflow-Signature": sign(callback(batch_id))}
        async with http.post(f"{url}/runflow/hook", data=callback(batch_id), headers=signed) as answer:
            assert answer.status == 200
        assert (await waiting).is_terminal
