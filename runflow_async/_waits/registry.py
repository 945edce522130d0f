"""The waits of a session by their batch, for as long as somebody else keeps them alive."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

if TYPE_CHECKING:
    from uuid import UUID

    from runflow_async._waits.run import Run

__all__ = ["Registry"]


class Registry:
    """Weak references to waits, by batch. A wait that was freed leaves nothing behind."""

    def __init__(self) -> None:
        self._entries: dict[int, set[_Entry]] = {}  # by the number that a batch's id is, which hashes faster

    def add(self, run: Run) -> None:
        """Register a wait until it is freed."""
        entry = _Entry(run, self._forget)
        entry.key = run.batch_id.int
        # The collector may remove another entry at any moment, and with the last one the set: never keep an empty set.
        entries = self._entries.get(entry.key, set())
        entries.add(entry)
        self._entries[entry.key] = entries

    def is_shared(self, batch_id: UUID) -> bool:
        """Whether more than one wait still waits for a batch."""
        return len(self._entries.get(batch_id.int, ())) > 1 and len(self.watching(batch_id)) > 1

    def watching(self, batch_id: UUID) -> list[Run]:
        """Return the waits for a batch that have not ended."""
        return [run for run in self.runs(batch_id) if not run.is_done]

    def runs(self, batch_id: UUID) -> list[Run]:
        """Return every wait for a batch that is alive."""
        found = [entry() for entry in tuple(self._entries.get(batch_id.int, ()))]  # a copy, for the same reason
        return [run for run in found if run is not None]

    def all_runs(self) -> list[Run]:
        """Return every wait that is alive."""
        found = [entry() for entries in tuple(self._entries.values()) for entry in tuple(entries)]
        return [run for run in found if run is not None]

    def _forget(self, entry: _Entry) -> None:
        entries = self._entries[entry.key]
        entries.discard(entry)
        if not entries:
            del self._entries[entry.key]


class _Entry(ref["Run"]):
    """A weak reference that knows where it is kept."""

    __slots__ = ("key",)

    key: int
