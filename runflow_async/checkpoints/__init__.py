"""What consumers have taken, kept in an SQLite file, so that a stream goes on after a crash.

One thread writes what came within a moment in one transaction; it needs no event loop to turn, so a consumer that
blocks the loop delays nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Self
from uuid import UUID

from runflow_async._arguments import check_type
from runflow_async.checkpoints.jobs import Kind
from runflow_async.checkpoints.writer import Writer
from runflow_async.errors import CheckpointError, ConfigurationError

if TYPE_CHECKING:
    from types import TracebackType

    from runflow_async._answers.transitions import ItemTransition
    from runflow_async.models import Batch

__all__ = ["SQLiteCheckpoints"]

logger = logging.getLogger("runflow_async")

MOST_PENDING = 1_000_000
"""Transitions that may wait to be written."""


class SQLiteCheckpoints:
    """Checkpoints in one file, for `checkpoint=` of `wait_for_batch` and `wait_for_batches`.

    Use it as `async with SQLiteCheckpoints(path) as checkpoints`, once at a time. Several processes can share the file,
    and each opens it for itself: not a child that was forked while it was open. When the process is killed, what was
    taken less than about 100 ms before may be seen again, and nothing is lost; a power cut can cost what the operating
    system had not written yet.

    Entering raises `CheckpointError` if the file cannot be opened, is locked for 5 seconds, or is not one of these;
    then nothing in it is changed. Cancelled, it closes the file first.

    Args:
        path: of a file of its own, made if there is none; its folder has to be there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = _parse_path(path)
        self._thread: Writer | None = None

    async def __aenter__(self) -> Self:
        if self._thread is not None and not self._thread.is_inherited:
            raise CheckpointError(f"{self._path!r} is open already: make a second SQLiteCheckpoints for a second user")
        self._thread = thread = Writer(self._path)
        try:
            thread.start()
        except RuntimeError as error:
            self._thread = None
            raise CheckpointError(f"cannot open {self._path!r}: {error}") from error
        try:
            failure = await asyncio.shield(asyncio.wrap_future(thread.opened))
        except asyncio.CancelledError as cancellation:
            self._thread = None
            await _stop(thread, cancellation)
            raise
        if failure is not None:
            self._thread = None
            thread.join()
            raise failure
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Write what is left and close the file; calling it again does nothing.

        A file that another process has locked is waited for, 5 seconds at most. Cancelled, it still does all of this
        before it raises `CancelledError`.

        Raises:
            CheckpointError: if something could not be written; when cancelled, it is logged instead.
        """
        thread, self._thread = self._thread, None
        if thread is not None and not thread.is_inherited:
            await _stop(thread)

    def record(self, transition: ItemTransition) -> None:
        """Remember a transition that was taken; it is on disk within about 100 ms. Never blocks.

        An error about earlier transitions is raised once, by the next call; the transition at hand is recorded all the
        same, and recording it again does no harm. What could not be written is kept in memory and tried again, with
        the next transition or after a second.

        Raises:
            CheckpointError: if it is not open; an earlier transition was refused or could not be written, or the file
                was removed or replaced or has been locked for 5 seconds; or if the disk does not keep up.
        """
        thread = self._find_open_thread()
        if thread.queue.qsize() + len(thread.backlog.rows) > MOST_PENDING:
            raise CheckpointError(f"{self._path!r} does not keep up: {MOST_PENDING} transitions wait to be written")
        thread.queue.put(transition)
        if thread.reports.untold:
            _raise_untold(thread)

    async def load(self, batch_id: UUID) -> Batch | None:
        """What was recorded of a batch; None if nothing was.

        It waits for a file that another process has locked against reading for as long as the caller does: a wait's
        `timeout` ends it, as does a cancellation. Other calls go on meanwhile.

        Raises:
            CheckpointError: if the file cannot be read, or holds something else for the batch.
        """
        return await self._ask(Kind.LOAD, check_type("batch_id", batch_id, UUID))

    async def flush(self) -> None:
        """Return once all that was recorded is on disk.

        Raises:
            CheckpointError: if something could not be written, or the file has been locked for 5 seconds.
        """
        await self._ask(Kind.FLUSH)

    async def forget(self, batch_id: UUID) -> None:
        """Delete what was recorded of a batch that is done with.

        Raises:
            CheckpointError: as for `flush`.
        """
        await self._ask(Kind.FORGET, check_type("batch_id", batch_id, UUID))

    def check_open(self) -> None:
        """Raise unless it is open in this process.

        Raises:
            CheckpointError: before `async with` has entered it, after it was closed, and in a forked child.
        """
        self._find_open_thread()

    def _find_open_thread(self) -> Writer:
        thread = self._thread
        if thread is None:
            raise CheckpointError(f"{self._path!r} is not open: use `async with SQLiteCheckpoints(path)`")
        if thread.is_inherited:
            raise CheckpointError(
                f"{self._path!r} was opened by the process that this one was forked from: start it with 'spawn' or "
                "'forkserver', or fork before the file is opened"
            )
        return thread

    async def _ask(self, kind: Kind, *batch_id: UUID) -> Batch | None:
        thread = self._find_open_thread()
        result: Batch | None = await asyncio.wrap_future(thread.submit(kind, *batch_id))
        if kind is not Kind.LOAD:
            _raise_untold(thread)
        return result


def _raise_untold(thread: Writer) -> None:
    error = thread.reports.take()
    if error is not None:
        raise error


async def _stop(thread: Writer, cancelled: asyncio.CancelledError | None = None) -> None:
    """End the thread before anything else happens, whoever cancels; then raise what is left to raise."""
    thread.stop()
    ended = asyncio.wrap_future(thread.ended)
    while not ended.done():
        try:
            await asyncio.wait([ended])
        except asyncio.CancelledError as cancellation:
            cancelled = cancellation
    thread.join()
    error = thread.reports.take()
    if cancelled is not None:
        if error is not None:
            logger.error("closed while cancelled: %s", error)
        raise cancelled
    if error is not None:
        raise error


def _parse_path(path: str | os.PathLike[str]) -> str:
    """The path as text.

    Raises:
        ConfigurationError: if it can never be a file's.
    """
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else path
    if not isinstance(text, str):
        raise ConfigurationError(f"path must be the path of a file, not {type(path).__name__}")
    if not text or text.startswith((":memory:", "file:")):
        raise ConfigurationError(f"path must be the path of a file, not {text!r}: a file is what survives the process")
    try:
        is_possible = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        is_possible = False
    if not is_possible:
        raise ConfigurationError(f"path {text!r} holds a character that no file's name can have")
    return text
