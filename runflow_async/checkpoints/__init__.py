"""Records delivered transitions in an SQLite file, so that a stream can resume after a crash.

One thread collects transitions for a moment and writes them in one transaction. It does not need the event loop, so a
consumer that blocks the loop does not delay it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol, Self
from uuid import UUID

from runflow_async._arguments.values import check_type, parse_path
from runflow_async.checkpoints.jobs import Kind
from runflow_async.checkpoints.writer import Writer
from runflow_async.errors import CheckpointError

if TYPE_CHECKING:
    import os
    from types import TracebackType

    from runflow_async.models import Batch, ItemTransition

__all__ = ["Checkpoint", "SQLiteCheckpoints"]

logger = logging.getLogger("runflow_async")

MOST_PENDING = 1_000_000
"""How many unwritten transitions are kept."""


class Checkpoint(Protocol):
    """What `checkpoint=` of a wait takes: a memory of the delivered transitions that survives restarts.

    If it has a method `check_open()`, that is called when the wait is made, so that it can raise early.
    """

    async def load(self, batch_id: UUID) -> Batch | None:
        """Return what was recorded of a batch, in the form that `since=` takes; None if nothing was.

        Called once, in the wait's first step and within its `timeout`; called again if that step was cancelled.
        """

    def record(self, transition: ItemTransition) -> None:
        """Record a transition that was delivered. Must not block. The wait raises what this raises.

        May get a transition again that it has recorded. If several processes follow the same batch, a late record may
        not replace the end of an item: the first end stays.
        """


class SQLiteCheckpoints:
    """Checkpoints in a file, for `checkpoint=` of `wait_for_batch` and `wait_for_batches`.

    Use it as `async with SQLiteCheckpoints(path) as checkpoints`, once at a time. Several processes can share the file
    if each one opens it separately; a child that was forked while the file was open cannot use it. If the process is
    killed, what was recorded in the last 100 ms or so may be delivered again, and nothing is lost. A power cut can lose
    what the operating system had not yet written.

    Entering raises `CheckpointError` if the file cannot be opened, is locked for 5 seconds, or belongs to something
    else; the file is then unchanged. If entering is cancelled, the file is closed first.

    Args:
        path: path of a file used for nothing else. The file is created if missing; its folder must exist.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = parse_path(path)
        self._thread: Writer | None = None

    async def __aenter__(self) -> Self:
        if self._thread is not None and not self._thread.is_inherited:
            raise CheckpointError(f"{self._path!r} is open already: create another SQLiteCheckpoints for a second user")
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
        """Write what is left and close the file. Calling it again does nothing.

        If another process has locked the file, it waits for at most 5 seconds. If it is cancelled, it still finishes
        before it raises `CancelledError`.

        Raises:
            CheckpointError: if something could not be written; on cancellation, this is logged instead.
        """
        thread, self._thread = self._thread, None
        if thread is not None and not thread.is_inherited:
            await _stop(thread)

    def record(self, transition: ItemTransition) -> None:
        """Record a transition that was delivered. It is on disk within about 100 ms. Never blocks.

        An error about earlier transitions is raised once, by the next call. That call still records its own transition,
        and recording it again does no harm. Unwritten transitions are kept in memory and retried with the next
        transition or after a second.

        Raises:
            CheckpointError: if it is not open; if an earlier transition was rejected or could not be written; if the
                file was removed or replaced, or has been locked for 5 seconds; or if the disk does not keep up.
        """
        thread = self._find_open_thread()
        if thread.queue.qsize() + len(thread.backlog.rows) > MOST_PENDING:
            raise CheckpointError(f"{self._path!r} does not keep up: {MOST_PENDING} transitions are still unwritten")
        thread.queue.put(transition)
        if thread.reports.pending:
            _raise_pending(thread)

    async def load(self, batch_id: UUID) -> Batch | None:
        """Return what was recorded of a batch, or None.

        If another process has locked the file against reading, it waits as long as the caller does: the wait's
        `timeout` or a cancellation ends it. Other calls continue in the meantime.

        Raises:
            CheckpointError: if the file cannot be read, or its record of the batch is invalid.
        """
        return await self._ask(Kind.LOAD, check_type("batch_id", batch_id, UUID))

    async def flush(self) -> None:
        """Return once everything recorded is on disk.

        Raises:
            CheckpointError: if something could not be written, or the file has been locked for 5 seconds.
        """
        await self._ask(Kind.FLUSH)

    async def forget(self, batch_id: UUID) -> None:
        """Delete what was recorded of a batch that is no longer needed.

        Raises:
            CheckpointError: as for `flush`.
        """
        await self._ask(Kind.FORGET, check_type("batch_id", batch_id, UUID))

    def check_open(self) -> None:
        """Raise unless it is open in this process.

        Raises:
            CheckpointError: before it was entered, after closing, and in a forked child.
        """
        self._find_open_thread()

    def _find_open_thread(self) -> Writer:
        thread = self._thread
        if thread is None:
            raise CheckpointError(f"{self._path!r} is not open: use it in `async with`, or in `with` without asyncio")
        if thread.is_inherited:
            raise CheckpointError(
                f"{self._path!r} was opened by the parent process before it forked: start this process with 'spawn' or "
                "'forkserver', or fork before the file is opened"
            )
        return thread

    async def _ask(self, kind: Kind, *batch_id: UUID) -> Batch | None:
        thread = self._find_open_thread()
        result: Batch | None = await asyncio.wrap_future(thread.submit(kind, *batch_id))
        if kind is not Kind.LOAD:
            _raise_pending(thread)
        return result


def _raise_pending(thread: Writer) -> None:
    error = thread.reports.take()
    if error is not None:
        raise error


async def _stop(thread: Writer, cancelled: asyncio.CancelledError | None = None) -> None:
    """Wait for the thread to end even if cancelled, then raise what is left to raise."""
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
