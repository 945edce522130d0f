"""How many requests may be in flight at an overloaded server that does not say 429.

Such a server answers late, or with 503 and 504. If the client sends more meanwhile, the queue grows until every request
times out before its answer, and the server works for nobody. So, as in TCP's congestion control, an overload halves the
window, and each window of valid responses widens it by one.
"""

from __future__ import annotations

import math

__all__ = ["Window"]

LEAST_IN_FLIGHT = 2
SHRINKING = 0.5


class Window:
    """The bound on requests in flight.

    Args:
        most: the bound while the server is well.

    Attributes:
        most: that bound.
    """

    __slots__ = ("_shrunk_at", "_size", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self._size = float(most)
        self._shrunk_at = -math.inf

    @property
    def size(self) -> int:
        """How many requests may be in flight."""
        return int(self._size)

    @property
    def is_narrowed(self) -> bool:
        """Whether an overload left less than the bound of a server that is well."""
        return self.size < self.most

    def answered(self) -> None:
        """A valid response arrived."""
        self._size = min(float(self.most), self._size + 1 / self._size)

    def overloaded(self, sent_at: float, now: float) -> None:
        """A request failed as those of overloaded servers do. Those that were in flight at the same time count once."""
        if sent_at > self._shrunk_at:
            self._size = max(min(LEAST_IN_FLIGHT, self.most), SHRINKING * self._size)
            self._shrunk_at = now
