"""What consumers have taken, kept in an SQLite file, so that a stream goes on after a crash.

One thread writes what came within a moment in one transaction; it needs no event loop to turn, so a consumer that
blocks the loop delays nothing.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from concurrent.futures import Future
from contextlib import closing
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from runflow_async.errors import CheckpointError, ConfigurationError
from runflow_async.models import Batch, BatchItemHandle

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from runflow_async.transitions import ItemTransition

__all__ = ["SQLiteCheckpoints"]

GROUPING = 0.02
"""Seconds in which transitions gather for one transaction."""
BUSY = 5.0
"""Seconds to wait for another process that writes."""
MOST_PENDING = 100_000
VERSION = 1

SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    batch_id TEXT NOT NULL, item_id TEXT NOT NULL, sequence_index INTEGER NOT NULL, run_id TEXT NOT NULL,
    status_code TEXT NOT NULL, client_ref TEXT, PRIMARY KEY (batch_id, item_id)
) WITHOUT ROWID
"""
UPSERT = "INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?, ?)"
SELECT = """
SELECT item_id, sequence_index, run_id, status_code, client_ref FROM items WHERE batch_id = ? ORDER BY sequence_index
"""


class SQLiteCheckpoints:
    """Checkpoints in one file, for `checkpoint=` of `wait_for_batch` and `wait_for_batches`.

    Use it as `async with SQLiteCheckpoints(path) as checkpoints`. Several processes can share the file. When this one
    is killed, what was taken less than about 100 ms before may be seen again, and nothing is lost; a power cut can
    cost what the operating system had not written yet.

    Args:
        path: made if there is none; its folder has to be there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise ConfigurationError(f"path must be the path of a file, not {type(path).__name__}")
        self._path = os.fspath(path)
        self._queue: SimpleQueue[ItemTransition | tuple[Callable[[sqlite3.Connection], Any], Future[Any]] | None]
        self._queue = SimpleQueue()
        self._unwritten: dict[tuple[UUID, UUID], ItemTransition] = {}
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    async def __aenter__(self) -> Self:
        opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._work, args=(opened,), name="runflow checkpoints", daemon=True)
        self._thread.start()
        try:
            await asyncio.shield(asyncio.wrap_future(opened))
        except CheckpointError:
            self._thread = None
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Write what is left and close the file; calling it again does nothing.

        Raises:
            CheckpointError: if something could not be written.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._queue.put(None)
        await asyncio.shield(asyncio.to_thread(thread.join))
        self._raise_error()

    def record(self, transition: ItemTransition) -> None:
        """Remember a transition that was taken; it is on disk within about 100 ms. Never blocks.

        Raises:
            CheckpointError: if it is not open, an earlier one could not be written, or the disk does not keep up.
        """
        self._check_open()
        self._raise_error()
        if self._queue.qsize() > MOST_PENDING:
            raise CheckpointError(f"{self._path} does not keep up: {MOST_PENDING} transitions wait to be written")
        self._queue.put(transition)

    async def load(self, batch_id: UUID) -> Batch | None:
        """What was recorded of a batch; None if nothing was."""
        rows = await self._run(lambda database: database.execute(SELECT, (batch_id.hex,)).fetchall())
        items = [BatchItemHandle(UUID(item), index, UUID(run), status, ref) for item, index, run, status, ref in rows]
        return Batch(id=batch_id, items=items) if items else None

    async def flush(self) -> None:
        """Return once all that was recorded is on disk."""
        await self._run(lambda _: None)

    async def forget(self, batch_id: UUID) -> None:
        """Delete what was recorded of a batch that is done with."""
        await self._run(lambda database: database.execute("DELETE FROM items WHERE batch_id = ?", (batch_id.hex,)))

    def _check_open(self) -> None:
        if self._thread is None:
            raise CheckpointError("the checkpoints are not open: use `async with SQLiteCheckpoints(path)`")

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise CheckpointError(f"cannot write {self._path}: {error}") from error

    async def _run(self, job: Callable[[sqlite3.Connection], Any]) -> Any:
        """Run in the thread, after all that was recorded before is written."""
        self._check_open()
        result: Future[Any] = Future()
        self._queue.put((job, result))
        return await asyncio.wrap_future(result)

    def _work(self, opened: Future[None]) -> None:
        try:
            database = self._open()
        except sqlite3.Error as error:
            opened.set_exception(CheckpointError(f"cannot open {self._path}: {error}"))
            return
        except CheckpointError as error:
            opened.set_exception(error)
            return
        with closing(database):
            opened.set_result(None)
            while self._take_group(database):
                pass

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=BUSY, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            self._check_version(*database.execute("PRAGMA user_version").fetchone())
            database.execute(SCHEMA)
            database.execute(f"PRAGMA user_version = {VERSION}")
        except BaseException:
            database.close()
            raise
        return database

    def _check_version(self, version: int) -> None:
        if version not in (0, VERSION):
            raise CheckpointError(f"{self._path} is of version {version}, this library writes {VERSION}")

    def _take_group(self, database: sqlite3.Connection) -> bool:
        """Write what comes within a moment; False once there is nothing more to come."""
        first = self._queue.get()
        entries = [first]
        if first is not None and not isinstance(first, tuple):
            time.sleep(GROUPING)
        while not self._queue.empty():
            entries.append(self._queue.get())
        for entry in entries:
            if entry is not None and not isinstance(entry, tuple):
                self._unwritten[entry.batch_id, entry.item.id] = entry
        self._write(database)
        for entry in entries:
            if isinstance(entry, tuple):
                self._answer(database, *entry)
        return None not in entries

    def _write(self, database: sqlite3.Connection) -> None:
        if not self._unwritten:
            return
        rows = [
            (t.batch_id.hex, t.item.id.hex, t.item.sequence_index, t.item.run_id.hex, t.current, t.item.client_ref)
            for t in self._unwritten.values()
        ]
        try:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(UPSERT, rows)
            database.execute("COMMIT")
        except sqlite3.Error as error:
            self._error = error  # told with the next call; written with the next group
            if database.in_transaction:
                database.execute("ROLLBACK")
        else:
            self._unwritten.clear()

    def _answer(
        self, database: sqlite3.Connection, job: Callable[[sqlite3.Connection], Any], result: Future[Any]
    ) -> None:
        if not result.set_running_or_notify_cancel():
            return
        try:
            if self._unwritten:
                self._raise_error()
            result.set_result(job(database))
        except sqlite3.Error as error:
            result.set_exception(CheckpointError(f"cannot use {self._path}: {error}"))
        except CheckpointError as error:
            result.set_exception(error)
