"""Which waits of a session are for which batch, as long as somebody else holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

if TYPE_CHECKING:
    from uuid import UUID

    from runflow_async._waits.run import Run

__all__ = ["Registry"]


class Registry:
    """The waits by their batch. A wait that nobody else holds leaves nothing behind."""

    def __init__(self) -> None:
        self._entries: dict[UUID, set[_Entry]] = {}

    def add(self, run: Run) -> None:
        """Know a wait for as long as it lives."""
        entry = _Entry(run, self._forget)
        entry.batch_id = run.batch_id
        # The collector may forget another one at any moment: an empty set is never the one that is kept.
        entries = self._entries.get(run.batch_id, set())
        entries.add(entry)
        self._entries[run.batch_id] = entries

    def runs(self, batch_id: UUID) -> list[Run]:
        """Every wait for a batch that is alive."""
        found = [entry() for entry in tuple(self._entries.get(batch_id, ()))]  # a copy: the same may happen meanwhile
        return [run for run in found if run is not None]

    def _forget(self, entry: _Entry) -> None:
        entries = self._entries[entry.batch_id]
        entries.discard(entry)
        if not entries:
            del self._entries[entry.batch_id]


class _Entry(ref["Run"]):
    """A weak reference that knows where it is kept."""

    __slots__ = ("batch_id",)

    batch_id: UUID
