"""Learn the end of a batch from a callback, or from a poll about every three minutes if the callback is lost.

`python examples/callback_and_polling.py BATCH_ID...` takes batches that were created with a `callback_url` pointing to
port 8000 of this machine. The secret comes from the environment variable RUNFLOW_CALLBACK_SECRET.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

from aiohttp import web

from runflow_async import RunflowSession
from runflow_async.callbacks import callback_application

if TYPE_CHECKING:
    from collections.abc import Sequence


async def main(batch_ids: Sequence[str], port: int = 8000) -> int:
    """Return the total number of polls."""
    async with RunflowSession() as session:
        application = callback_application(session, os.environ["RUNFLOW_CALLBACK_SECRET"], path="/runflow")
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            waits = session.wait_for_batches(batch_ids, expect_callback=True)
            async for wait in waits.as_completed():
                error = wait.exception()
                end = f"{type(error).__name__}: {error}" if error else wait.result().status_code
                print(wait.batch_id, end, "after", wait.stats.polls, "polls")
        finally:
            await runner.cleanup()
    return sum(wait.stats.polls for wait in waits.waits.values())


if __name__ == "__main__":
    if not os.environ.get("RUNFLOW_CALLBACK_SECRET"):
        sys.exit("no secret: set the environment variable RUNFLOW_CALLBACK_SECRET")
    asyncio.run(main(sys.argv[1:]))
