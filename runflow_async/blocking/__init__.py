"""The session and its waits for programs without asyncio: the same names without `await`.

Each session runs the asynchronous one on an event loop in a thread of its own, so it also works where a loop is running
already, as in a notebook. Callbacks such as `until` run in that thread.
"""

from __future__ import annotations

from runflow_async.blocking.checkpoints import SQLiteCheckpoints
from runflow_async.blocking.session import RunflowSession
from runflow_async.blocking.waits import BatchesWait, BatchResults, BatchWait

__all__ = ["BatchResults", "BatchWait", "BatchesWait", "RunflowSession", "SQLiteCheckpoints"]
