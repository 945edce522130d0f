"""What the statuses of items and batches mean, decided in one place."""

from __future__ import annotations

from enum import Enum, StrEnum, auto

__all__ = ["KINDS", "TERMINAL_STATUSES", "BatchStatus", "Phase", "kind_of", "phase_of"]


class BatchStatus(StrEnum):
    """The statuses known today. The server may send others, which are kept as received."""

    QUEUED = "queued"
    DISPATCHING = "dispatching"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    PARTIAL_SUCCEEDED = "partial_succeeded"


class Phase(Enum):
    """What the status of an item or a batch means, apart from its spelling. `phase_of` returns it."""

    WAITING = auto()
    RUNNING = auto()
    SUCCEEDED = auto()
    PARTLY_SUCCEEDED = auto()
    FAILED = auto()
    CANCELLED = auto()
    UNKNOWN = auto()


_phases: dict[str | None, Phase] = {
    "queued": Phase.WAITING,
    "dispatching": Phase.WAITING,
    "running": Phase.RUNNING,
    "succeeded": Phase.SUCCEEDED,
    "partial_succeeded": Phase.PARTLY_SUCCEEDED,
    "failed": Phase.FAILED,
    "canceled": Phase.CANCELLED,
    "cancelled": Phase.CANCELLED,
}


def phase_of(status: str | None) -> Phase:
    """Return the phase of a status, in any spelling of the server; `Phase.UNKNOWN` if it is not known."""
    return _phases.get(status, Phase.UNKNOWN)


TERMINAL_STATUSES: frozenset[str] = frozenset(
    {status for status, phase in _phases.items() if status and phase not in {Phase.WAITING, Phase.RUNNING}}
)
"""Final statuses, including both of the server's spellings of cancelled."""

KINDS = ("succeeded", "failed", "cancelled", "running", "queued", "other")
"""What `kind_of` returns, in the order of the parts of a progress bar."""
_kinds = {
    Phase.SUCCEEDED: "succeeded",
    Phase.FAILED: "failed",
    Phase.CANCELLED: "cancelled",
    Phase.RUNNING: "running",
    Phase.WAITING: "queued",
}


def kind_of(status: str) -> str:
    """Return the word for an item's status in counts and bars, one of `KINDS`; `other` if it is not known."""
    return _kinds.get(phase_of(status), "other")
