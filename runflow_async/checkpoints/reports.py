"""Errors of the thread: every one becomes a `CheckpointError`, kept until a call raises it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from runflow_async.errors import CheckpointError

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Explained", "Reports", "explain"]

MOST_NAMED = 5
"""How many errors one message spells out."""


def explain(what: str, error: Exception) -> CheckpointError:
    """Wrap another library's error in one of ours; our own errors stay unchanged."""
    if isinstance(error, CheckpointError):
        return error
    explained = CheckpointError(f"{what}: {str(error) or type(error).__name__}")
    explained.__cause__ = error
    return explained


class Explained:
    """A context that raises any error as a `CheckpointError`, which says what could not be done.

    Args:
        what: text with `%` for each of the details; it is put together only if something goes wrong.
    """

    __slots__ = ("_details", "_what")

    def __init__(self, what: str, *details: object) -> None:
        self._what = what
        self._details = details

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(exc, Exception):
            raise explain(self._what % self._details, exc)


class Reports:
    """Errors that no call has raised yet.

    Attributes:
        pending: those errors. Whether there are any can be seen without the lock.
    """

    def __init__(self) -> None:
        self.pending: list[CheckpointError] = []
        self._lock = threading.Lock()
        self._failure: CheckpointError | None = None

    def add(self, error: CheckpointError) -> None:
        """Keep an error about something that is lost. Each one is raised once."""
        with self._lock:
            self.pending.append(error)

    def set_failure(self, failure: CheckpointError | None) -> None:
        """Keep an error about something that is retried. Only the latest counts; None once a retry has succeeded."""
        with self._lock:
            self.pending = [error for error in self.pending if error is not self._failure]
            if failure is not None:
                self.pending.append(failure)
            self._failure = failure

    def take(self) -> CheckpointError | None:
        """Return all of them as one error; they then count as raised."""
        with self._lock:
            errors, self.pending = self.pending, []
        if len(errors) <= 1:
            return errors[0] if errors else None
        rest = len(errors) - MOST_NAMED
        texts = [*map(str, errors[:MOST_NAMED]), *([f"and {rest} more"] if rest > 0 else [])]
        together = CheckpointError("; ".join(texts))
        together.__cause__ = errors[0]
        return together
