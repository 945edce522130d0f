"""The thread that owns a checkpoint file: it writes in groups, waits for locks, and reports errors.

It ends only when it is stopped. An error goes to the calls that wait for the failed operation, or to the next call.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import closing
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any
from uuid import UUID

from runflow_async.checkpoints.backlog import Backlog
from runflow_async.checkpoints.file import INHERITED, CheckpointFile, Inode, Row, is_busy
from runflow_async.checkpoints.jobs import NO_BATCH, Job, Kind
from runflow_async.checkpoints.reports import Explained, Reports, explain
from runflow_async.errors import CheckpointError

if TYPE_CHECKING:
    from runflow_async.models import ItemTransition

__all__ = ["Writer"]

GROUPING_SECONDS = 0.02
"""Seconds during which transitions are collected for one transaction."""
BUSY_SECONDS = 5.0
"""Seconds that a write waits for another process's lock before it fails."""
LOCK_RETRY = 0.01
"""Seconds between two attempts to get a lock."""
FAILED_RETRY = 1.0
"""Seconds after which a failed write is retried if no call comes earlier."""


class Writer(threading.Thread):
    """A thread with one open file.

    Attributes:
        opened: done once the file is open, with None, or with the error that prevented it.
        ended: done once the file is closed and the thread is about to end.
        queue: transitions and jobs, in the order of the calls.
        backlog: everything that is not written yet; only the thread changes it.
        reports: errors for the next call.
        inode: identity of the open file.
        is_inherited: whether this process was forked from the process that has the thread.
    """

    def __init__(self, path: str) -> None:
        super().__init__(name="runflow checkpoints", daemon=True)
        self.opened: Future[CheckpointError | None] = Future()
        self.ended: Future[None] = Future()
        self.queue: SimpleQueue[ItemTransition | Job] = SimpleQueue()
        self.backlog = Backlog()
        self.reports = Reports()
        self.inode: Inode | None = None
        self.is_inherited = False
        self._path = path
        self._hurry = threading.Event()  # set by every call that waits, so that no group is collected first
        self._is_abandoned = False  # set by `stop` at once: an attempt to open is the last one
        self._is_stopping = False  # set once the thread has reached the job STOP
        self._has_failed = False  # whether the latest write failed for good, and not on a short lock
        self._busy_since: float | None = None  # when the lock that the latest write met was first met
        self._loads: deque[Job] = deque()  # calls that are not answered yet
        self._writes: list[Job] = []  # calls that wait until the backlog is written

    def submit(self, kind: Kind, batch_id: UUID = NO_BATCH) -> Future[Any]:
        """Hand over a call; the future receives its answer."""
        job = Job(kind, batch_id)
        self.queue.put(job)
        self._hurry.set()
        return job.future

    def stop(self) -> None:
        """Write what is left, waiting at most `BUSY_SECONDS` for a lock, and end; give up opening."""
        self._is_abandoned = True
        self.submit(Kind.STOP)

    def run(self) -> None:
        """Open the file and serve until the end."""
        RUNNING.add(self)
        try:
            self._serve()
        except CheckpointError as failure:
            self.reports.add(failure)
        finally:
            self._end()

    def _serve(self) -> None:
        with Explained("cannot open %r", self._path):
            file = self._open()
        with Explained("cannot close %r", self._path), closing(file):
            self.inode = file.inode
            self.opened.set_result(None)
            while not self._is_stopping or (self.backlog and not self._has_failed):
                self._take_turn(file)

    def _end(self) -> None:
        closed = CheckpointError(f"{self._path!r} was closed before the answer")
        self._sort_queue()
        for job in (*self._loads, *self._writes):
            job.resolve(error=closed)
        if not self.opened.done():
            self.opened.set_result(self.reports.take() or closed)
        RUNNING.discard(self)
        self.ended.set_result(None)

    def _open(self) -> CheckpointFile:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                return CheckpointFile(self._path)
            except Exception as error:
                if not is_busy(error) or self._is_abandoned or time.monotonic() > deadline:
                    raise
            time.sleep(LOCK_RETRY)

    def _take_turn(self, file: CheckpointFile) -> None:
        try:
            with Explained("cannot use %r", self._path):
                self._take_group()
                self._write(file)
                self._answer_loads(file)
        except CheckpointError as failure:  # recorded rows are kept, and no caller waits forever
            self._fail_writes(failure)
            while self._loads:
                self._loads.popleft().resolve(error=failure)

    def _take_group(self) -> None:
        """Wait for something to do. Transitions are collected for a moment, unless a caller waits for an answer."""
        try:
            first = self.queue.get(timeout=self._pause())
        except Empty:
            return
        self._sort(first)
        if not isinstance(first, Job):
            self._hurry.wait(GROUPING_SECONDS)
        self._hurry.clear()
        self._sort_queue()

    def _pause(self) -> float | None:
        if self._loads or self._writes:
            return LOCK_RETRY
        if not self.backlog:
            return None
        return FAILED_RETRY if self._busy_since is None else LOCK_RETRY

    def _sort_queue(self) -> None:
        for _ in range(self.queue.qsize()):  # not until it is empty, which may never happen
            self._sort(self.queue.get())

    def _sort(self, entry: ItemTransition | Job) -> None:
        if not isinstance(entry, Job):
            self._keep(entry)
        elif entry.kind is Kind.STOP:
            self._is_stopping = True
            self._has_failed = False  # one more attempt, with the full time for a lock
            self._busy_since = None
        elif entry.kind is Kind.LOAD:
            self._loads.append(entry)
        else:
            self._writes.append(entry)
            if entry.kind is Kind.FORGET:
                self.backlog.forget(entry.batch_id.hex)

    def _keep(self, transition: ItemTransition) -> None:
        try:
            with Explained("cannot keep %.300r in %r", transition, self._path):
                self.backlog.add(transition)
        except CheckpointError as refusal:
            self.reports.add(refusal)

    def _write(self, file: CheckpointFile) -> None:
        if self.backlog:
            what = f"{len(self.backlog.rows)} transitions" if self.backlog.rows else "changes"
            try:
                with Explained("cannot write %s to %r", what, self._path):
                    refused = file.write(self.backlog.forgotten, list(self.backlog.rows.values()))
            except CheckpointError as failure:  # the backlog stays for the next turn
                self._note_failure(failure)
                return
            self.backlog.clear()
            self._busy_since = None
            self._has_failed = False
            self.reports.set_failure(None)
            self._refuse(refused)
        for job in self._writes:
            job.resolve()
        self._writes.clear()

    def _note_failure(self, failure: CheckpointError) -> None:
        """Wait for a lock that has not lasted long; report everything else."""
        now = time.monotonic()
        if not is_busy(failure.__cause__):
            self._busy_since = None
        elif self._busy_since is None:
            self._busy_since = now
        if self._busy_since is None or now - self._busy_since >= BUSY_SECONDS:
            self._fail_writes(failure)

    def _refuse(self, refused: list[tuple[Row, Exception]]) -> None:
        for (batch, item, *_), error in refused:
            what = f"item {UUID(item)} of batch {UUID(batch)}"
            self.reports.add(explain(f"cannot keep {what} in {self._path!r}", error))

    def _fail_writes(self, failure: CheckpointError) -> None:
        """Report to the calls that wait for a write, or else to the next call; always report at the end."""
        waiting = [job for job in self._writes if not job.future.cancelled()]
        self._writes.clear()
        for job in waiting:
            job.resolve(error=failure)
        self.reports.set_failure(None if waiting and not self._is_stopping else failure)
        self._has_failed = True

    def _answer_loads(self, file: CheckpointFile) -> None:
        self._loads = deque(job for job in self._loads if not job.future.cancelled())
        while self._loads:
            job = self._loads[0]
            try:
                with Explained("cannot read batch %s from %r", job.batch_id, self._path):
                    job.resolve(self.backlog.overlay(job.batch_id, file.read(job.batch_id.hex)))
            except CheckpointError as failure:
                if is_busy(failure.__cause__):
                    return
                job.resolve(error=failure)
            self._loads.popleft()


RUNNING: set[Writer] = set()


def _inherit() -> None:
    """Runs in a forked child: the threads do not exist here, and their files must not be touched."""
    for writer in RUNNING:
        writer.is_inherited = True
        if writer.inode is not None:
            INHERITED.add(writer.inode)
    RUNNING.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_inherit)
