"""Count the requests of one wait, and how each of them ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from runflow_async.models import WaitStats

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Costs"]


class Costs:
    """The counts of a wait. Each poll runs in it as in a context, and is counted by how it ends.

    Attributes:
        polls: number of valid responses.
        retries: number of failed polls after which another one was planned.
        transitions: number of transitions delivered.
        sent_at: instant at which the latest poll first sent a request; None if it has sent none.
    """

    __slots__ = (
        "_cut",
        "_failures",
        "_first_sent_at",
        "_repeats",
        "_requests",
        "_shared",
        "polls",
        "retries",
        "sent_at",
        "transitions",
    )

    def __init__(self) -> None:
        self.polls = self.retries = self.transitions = 0
        self.sent_at: float | None = None
        self._first_sent_at: float | None = None
        self._requests = self._failures = self._repeats = self._cut = self._shared = 0

    def __enter__(self) -> Self:
        self.sent_at = None
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if exc_type is None:
            self.polls += 1
            self._shared += self.sent_at is None
        elif self.sent_at is not None:
            if issubclass(exc_type, Exception):
                self._failures += 1
            else:
                self._cut += 1

    def count_request(self, now: float) -> None:
        """Count a request that the poll sends; if it has sent one before, that one found its connection closed."""
        self._requests += 1
        if self.sent_at is None:
            self.sent_at = now
        else:
            self._repeats += 1
        if self._first_sent_at is None:
            self._first_sent_at = now

    def join(self, sent_at: float) -> float:
        """Note, and return, the instant from which on another wait's request counts for this one."""
        if self._first_sent_at is None:
            self._first_sent_at = sent_at
        return sent_at

    def age(self, now: float) -> float:
        """Return the seconds since the first request for the wait; 0 before it."""
        return 0.0 if self._first_sent_at is None else now - self._first_sent_at

    def stats(self, elapsed: float) -> WaitStats:
        """Return the counts as the user sees them."""
        return WaitStats(
            polls=self.polls,
            requests=self._requests,
            retries=self.retries,
            failures=self._failures,
            repeats=self._repeats,
            cut=self._cut,
            shared=self._shared,
            transitions=self.transitions,
            elapsed=elapsed,
        )
