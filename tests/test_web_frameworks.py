"""Plain tests of applications that use the package, with the test client of each framework, as users write them."""

from __future__ import annotations

import functools
from contextlib import asynccontextmanager
from uuid import uuid4

import flask
import pytest
from django.conf import settings
from django.http import HttpResponse, JsonResponse
from django.test import Client, override_settings
from django.urls import path
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from starlette.responses import StreamingResponse

from runflow_async import InvalidSignatureError, RunflowSession, blocking
from runflow_async.asgi import callback_asgi
from runflow_async.callbacks import parse_callback, verify_signature
from runflow_async.emulator import faults
from runflow_async.pytest_plugin import runflow_emulator_url, runflow_threaded_emulator
from runflow_async.sse import since_of, sse
from tests.test_callbacks import BODY, SECRET, callback, sign

__all__ = ["runflow_emulator_url", "runflow_threaded_emulator"]  # as the plugin offers them

SCRIPT = [[(0.0, "running"), (0.1, "succeeded")]]
SIGNED = {"Runflow-Signature": sign(BODY)}
FORGED = {"Runflow-Signature": sign(BODY, "guess")}


@asynccontextmanager
async def lifespan(_app: FastAPI):
    async with RunflowSession() as session:
        yield {"session": session, "callbacks": callback_asgi(session, SECRET, path="/callback")}


async def receive_callback(scope, receive, send):
    await scope["state"]["callbacks"](scope, receive, send)


fastapi_app = FastAPI(lifespan=lifespan)
fastapi_app.mount("/runflow", receive_callback)


@fastapi_app.get("/batches/{batch_id}")
async def show_batch(batch_id: str, request: Request) -> dict[str, str | None]:
    return {"status": (await request.state.session.get_batch(batch_id)).status_code}


@fastapi_app.get("/batches/{batch_id}/events")
async def send_events(batch_id: str, request: Request) -> StreamingResponse:
    since = since_of(request.headers.get("Last-Event-ID"))
    wait = request.state.session.wait_for_batch(batch_id, interval=0.02, since=since)
    return StreamingResponse(sse(wait), media_type="text/event-stream")


def test_fastapi(runflow_threaded_emulator):
    batch_id = runflow_threaded_emulator.create_scripted_batch(SCRIPT)
    runflow_threaded_emulator.faults.append(faults.reset())
    with TestClient(fastapi_app) as client:
        assert client.get(f"/batches/{batch_id}").json()["status"] in ("running", "succeeded")
        events = client.get(f"/batches/{batch_id}/events").text
        assert events.count("event: end") == 1
        assert client.post("/runflow/callback", content=BODY, headers=SIGNED).status_code == 200
        assert client.post("/runflow/callback", content=BODY, headers=FORGED).status_code == 401


def test_callbacks_reach_the_session_of_the_latest_start(runflow_threaded_emulator):
    """Each start of the application in one process opens a session of its own."""
    for _ in range(2):
        body = callback(uuid4())  # a repeated one is accepted without a session
        with TestClient(fastapi_app) as client:
            answer = client.post("/runflow/callback", content=body, headers={"Runflow-Signature": sign(body)})
            assert answer.status_code == 200


@functools.cache
def get_session() -> blocking.RunflowSession:
    return blocking.RunflowSession()


@pytest.fixture
def emulator_of_session(runflow_threaded_emulator):
    """The cached session must not outlive the emulator that it was made for."""
    yield runflow_threaded_emulator
    get_session().close()
    get_session.cache_clear()


def flask_app() -> flask.Flask:
    app = flask.Flask(__name__)

    @app.get("/batches/<batch_id>")
    def show_batch(batch_id: str) -> dict[str, str | None]:
        return {"status": get_session().get_batch(batch_id).status_code}

    @app.post("/runflow")
    def receive() -> tuple[str, int]:
        try:
            verify_signature(SECRET, flask.request.get_data(), flask.request.headers.get("Runflow-Signature"))
        except InvalidSignatureError as error:
            return str(error), 401
        return parse_callback(flask.request.get_data()).event, 200

    return app


def test_flask(emulator_of_session):
    batch_id = emulator_of_session.create_scripted_batch([[(0.0, "succeeded")]])
    client = flask_app().test_client()
    assert client.get(f"/batches/{batch_id}").json == {"status": "succeeded"}
    assert client.post("/runflow", data=BODY, headers=SIGNED).text == "batch.succeeded"
    assert client.post("/runflow", data=BODY, headers=FORGED).status_code == 401


def django_show(request, batch_id):
    return JsonResponse({"status": get_session().get_batch(batch_id).status_code})


def django_receive(request):
    try:
        verify_signature(SECRET, request.body, request.headers.get("Runflow-Signature"))
    except InvalidSignatureError as error:
        return HttpResponse(str(error), status=401)
    return HttpResponse(parse_callback(request.body).event)


urlpatterns = [path("batches/<batch_id>", django_show), path("runflow", django_receive)]


@pytest.fixture(scope="module")
def django_client():
    if not settings.configured:
        settings.configure(SECRET_KEY="-")
    with override_settings(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"], MIDDLEWARE=[]):
        yield Client()


def test_django(django_client, emulator_of_session):
    batch_id = emulator_of_session.create_scripted_batch([[(0.0, "succeeded")]])
    assert django_client.get(f"/batches/{batch_id}").json() == {"status": "succeeded"}
    post = {"path": "/runflow", "data": BODY, "content_type": "application/json"}
    assert django_client.post(**post, headers=SIGNED).content == b"batch.succeeded"
    assert django_client.post(**post, headers=FORGED).status_code == 401


def test_a_url_is_all_that_some_tests_need(runflow_emulator_url):
    assert runflow_emulator_url.startswith("http://127.0.0.1:")
