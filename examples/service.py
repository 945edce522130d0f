"""A service that follows batches as they are created and resumes after a restart: `python examples/service.py FOLDER`.

`POST /batches/BATCH_ID` adds a batch. Each transition is printed as a line of JSON, at least once, even if the service
is killed in between. The folder records which batches are followed and what was printed of them. To stop following a
batch, remove its id from `followed.txt`; each batch that has ended costs one poll per start.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path

import msgspec
from aiohttp import web

from runflow_async import BatchesWait, ConfigurationError, RunflowSession, SessionClosedError
from runflow_async.checkpoints import SQLiteCheckpoints
from runflow_async.observers import Event, WaitEnded


class Follower:
    """Follows all batches in one endless stream."""

    def __init__(self, waits: BatchesWait, followed: Path) -> None:
        self._waits = waits
        self._followed = followed
        self._added = asyncio.Event()

    async def add(self, request: web.Request) -> web.Response:
        """Follow a batch, and respond once it is recorded."""
        known = len(self._waits.waits)
        try:
            wait = self._waits.add(request.match_info["batch_id"])
        except ConfigurationError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        if len(self._waits.waits) > known:
            with self._followed.open("a") as file:
                file.write(f"{wait.batch_id}\n")
            self._added.set()
        return web.Response(status=202)

    async def run(self) -> None:
        """Print transitions forever. A batch that cannot be followed does not stop the others."""
        while True:
            self._added.clear()
            with contextlib.suppress(ExceptionGroup):  # of what `report` has reported at once
                async for transition in self._waits:
                    print(msgspec.json.encode(transition).decode(), flush=True)
            await self._added.wait()


def report(event: Event) -> None:
    """Say at once which batch cannot be followed, and why."""
    if isinstance(event, WaitEnded) and event.error is not None and not isinstance(event.error, SessionClosedError):
        print(f"{type(event.error).__name__}: {event.error}", file=sys.stderr, flush=True)


async def main(folder: Path, port: int) -> None:
    """Serve and follow batches until interrupted."""
    if (task := asyncio.current_task()) is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    followed = folder / "followed.txt"
    earlier = followed.read_text().split() if followed.exists() else []
    async with RunflowSession(observers=[report]) as session, SQLiteCheckpoints(folder / "taken.db") as checkpoints:
        follower = Follower(session.wait_for_batches(earlier, timeout=None, checkpoint=checkpoints), followed)
        application = web.Application()
        application.router.add_post("/batches/{batch_id}", follower.add)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            await follower.run()
        finally:
            await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(main(options.folder, options.port))
