"""Errors of the thread, kept until a call raises them."""

from __future__ import annotations

import threading

from runflow_async.errors import CheckpointError

__all__ = ["Reports", "explain"]

MOST_NAMED = 5
"""How many errors one message spells out."""


def explain(what: str, error: Exception) -> CheckpointError:
    """Wrap another library's error in one of ours; our own errors stay unchanged."""
    if isinstance(error, CheckpointError):
        return error
    explained = CheckpointError(f"{what}: {str(error) or type(error).__name__}")
    explained.__cause__ = error
    return explained


class Reports:
    """Errors that no call has raised yet.

    Attributes:
        untold: whether there is any; can be read without the lock.
    """

    def __init__(self) -> None:
        self.untold: list[CheckpointError] = []
        self._lock = threading.Lock()
        self._failure: CheckpointError | None = None

    def add(self, error: CheckpointError) -> None:
        """Keep an error about something that is lost. Each one is raised once."""
        with self._lock:
            self.untold.append(error)

    def set_failure(self, failure: CheckpointError | None) -> None:
        """Keep an error about something that is retried. Only the latest counts; None once a retry has succeeded."""
        with self._lock:
            self.untold = [error for error in self.untold if error is not self._failure]
            if failure is not None:
                self.untold.append(failure)
            self._failure = failure

    def take(self) -> CheckpointError | None:
        """Return all of them as one error; they then count as raised."""
        with self._lock:
            errors, self.untold = self.untold, []
        if len(errors) <= 1:
            return errors[0] if errors else None
        rest = len(errors) - MOST_NAMED
        texts = [*map(str, errors[:MOST_NAMED]), *([f"and {rest} more"] if rest > 0 else [])]
        together = CheckpointError("; ".join(texts))
        together.__cause__ = errors[0]
        return together
