"""What a consumer lacks: the changes that were seen and are not delivered yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runflow_async._answers.transitions import make_transitions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from uuid import UUID

    from runflow_async._answers.transitions import ItemChange
    from runflow_async.models import ItemTransition

__all__ = ["Pending"]


class Pending:
    """How the consumer differs from what was seen.

    Transitions are made when the first one is delivered, all at once: their ids become UUIDs in one call of C code.

    Args:
        delivered: the last delivered status of each item; from now on it belongs to this object.
        changes: the changes that are left, in order.
        observed_at: when the newest change was seen.
    """

    __slots__ = ("_changes", "_delivered", "_observed_at", "_ready")

    def __init__(self, delivered: dict[str, str], changes: list[ItemChange], observed_at: datetime) -> None:
        self._delivered = delivered
        self._changes: list[ItemChange] | None = changes  # None if a comparison has to find them
        self._observed_at = observed_at
        self._ready: list[ItemTransition] = []  # those left of the changes, the next one last; empty until wanted

    @property
    def delivered(self) -> Mapping[str, str]:
        """The last delivered status of each item."""
        self._count_delivered()
        return self._delivered

    def _count_delivered(self) -> None:
        if self._changes is not None and self._ready:
            count = len(self._changes) - len(self._ready)
            self._delivered.update((change.key, change.item.status_code) for change in self._changes[:count])
            del self._changes[:count]

    def add(self, observed_at: datetime) -> None:
        """Note that more has changed. It may undo or continue a change that is left."""
        self.postpone()
        self._observed_at = observed_at

    def postpone(self) -> None:
        """Forget the changes that are left, until a comparison finds them again."""
        self._count_delivered()
        self._changes = None
        self._ready = []

    def ready(self, batch_id: UUID, compare: Callable[[Mapping[str, str]], list[ItemChange]]) -> list[ItemTransition]:
        """Return the transitions that are left, the next one last. Whoever removes one has delivered it.

        Args:
            batch_id: their batch.
            compare: finds the changes, given the last delivered status of each item.
        """
        if not self._ready:
            if self._changes is None:
                self._changes = compare(self._delivered)
            self._ready = make_transitions(batch_id, self._changes, self._observed_at)
            self._ready.reverse()
        return self._ready
