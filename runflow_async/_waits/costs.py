"""What one wait has cost, counted request by request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from runflow_async.models import WaitStats

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Costs"]


class Costs:
    """The counts of a wait; a context around each poll, which is counted by the way it ends.

    Attributes:
        polls: valid responses.
        retries: failed polls after which another one was planned.
        transitions: those yielded.
        sent_at: when the latest poll first sent a request; None if it has sent none.
    """

    __slots__ = (
        "_cut",
        "_failures",
        "_first_sent_at",
        "_repeats",
        "_requests",
        "polls",
        "retries",
        "sent_at",
        "transitions",
    )

    def __init__(self) -> None:
        self.polls = self.retries = self.transitions = 0
        self.sent_at: float | None = None
        self._first_sent_at: float | None = None
        self._requests = self._failures = self._repeats = self._cut = 0

    def __enter__(self) -> Self:
        self.sent_at = None
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if exc_type is None:
            self.polls += 1
        elif self.sent_at is not None:
            if issubclass(exc_type, Exception):
                self._failures += 1
            else:
                self._cut += 1

    def count_request(self, now: float) -> None:
        """The poll sends a request; if it has sent one before, that one found its connection closed."""
        self._requests += 1
        if self.sent_at is None:
            self.sent_at = now
        else:
            self._repeats += 1
        if self._first_sent_at is None:
            self._first_sent_at = now

    def age(self, now: float) -> float:
        """Seconds since the wait's first request; 0 before it."""
        return 0.0 if self._first_sent_at is None else now - self._first_sent_at

    def stats(self, elapsed: float) -> WaitStats:
        """The counts as the user sees them."""
        return WaitStats(
            polls=self.polls,
            requests=self._requests,
            retries=self.retries,
            failures=self._failures,
            repeats=self._repeats,
            cut=self._cut,
            transitions=self.transitions,
            elapsed=elapsed,
        )
