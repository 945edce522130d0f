"""The events that a wait reports to observers, and those of a wait for many batches. Only names facts."""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from runflow_async.models import ItemTransition, WaitStats

__all__ = ["FleetEnded", "Polled", "TransitionDelivered", "WaitEnded", "WaitStalled", "WaitStarted"]


class WaitStarted(Struct, frozen=True, kw_only=True, gc=False):
    """A wait takes its first step.

    Attributes:
        batch_id: the batch.
        wait_id: numbers the waits of a session, since several may watch one batch.
        fleet_id: numbers the waits for many batches; None if this is the wait for one.
    """

    batch_id: UUID
    wait_id: int
    fleet_id: int | None


class Polled(Struct, frozen=True, kw_only=True, gc=False):
    """A wait has read a valid response, whether or not its request was sent for this wait.

    Attributes:
        batch_id: the batch.
        wait_id: the wait.
        status_code: the batch's status.
        changes: number of items whose status has changed.
        items_ended: number of items that have ended, as far as the response says.
        items_total: number of items; None if the response does not say.
    """

    batch_id: UUID
    wait_id: int
    status_code: str | None
    changes: int
    items_ended: int
    items_total: int | None


class TransitionDelivered(Struct, frozen=True, kw_only=True, gc=False):
    """A transition goes to whoever iterates the wait.

    Attributes:
        batch_id: the batch.
        wait_id: the wait.
        transition: what changed.
        age: seconds since the response before the one that showed it, so the change is at most this old. For what
            the first response shows, seconds since the wait started.
    """

    batch_id: UUID
    wait_id: int
    transition: ItemTransition
    age: float


class WaitStalled(Struct, frozen=True, kw_only=True, gc=False):
    """Nothing of a batch has changed for the time given as `stalled_after`. Emitted once for each stall.

    Attributes:
        batch_id: the batch.
        wait_id: the wait.
        seconds: since the last change.
        status_code: of the batch, as received.
        items_ended: number of items that have ended.
        items_total: number of items; None if nothing says so.
    """

    batch_id: UUID
    wait_id: int
    seconds: float
    status_code: str | None
    items_ended: int
    items_total: int | None


class WaitEnded(Struct, frozen=True, kw_only=True):
    """A wait has ended. Transitions may still be pending.

    A wait that was dropped before its end, such as by a timeout around its `await`, ends as if it were closed.

    Attributes:
        batch_id: the batch.
        wait_id: the wait.
        status_code: the batch's last known status.
        error: what the wait ended with; None if it succeeded.
        stats: what the wait has cost.
    """

    batch_id: UUID
    wait_id: int
    status_code: str | None
    error: Exception | None
    stats: WaitStats


class FleetEnded(Struct, frozen=True, kw_only=True, gc=False):
    """Every wait of a wait for many batches has ended, or it was closed or dropped.

    It comes again if more batches are added later. If it was dropped, waits whose polls are in flight end after it.

    Attributes:
        fleet_id: as in `WaitStarted`.
        waits: number of its waits, including those that never started.
    """

    fleet_id: int
    waits: int
