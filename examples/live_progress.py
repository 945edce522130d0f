"""A web application that shows a batch's items live with server-sent events: `python examples/live_progress.py`.

Open http://127.0.0.1:8000/batches/BATCH_ID. Each open page has its own wait, which ends when the page is closed. All
waits share the session's connections and its request rate. A browser that reconnects gets the current statuses again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from runflow_async import ConfigurationError, RunflowError, RunflowSession

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SESSION = web.AppKey("session", RunflowSession)
PAGE = """<!doctype html><meta charset="utf-8"><title>batch</title><h1 id="end">running</h1><ol id="items"></ol><script>
const events = new EventSource(location.pathname + "/events"), rows = new Map();
events.addEventListener("item", ({data}) => {
  const {item} = JSON.parse(data);
  if (!rows.has(item.id)) rows.set(item.id, document.querySelector("#items").appendChild(document.createElement("li")));
  rows.get(item.id).textContent = `${item.client_ref ?? item.id}: ${item.status_code}`;
});
events.addEventListener("end", ({data}) => {
  document.querySelector("#end").textContent = JSON.parse(data);
  events.close();
});
</script>"""


async def show_page(_request: web.Request) -> web.Response:
    """Return the page, which subscribes to the events."""
    return web.Response(text=PAGE, content_type="text/html")


async def send_events(request: web.Request) -> web.StreamResponse:
    """Send one `item` event for each transition, and one `end` event."""
    try:
        wait = request.app[SESSION].wait_for_batch(request.match_info["batch_id"], timeout=None)
    except ConfigurationError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)

    async def send(event: str, data: bytes) -> None:
        await response.write(b"event: %s\ndata: %s\n\n" % (event.encode(), data))

    try:
        async for transition in wait:
            await send("item", msgspec.json.encode(transition))
        await send("end", json.dumps(wait.result().status_code).encode())
    except RunflowError as error:
        await send("end", json.dumps(f"{type(error).__name__}: {error}").encode())
    return response


async def hold_session(app: web.Application) -> AsyncIterator[None]:
    """Keep one session for the lifetime of the application."""
    async with RunflowSession() as session:
        app[SESSION] = session
        yield


def make_application() -> web.Application:
    """Make the whole application."""
    app = web.Application()
    app.cleanup_ctx.append(hold_session)
    app.router.add_get("/batches/{batch_id}", show_page)
    app.router.add_get("/batches/{batch_id}/events", send_events)
    return app


if __name__ == "__main__":
    # Without handler_cancellation, a closed page would go unnoticed until the next event.
    web.run_app(make_application(), host="127.0.0.1", port=8000, handler_cancellation=True)
