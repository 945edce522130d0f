"""The example page in a real browser, which decides by itself when to reconnect and from where to resume."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from werkzeug.serving import make_server

from runflow_async import wait_adaptive
from tests.rig import on_uvicorn
from tests.rig.browser import CHROMIUM, browsing
from tests.test_docs import DOCS, blocks_of
from tests.test_examples import example

if TYPE_CHECKING:
    from starlette.types import ASGIApp

RECORDER = """
window.received = [];
const Plain = EventSource;
window.EventSource = class extends Plain {
  constructor(...given) {
    super(...given);
    this.addEventListener("transitions", ({data}) => window.received.push(...JSON.parse(data)));
    this.addEventListener("open", () => { window.opened = (window.opened ?? 0) + 1; });
    this.addEventListener("error", () => { window.refused = this.readyState === Plain.CLOSED; });
  }
};
"""
FAIL_ONCE = """
window.failed = 0;
const plain = fetch;
window.fetch = (...given) => (window.failed++ ? plain(...given) : Promise.reject(new TypeError("cut")));
"""
TEXT = 'document.getElementById("{}").textContent'
COUNT = "window.received.filter(({item}) => item.status_code === 'succeeded').length"
PICTURE = os.environ.get("PICTURE")
"""Where to save a picture of the page on its way; `docs/page.png` was made so."""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
async def test_progress_moves_and_a_dropped_connection_resumes_without_loss(stepping_emulator, unmeasured, monkeypatch):
    """The second server knows nothing of the first, as after a restart."""
    delay = wait_adaptive.__call__
    monkeypatch.setattr(wait_adaptive, "__call__", lambda strategy, state: delay(strategy, state) / 20)
    emulator, app = stepping_emulator, example("web_progress").app
    batch_id = emulator.create_batch(items=24, duration=30.0, fail=0.1, seed=2)
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        async with browsing() as page:
            await page.call("Page.enable")
            await page.call("Page.addScriptToEvaluateOnNewDocument", source=RECORDER)
            async with on_uvicorn(app, port=port, timeout_graceful_shutdown=0) as url:
                await page.call("Page.navigate", url=f"{url}/batches/{batch_id}")
                await page.until("window.received?.length > 24")
                before = await page.evaluate("window.received.length")
            await page.until(f"{TEXT.format('connection')} === 'reconnecting'")
            async with on_uvicorn(app, port=port):
                await page.until(f"{COUNT} >= 12")
                if PICTURE:
                    await page.picture(Path(PICTURE))
                await page.until(f"{TEXT.format('connection')} === 'ended'")
            received = json.loads(await page.evaluate("JSON.stringify(window.received)"))
            assert await page.evaluate(TEXT.format("summary")) == "24 of 24 items ended, 2 failed"
            assert await page.evaluate(TEXT.format("status")) == "partial_succeeded"
            assert await page.evaluate("window.opened") == 2
    assert 24 < before < len(received)
    steps: dict[str, list[tuple[str | None, str]]] = {}
    for one in received:
        steps.setdefault(one["item"]["id"], []).append((one["previous"], one["item"]["status_code"]))
    assert len(steps) == 24
    for taken in steps.values():
        assert taken[0][0] is None
        assert taken[-1][1] in ("succeeded", "failed")
        assert all(first[1] == second[0] for first, second in pairwise(taken))


def program_of(page: str) -> dict[str, Any]:
    """The names of the first program on a page of the documentation."""
    names: dict[str, Any] = {"__name__": "app"}
    exec(next(block for block in blocks_of(DOCS / page) if block.kind == "python").text, names)
    return names


def tutorial_app() -> ASGIApp:
    return program_of("start/web.md")["app"]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
async def test_pages_say_that_an_id_is_none_instead_of_reconnecting(stepping_emulator, unmeasured, monkeypatch):
    """That of the example, and that of the tutorial, whose program is on its page."""
    monkeypatch.setenv("RUNFLOW_API_KEY", stepping_emulator.api_key)
    monkeypatch.setenv("RUNFLOW_BASE_URL", stepping_emulator.url)
    async with (
        browsing() as page,
        on_uvicorn(example("web_progress").app) as example_url,
        on_uvicorn(tutorial_app()) as tutorial_url,
    ):
        await page.call("Page.navigate", url=f"{example_url}/batches/none")
        await page.until("document.getElementById('connection')?.textContent === 'refused'")
        await page.call("Page.navigate", url=f"{tutorial_url}/batches/none")
        await page.until("document.body?.innerText.includes('This is no batch id.')")
        batch_id = stepping_emulator.create_scripted_batch([[(0.0, "succeeded")]], client_refs=["a cat"])
        await page.call("Page.navigate", url=f"{tutorial_url}/batches/{batch_id}")
        await page.until("document.body?.innerText.includes('a cat: succeeded')")
        for url in (example_url, tutorial_url):
            await page.call("Page.navigate", url=f"{url}/batches/{uuid4()}")
            await page.until("document.body?.innerText.includes('no such batch')")


async def refuse(scope, _receive, send):
    """Answer as a proxy does whose application is away."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 502, "headers": []})
        await send({"type": "http.response.body"})


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
@pytest.mark.parametrize("name", ["example", "tutorial"])
async def test_pages_reconnect_although_a_reconnect_was_refused(stepping_emulator, unmeasured, monkeypatch, name):
    """A browser gives up at a 502, such as that of a proxy while the application restarts."""
    monkeypatch.setenv("RUNFLOW_API_KEY", stepping_emulator.api_key)
    monkeypatch.setenv("RUNFLOW_BASE_URL", stepping_emulator.url)
    app = example("web_progress").app if name == "example" else tutorial_app()
    batch_id = stepping_emulator.create_scripted_batch([[(0.0, "running")]], client_refs=["a cat"])
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        async with browsing() as page:
            await page.call("Page.enable")
            await page.call("Page.addScriptToEvaluateOnNewDocument", source=RECORDER)
            async with on_uvicorn(app, port=port, timeout_graceful_shutdown=0) as url:
                await page.call("Page.navigate", url=f"{url}/batches/{batch_id}")
                await page.until("document.body?.innerText.includes('a cat')")
            async with on_uvicorn(refuse, port=port, lifespan="off"):
                await page.until("window.refused === true")
            async with on_uvicorn(app, port=port, timeout_graceful_shutdown=0):
                await page.until("window.opened === 2")
                assert not await page.evaluate("document.body.innerText.includes('This is no batch id.')")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
async def test_the_page_of_flask_asks_again_after_a_failed_request(stepping_emulator, unmeasured, monkeypatch):
    monkeypatch.setenv("RUNFLOW_API_KEY", stepping_emulator.api_key)
    monkeypatch.setenv("RUNFLOW_BASE_URL", stepping_emulator.url)
    batch_id = stepping_emulator.create_scripted_batch([[(0.0, "succeeded")]])
    program = program_of("how-to/flask.md")
    server = make_server("127.0.0.1", 0, program["app"], threaded=True)
    serving = asyncio.create_task(asyncio.to_thread(server.serve_forever))
    try:
        async with browsing() as page:
            await page.call("Page.enable")
            await page.call("Page.addScriptToEvaluateOnNewDocument", source=FAIL_ONCE)
            await page.call("Page.navigate", url=f"http://127.0.0.1:{server.server_port}/batches/{batch_id}")
            await page.until("document.body?.innerText.includes('succeeded: 1 of 1 succeeded')")
            assert await page.evaluate("window.failed") == 2
    finally:
        await asyncio.to_thread(server.shutdown)
        await serving
        server.server_close()
        await asyncio.to_thread(program["get_session"]().close)
