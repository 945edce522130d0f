"""uvicorn on a loopback socket, on the loop of the test."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.rig.leaks import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp

__all__ = ["on_uvicorn"]


@asynccontextmanager
async def on_uvicorn(app: ASGIApp, **settings: object) -> AsyncIterator[str]:
    """Serve an application with its lifespan, and yield the base URL."""
    import uvicorn

    settings = {"port": 0, "lifespan": "on", "ws": "none", "log_config": None, "access_log": False} | settings
    config = uvicorn.Config(app, **settings)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        await eventually(lambda: server.started or serving.done())
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        await serving
