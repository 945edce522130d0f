"""What a consumer lacks: the changes that were seen and are not delivered yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import deque
    from datetime import datetime

    from runflow_async.models import ItemTransition

__all__ = ["Pending"]


@dataclass(slots=True)
class Pending:
    """How the consumer differs from what was seen.

    Attributes:
        delivered: the last delivered status of each item, by key.
        observed_at: when the newest change was seen.
        queue: the changes that are left, never empty; None if a comparison has to find them.
    """

    delivered: dict[int, str]
    observed_at: datetime
    queue: deque[ItemTransition] | None

    def add(self, observed_at: datetime) -> None:
        """Note that more has changed. It may undo or continue one of the changes that are left."""
        self.observed_at = observed_at
        self.queue = None
