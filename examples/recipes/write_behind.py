"""A base for checkpoints in a database: `record` keeps transitions in memory, and a task writes them.

If the process is killed, what was not written yet is delivered again. Nothing is lost.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

from runflow_async import Batch, BatchItemHandle, CheckpointError, ItemTransition

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

PAUSE = 1.0
"""Seconds before a failed write is tried again."""


class WriteBehind(ABC):
    """Use a subclass as `async with`; leaving it writes what is left."""

    def __init__(self) -> None:
        self._unwritten: list[ItemTransition] = []
        self._recorded = asyncio.Event()
        self._writing = asyncio.Lock()
        self._failure: Exception | None = None

    @abstractmethod
    async def read(self, batch_id: UUID) -> Sequence[BatchItemHandle]:
        """Return the recorded items of a batch, in any order."""

    @abstractmethod
    async def write(self, transitions: Sequence[ItemTransition]) -> None:
        """Write transitions in their order. Must accept one that is written already, and keep the first end."""

    async def load(self, batch_id: UUID) -> Batch | None:
        """Return what was recorded of a batch, by this process or another one."""
        await self.flush()
        items = sorted(await self.read(batch_id), key=lambda item: item.sequence_index)
        return Batch(id=batch_id, items=items) if items else None

    def record(self, transition: ItemTransition) -> None:
        """Keep a transition until it is written. Raises `CheckpointError` once for each write that failed."""
        self._unwritten.append(transition)
        self._recorded.set()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise CheckpointError(f"cannot write {len(self._unwritten)} transitions: {failure}") from failure

    async def flush(self) -> None:
        """Return once everything recorded is written."""
        async with self._writing:
            while writing := self._unwritten[:1000]:
                await self.write(writing)
                del self._unwritten[: len(writing)]

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._write_behind())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        await self.flush()

    async def _write_behind(self) -> None:
        while True:
            await self._recorded.wait()
            self._recorded.clear()
            try:
                await self.flush()
            except Exception as failure:  # noqa: BLE001  # the next record raises it
                self._failure = failure
                await asyncio.sleep(PAUSE)
                self._recorded.set()
