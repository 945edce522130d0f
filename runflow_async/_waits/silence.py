"""An outage of the whole session: no wait gets a valid response. Its begin and its end are reported, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

from runflow_async.observers import OutageBegan, OutageEnded

if TYPE_CHECKING:
    from runflow_async._observing import Observing
    from runflow_async._waits.witness import Witness
    from runflow_async.errors import RunflowError

__all__ = ["LASTING_SECONDS", "Silence"]

LASTING_SECONDS = 30.0
"""Seconds without a valid response after which it is an outage."""


class Silence:
    """The time since the latest valid response to any wait of a session, if polls have failed since.

    Args:
        observing: the observers of the session.

    Attributes:
        observing: the same.
        since: instant of the first failure; None after a valid response.
    """

    __slots__ = ("_failing", "_is_reported", "observing", "since")

    def __init__(self, observing: Observing) -> None:
        self.observing = observing
        self.since: float | None = None
        self._failing: WeakSet[Witness] = WeakSet()  # a wait that is dropped waits no longer
        self._is_reported = False

    def failed(self, wait: Witness, now: float, error: RunflowError) -> None:
        """A poll of a wait failed, and is to be retried."""
        if self.since is None or not self._failing:
            self._end(now, 0)
            self.since = now
        self._failing.add(wait)
        lasted = now - self.since
        if lasted >= LASTING_SECONDS and not self._is_reported:
            self._is_reported = True
            self.observing.emit(OutageBegan(seconds=lasted, waits=len(self._failing), error=error))

    def answered(self, now: float) -> None:
        """A valid response, which arrived at an instant, was read."""
        if self.since is not None and now >= self.since:
            self._end(now, len(self._failing))

    def left(self, wait: Witness, now: float) -> None:
        """A wait has ended."""
        self._failing.discard(wait)
        if not self._failing:
            self._end(now, 0)

    def _end(self, now: float, waits: int) -> None:
        since, self.since = self.since, None
        was_reported, self._is_reported = self._is_reported, False
        self._failing.clear()
        if was_reported and since is not None:
            self.observing.emit(OutageEnded(seconds=now - since, waits=waits))
