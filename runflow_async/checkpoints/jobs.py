"""Calls to the thread, each with a future for its answer."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from runflow_async.errors import CheckpointError

__all__ = ["NO_BATCH", "Job", "Kind"]

NO_BATCH = UUID(int=0)
"""Stands for the batch in a call that concerns no batch."""


class Kind(Enum):
    """The kinds of calls to the thread."""

    LOAD = auto()
    FLUSH = auto()
    FORGET = auto()
    STOP = auto()


@dataclass(slots=True)
class Job:
    """One call to the thread. The caller waits for its answer, except to `STOP`."""

    kind: Kind
    batch_id: UUID
    future: Future[Any] = field(default_factory=Future[Any])

    def resolve(self, value: object = None, error: CheckpointError | None = None) -> None:
        """Answer, unless the caller has gone."""
        if not self.future.set_running_or_notify_cancel():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(value)
