"""One wait's dealings with its checkpoint: what it loads at first, and what it records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runflow_async._arguments.values import check_type
from runflow_async._usercode import UserCode
from runflow_async.models import Batch

if TYPE_CHECKING:
    from uuid import UUID

    from runflow_async.checkpoints import Checkpoint
    from runflow_async.models import ItemTransition

__all__ = ["Recording"]


class Recording:
    """Without a checkpoint there is nothing to load, and nothing is recorded.

    Attributes:
        is_loaded: whether there is nothing to load any more.
        is_on: whether there is a checkpoint.
        knows_the_end: whether every item of what was loaded had ended.
    """

    __slots__ = ("_checkpoint", "_taken", "is_loaded", "is_on", "knows_the_end")

    def __init__(self, checkpoint: Checkpoint | None) -> None:
        self._checkpoint = checkpoint
        self._taken: ItemTransition | None = None
        self.is_on = checkpoint is not None
        self.is_loaded = checkpoint is None
        self.knows_the_end = False

    async def load(self, batch_id: UUID) -> Batch | None:
        """What earlier runs recorded of a batch; a load that was cut or failed can be made again.

        Raises:
            ConfigurationError: if the checkpoint answers with anything but a `Batch` or None.
        """
        assert self._checkpoint is not None  # noqa: S101  # else it is loaded from the start
        with UserCode("checkpoint.load"):
            earlier = await self._checkpoint.load(batch_id)
        if earlier is not None:
            check_type("what checkpoint.load returns", earlier, Batch)
            items = earlier.items or ()
            self.knows_the_end = bool(items) and all(item.is_terminal for item in items)
        self.is_loaded = True
        return earlier

    def take(self, transition: ItemTransition) -> None:
        """Note the transition to be recorded next."""
        if self.is_on:
            self._taken = transition

    def record(self) -> None:
        """Record the transition that was noted, unless that is done; if it fails, the next call tries again."""
        if self._checkpoint is not None and self._taken is not None:
            with UserCode("checkpoint.record"):
                self._checkpoint.record(self._taken)
            self._taken = None
