"""What a batch looks like at a given time, computed from its items' timelines on request.

Uses no clock, no randomness and no HTTP: `drawing` makes up the timelines, `server` responds with the snapshots.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec import Struct

from runflow_async.models import TERMINAL_STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["ScriptedBatch", "ScriptedItem", "Timeline"]

WAITING = frozenset({"queued", "dispatching"})


class Timeline(Struct, frozen=True, gc=False):
    """Statuses, by the seconds after the batch's creation at which they start."""

    instants: tuple[float, ...]
    statuses: tuple[str, ...]

    @classmethod
    def of(cls, steps: Iterable[tuple[float, str]]) -> Timeline:
        """Check the steps of a script and store them.

        Raises:
            ValueError: if there are none, or if their times are not finite, negative or out of order.
        """
        pairs = tuple(steps)
        if not pairs:
            raise ValueError("a timeline needs at least one step, such as (0.0, 'queued')")
        instants = tuple(float(instant) for instant, _ in pairs)
        if not all(0 <= instant < math.inf for instant in instants) or list(instants) != sorted(instants):
            raise ValueError(f"a timeline's times must be seconds from 0, in ascending order, not {instants}")
        return cls(instants, tuple(status for _, status in pairs))

    def status_at(self, elapsed: float) -> str | None:
        """The current status; None before the first step."""
        step = bisect_right(self.instants, elapsed)
        return self.statuses[step - 1] if step else None

    def since(self, elapsed: float) -> float:
        """The time at which the status at `elapsed` began; infinite before the first step."""
        step = bisect_right(self.instants, elapsed)
        return self.instants[step - 1] if step else math.inf

    def first_work(self) -> float:
        """The time at which the item leaves the queue; infinite if it never does."""
        steps = zip(self.instants, self.statuses, strict=True)
        return next((instant for instant, status in steps if status not in WAITING), math.inf)

    def first_end(self) -> float:
        """The time of the first terminal status; infinite if there is none."""
        return next((instant for instant in self.instants if self.status_at(instant) in TERMINAL_STATUSES), math.inf)


class ScriptedItem(Struct, frozen=True, gc=False):
    """An item and its future. `output` is what it produces if it succeeds; None leaves that to the emulator."""

    id: str
    run_id: str
    client_ref: str | None
    timeline: Timeline
    input: dict[str, Any]
    output: dict[str, Any] | None = None


class ScriptedBatch(Struct, frozen=True, kw_only=True):
    """A batch as created, and its future.

    Attributes:
        created: time on the emulator's clock.
        created_at: the same time as shown in the responses.
        first_work: seconds after creation at which the first item leaves the queue; infinite if none ever does.
        status_timeline: the batch's own statuses; None derives them from the items.
        price: the cost of one succeeded item.
    """

    id: UUID
    organization_id: UUID
    created: float
    created_at: datetime
    created_by: UUID
    target_id: UUID
    items: tuple[ScriptedItem, ...]
    first_work: float
    status_timeline: Timeline | None = None
    price: Decimal = Decimal("0.0125")
    callback_url: str | None = None
    metadata: dict[str, Any] | None = None

    def snapshot(self, now: float) -> dict[str, Any]:
        """Return every property of the contract's `Batch` as JSON, at the time `now` of the clock."""
        return self.snapshot_after(now - self.created)

    def snapshot_after(self, elapsed: float) -> dict[str, Any]:
        """Return the same, by seconds after the batch's creation."""
        handles = self.handles_after(elapsed)
        statuses = [handle["status_code"] for handle in handles]
        status = self._status(elapsed, statuses)
        counts = Counter(statuses)
        return {
            "id": str(self.id),
            "org_id": str(self.organization_id),
            "target_type_code": "model",
            "target_type": "model",
            "target_id": str(self.target_id),
            "status_code": status,
            "source_code": "api",
            "items_total": len(self.items),
            "items_succeeded": counts["succeeded"],
            "items_failed": counts["failed"],
            "items_cancelled": counts["canceled"] + counts["cancelled"],
            "input": [item.input for item in self.items],
            "resolved_template_id": None,
            "dispatch_provider_link_id": None,
            "cost": str(self.price * counts["succeeded"]),
            "output": {"items_done": len(handles)} if status in TERMINAL_STATUSES else None,
            "metadata": self.metadata,
            "callback_url": self.callback_url,
            **_failure(status),
            "created_by": str(self.created_by),
            **self._instants(elapsed, status),
            "links": {"self": f"/v1/batches/{self.id}", "items": f"/v1/batches/{self.id}/items"},
            "items": handles,
        }

    def ends(self) -> float:
        """Seconds after creation at which the batch's status is first terminal; infinite if it never is."""
        if self.status_timeline is not None:
            return self.status_timeline.first_end()
        timelines = [item.timeline for item in self.items]
        # The end comes later if an item continues after a terminal status.
        earliest = max(timeline.first_end() for timeline in timelines)
        instants = {instant for timeline in timelines for instant in timeline.instants if instant >= earliest}
        for instant in sorted(instants):
            if all(timeline.status_at(instant) in TERMINAL_STATUSES for timeline in timelines):
                return instant
        return math.inf

    def detail_after(
        self, elapsed: float, handle: dict[str, Any], show_output: Callable[[UUID, str, int], dict[str, Any]]
    ) -> dict[str, Any]:
        """Return an item with its input and results, as JSON.

        Args:
            elapsed: seconds after the batch's creation.
            handle: the item's handle at that time.
            show_output: makes the output of a succeeded item from the ids of the batch and the item, and its index.
        """
        index: int = handle["sequence_index"]
        item, status = self.items[index], handle["status_code"]
        started = item.timeline.first_work()
        succeeded = status == "succeeded"
        return handle | {
            "batch_id": str(self.id),
            "input": item.input,
            "output": (item.output or show_output(self.id, item.id, index)) if succeeded else None,
            "error": {"code": "ITEM_FAILED", "message": "this item failed"} if status == "failed" else None,
            "cost": str(self.price) if succeeded else None,
            "created_at": self._shown(0.0),
            "started_at": self._shown(started) if started <= elapsed else None,
            "completed_at": self._shown(item.timeline.since(elapsed)) if status in TERMINAL_STATUSES else None,
            "run": {"id": handle["run_id"], "status_code": status},
        }

    def handles_after(self, elapsed: float) -> list[dict[str, Any]]:
        """Return the handles of all items that have appeared, in sequence order, as JSON."""
        return [
            {
                "id": item.id,
                "sequence_index": index,
                "client_ref": item.client_ref,
                "run_id": item.run_id,
                "status_code": status,
            }
            for index, item in enumerate(self.items)
            if (status := item.timeline.status_at(elapsed)) is not None
        ]

    def _status(self, elapsed: float, statuses: Sequence[str]) -> str:
        if self.status_timeline is not None:
            return self.status_timeline.status_at(elapsed) or "queued"
        if len(statuses) == len(self.items) and TERMINAL_STATUSES.issuperset(statuses):
            return _outcome(statuses)
        if WAITING.issuperset(statuses):
            return "dispatching" if "dispatching" in statuses else "queued"
        return "running"

    def _instants(self, elapsed: float, status: str) -> dict[str, Any]:
        started = self.first_work
        completed = self._completed(elapsed) if status in TERMINAL_STATUSES else math.inf
        ran = completed < math.inf and started <= elapsed
        return {
            "created_at": self._shown(0.0),
            "started_at": self._shown(started) if started <= elapsed else None,
            "completed_at": self._shown(completed) if completed < math.inf else None,
            "duration_ms": max(0, round(1000 * (completed - started))) if ran else None,
        }

    def _completed(self, elapsed: float) -> float:
        if self.status_timeline is not None:
            return self.status_timeline.since(elapsed)
        return max(item.timeline.since(elapsed) for item in self.items)

    def date_at(self, now: float) -> str:
        """Return the date of an instant of the clock, as shown in the responses."""
        return self._shown(now - self.created)

    def _shown(self, elapsed: float) -> str:
        instant = self.created_at + timedelta(seconds=elapsed)
        return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _outcome(statuses: Sequence[str]) -> str:
    outcomes = {"canceled" if status == "cancelled" else status for status in statuses}
    return outcomes.pop() if len(outcomes) == 1 else "partial_succeeded"


def _failure(status: str) -> dict[str, str | None]:
    failed = status == "failed"
    return {
        "failure_code": "ALL_ITEMS_FAILED" if failed else None,
        "failure_message": "no item of this batch succeeded" if failed else None,
        "failure_stage_code": "run" if failed else None,
    }
