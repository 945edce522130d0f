"""Errors of the thread on their way to a caller."""

from __future__ import annotations

import threading

from runflow_async.errors import CheckpointError

__all__ = ["Reports", "explain"]

MOST_NAMED = 5
"""Errors that one message spells out."""


def explain(what: str, error: Exception) -> CheckpointError:
    """Our error with another one's words; one of ours stays as it is."""
    if isinstance(error, CheckpointError):
        return error
    explained = CheckpointError(f"{what}: {str(error) or type(error).__name__}")
    explained.__cause__ = error
    return explained


class Reports:
    """What no call has raised yet.

    Attributes:
        untold: read it without the lock to see whether there is anything.
    """

    def __init__(self) -> None:
        self.untold: list[CheckpointError] = []
        self._lock = threading.Lock()
        self._failure: CheckpointError | None = None

    def add(self, error: CheckpointError) -> None:
        """Keep an error about something that is lost: each is raised once."""
        with self._lock:
            self.untold.append(error)

    def set_failure(self, failure: CheckpointError | None) -> None:
        """Keep an error about something that is tried again: only the latest counts, and None once it has worked."""
        with self._lock:
            self.untold = [error for error in self.untold if error is not self._failure]
            if failure is not None:
                self.untold.append(failure)
            self._failure = failure

    def take(self) -> CheckpointError | None:
        """All of them as one error; they count as raised."""
        with self._lock:
            errors, self.untold = self.untold, []
        if len(errors) <= 1:
            return errors[0] if errors else None
        rest = len(errors) - MOST_NAMED
        texts = [*map(str, errors[:MOST_NAMED]), *([f"and {rest} more"] if rest > 0 else [])]
        together = CheckpointError("; ".join(texts))
        together.__cause__ = errors[0]
        return together
