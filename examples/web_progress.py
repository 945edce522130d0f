"""A web page that shows the items of a batch as they change: `python examples/web_progress.py`.

Open http://127.0.0.1:8000/batches/BATCH_ID in any number of tabs, which share their polls. A browser whose connection
drops reconnects and resumes where it was, even after this program was restarted. Needs Starlette, or FastAPI, and
uvicorn.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, StreamingResponse
from starlette.routing import Route

from runflow_async import ConfigurationError, RunflowSession
from runflow_async.sse import since_of, sse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request

PAGE = Path(__file__).with_suffix(".html")


@asynccontextmanager
async def hold_session(_app: Starlette) -> AsyncGenerator[dict[str, RunflowSession], None]:
    """Keep one session for the lifetime of the application."""
    async with RunflowSession() as session:
        yield {"session": session}


async def show_page(_request: Request) -> FileResponse:
    """Return the page, which subscribes to the events."""
    return FileResponse(PAGE)


async def send_events(request: Request) -> StreamingResponse:
    """Send what has changed since the last event that the browser has received."""
    session: RunflowSession = request.state.session
    since = since_of(request.headers.get("Last-Event-ID"))
    try:
        wait = session.wait_for_batch(request.path_params["batch_id"], timeout=None, since=since)
    except ConfigurationError as error:
        raise HTTPException(400, str(error)) from error
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would hold events back
    return StreamingResponse(sse(wait), media_type="text/event-stream", headers=headers)


app = Starlette(
    routes=[
        Route("/batches/{batch_id}", show_page),
        Route("/batches/{batch_id}/events", send_events, methods=["GET"]),
    ],
    lifespan=hold_session,
)

if __name__ == "__main__":
    # Without a limit, uvicorn would wait for the open pages before it stops.
    uvicorn.run(app, host="127.0.0.1", port=8000, timeout_graceful_shutdown=1)
