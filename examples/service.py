"""A service that follows batches as they are created, and goes on after a restart: `python examples/service.py FOLDER`.

`POST /batches/BATCH_ID` adds one; each transition is printed as a line of JSON, at least once, also if the service is
killed in between. The folder keeps which batches are followed and what was printed of them.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from runflow_async import BatchesWait, ConfigurationError, RunflowSession
from runflow_async.checkpoints import SQLiteCheckpoints

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FOLDER = web.AppKey("folder", Path)


class Follower:
    """Follows all batches in one stream that never ends."""

    def __init__(self, waits: BatchesWait, followed: Path) -> None:
        self._waits = waits
        self._followed = followed
        self._added = asyncio.Event()

    async def add(self, request: web.Request) -> web.Response:
        """Remember a batch, then follow it."""
        batch_id = request.match_info["batch_id"]
        try:
            wait = self._waits.add(batch_id)
        except ConfigurationError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        with self._followed.open("a") as file:  # a short line
            file.write(f"{wait.batch_id}\n")
        self._added.set()
        return web.Response(status=202)

    async def run(self) -> None:
        """Print transitions for ever; a batch that cannot be followed is named once and costs the others nothing."""
        named: set[Exception] = set()
        while True:
            self._added.clear()
            try:
                async for transition in self._waits:
                    print(msgspec.json.encode(transition).decode(), flush=True)
            except ExceptionGroup as failures:
                for error in set(failures.exceptions) - named:
                    print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                named |= set(failures.exceptions)
            await self._added.wait()


FOLLOWER = web.AppKey("follower", Follower)


async def add(request: web.Request) -> web.Response:
    """Answer once the batch is remembered."""
    return await request.app[FOLLOWER].add(request)


async def follow(app: web.Application) -> AsyncIterator[None]:
    """Run the stream beside the web application."""
    folder = app[FOLDER]
    followed = folder / "followed.txt"
    earlier = followed.read_text().split() if followed.exists() else []
    async with RunflowSession() as session, SQLiteCheckpoints(folder / "taken.db") as checkpoints:
        waits = session.wait_for_batches(earlier, timeout=None, checkpoint=checkpoints)
        follower = Follower(waits, followed)
        app[FOLLOWER] = follower
        async with waits, asyncio.TaskGroup() as group:
            running = group.create_task(follower.run())
            yield
            running.cancel()


def make_application(folder: Path) -> web.Application:
    """The whole application."""
    app = web.Application()
    app[FOLDER] = folder
    app.cleanup_ctx.append(follow)
    app.router.add_post("/batches/{batch_id}", add)
    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    web.run_app(make_application(options.folder), host="127.0.0.1", port=options.port, print=None)
