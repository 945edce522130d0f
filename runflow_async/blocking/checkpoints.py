"""`SQLiteCheckpoints` without asyncio, and how a session uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TypeAlias, TypeVar

from runflow_async import checkpoints
from runflow_async._portal import Portal

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from uuid import UUID

    import runflow_async
    from runflow_async._waits.options import OptionKeywords
    from runflow_async.models import Batch, ItemTransition

    class WaitKeywords(OptionKeywords, total=False):
        """The keywords of `wait_for_batch`, except `since`."""

        checkpoint: Checkpoint | None


__all__ = ["Checkpoint", "SQLiteCheckpoints", "WaitKeywords", "for_session", "for_wait"]

T = TypeVar("T")


class SQLiteCheckpoints:
    """Checkpoints in a file, for `checkpoint=`; use it as `with SQLiteCheckpoints(path) as checkpoints`.

    The methods are those of `runflow_async.checkpoints.SQLiteCheckpoints`, with the same promises and errors. All
    threads may call them.

    Args:
        path: path of a file used for nothing else. The file is created if missing; its folder must exist.

    Attributes:
        asynchronous: the open file, as an asynchronous session takes it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.asynchronous = checkpoints.SQLiteCheckpoints(path)

    def __enter__(self) -> Self:
        _run(self.asynchronous.__aenter__)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is left and close the file. Calling it again does nothing.

        Raises:
            CheckpointError: if something could not be written.
        """
        _run(self.asynchronous.close)

    def record(self, transition: ItemTransition) -> None:
        """As `runflow_async.checkpoints.SQLiteCheckpoints.record`."""
        self.asynchronous.record(transition)

    def load(self, batch_id: UUID) -> Batch | None:
        """As `runflow_async.checkpoints.SQLiteCheckpoints.load`; Ctrl-C ends it."""
        return _run(self.asynchronous.load, batch_id)

    def flush(self) -> None:
        """As `runflow_async.checkpoints.SQLiteCheckpoints.flush`."""
        _run(self.asynchronous.flush)

    def forget(self, batch_id: UUID) -> None:
        """As `runflow_async.checkpoints.SQLiteCheckpoints.forget`."""
        _run(self.asynchronous.forget, batch_id)

    def check_open(self) -> None:
        """As `runflow_async.checkpoints.SQLiteCheckpoints.check_open`."""
        self.asynchronous.check_open()


Checkpoint: TypeAlias = checkpoints.Checkpoint | SQLiteCheckpoints
"""What `checkpoint=` takes: a file, or a checkpoint of your own, whose `load` is awaited on the loop's thread."""


def for_wait(checkpoint: Checkpoint | None) -> checkpoints.Checkpoint | None:
    """Return what the asynchronous session takes."""
    return checkpoint.asynchronous if isinstance(checkpoint, SQLiteCheckpoints) else checkpoint


def for_session(waiting: WaitKeywords) -> runflow_async.WaitKeywords:
    """Return the keywords that the asynchronous session takes."""
    return {**waiting, "checkpoint": for_wait(waiting.get("checkpoint"))}


def _run(function: Callable[..., Awaitable[T]], *args: object) -> T:
    """Run it on a loop of its own: the file needs none between two calls, so that it may be used before a fork."""
    portal = Portal()
    try:
        return portal.run(function, *args)
    finally:
        portal.close()
