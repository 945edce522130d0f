"""One wait's dealings with its checkpoint: what it loads at first, and what it records."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runflow_async._arguments.values import check_type
from runflow_async._usercode import UserCode
from runflow_async.errors import WaitTimeoutError
from runflow_async.models import Batch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from runflow_async.checkpoints import Checkpoint
    from runflow_async.models import ItemTransition

__all__ = ["Recording"]


class Recording:
    """What one wait loads and records. Without a checkpoint, nothing.

    Attributes:
        is_loaded: whether nothing is left to load.
        is_on: whether there is a checkpoint.
        knows_the_end: whether every item of what was loaded had ended.
    """

    __slots__ = ("_checkpoint", "_unrecorded", "is_loaded", "is_on", "knows_the_end")

    def __init__(self, checkpoint: Checkpoint | None) -> None:
        self._checkpoint = checkpoint
        self._unrecorded: list[ItemTransition] = []  # the next one last
        self.is_on = checkpoint is not None
        self.is_loaded = checkpoint is None
        self.knows_the_end = False

    async def load(self, batch_id: UUID, started: float, allowed: float) -> Batch | None:
        """Return what was recorded of a batch earlier. If it was cancelled or failed, it can be called again.

        Args:
            batch_id: the batch.
            started: when the wait started, on the event loop's clock.
            allowed: seconds from then on.

        Raises:
            ConfigurationError: if the checkpoint returns anything but a `Batch` or None.
            WaitTimeoutError: if it does not return in time.
        """
        bound = asyncio.timeout_at(started + allowed)
        try:
            async with bound:
                return await self._load(batch_id)
        except Exception as error:
            if not bound.expired():
                raise
            raise WaitTimeoutError(batch_id, allowed, reason="checkpoint.load did not return") from error

    async def _load(self, batch_id: UUID) -> Batch | None:
        with UserCode("checkpoint.load"):
            earlier = None if self._checkpoint is None else await self._checkpoint.load(batch_id)
        if earlier is not None:
            check_type("what checkpoint.load returns", earlier, Batch)
            items = earlier.items or ()
            self.knows_the_end = bool(items) and all(item.is_terminal for item in items)
        self.is_loaded = True
        return earlier

    def deliver(self, transitions: Sequence[ItemTransition]) -> None:
        """Note the transitions that the next `record` records."""
        if self.is_on:
            self._unrecorded[:0] = reversed(transitions)

    def record(self) -> None:
        """Record the transitions that were noted, each once. If that fails, the next call records the rest."""
        while self._checkpoint is not None and self._unrecorded:
            with UserCode("checkpoint.record"):
                self._checkpoint.record(self._unrecorded[-1])
            self._unrecorded.pop()
