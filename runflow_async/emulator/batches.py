"""The batches of an emulator: made by its methods, or over HTTP by the next script or the plan."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict

from runflow_async.emulator.callbacks import check_callback
from runflow_async.emulator.drawing import BatchDetails, draw_batch
from runflow_async.emulator.timelines import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from random import Random
    from uuid import UUID

    from runflow_async.emulator.callbacks import Deliveries
    from runflow_async.emulator.creating import Creation
    from runflow_async.emulator.timelines import ScriptedBatch

__all__ = ["BatchPlan", "Batches", "Script", "script_of"]

Script = tuple[list[Timeline], Timeline | None]
"""The items' timelines, and the batch's own; None derives it from them."""


class BatchPlan(TypedDict, total=False):
    """How a batch runs: keywords of `Emulator.create_batch`, with the same defaults."""

    duration: float
    fail: float
    cancel: float
    workers: int
    stragglers: int
    seed: int | None


class Batches:
    """All batches of one emulator.

    Args:
        random: the source of every choice.
        organization_id: owner of the batches.
        now: the emulator's clock.
        deliveries: delivers their callbacks.

    Attributes:
        by_id: all of them.
        created: the ids of those that were created over HTTP, oldest first.
        scripts: the timelines of the next ones created over HTTP.
        plan: how those without a script run.
    """

    def __init__(self, random: Random, organization_id: UUID, now: Callable[[], float], deliveries: Deliveries) -> None:
        self.by_id: dict[UUID, ScriptedBatch] = {}
        self.created: list[UUID] = []
        self.scripts: deque[Script] = deque()
        self.plan: BatchPlan = {}
        self._random = random
        self._organization_id = organization_id
        self._now = now
        self._deliveries = deliveries

    def create(self, creation: Creation, draw: Callable[..., UUID]) -> dict[str, Any]:
        """Add the batch that a request asks for, and return its first snapshot.

        Args:
            creation: the request.
            draw: `Emulator.create_batch`, which makes a batch without a script.

        Raises:
            ValueError: if the plan is invalid.
        """
        details: BatchDetails = {
            "client_refs": creation.client_refs,
            "inputs": creation.inputs,
            "metadata": creation.metadata,
            "callback_url": creation.callback_url,
        }
        count = len(creation.inputs)
        if self.scripts:
            timelines, status_timeline = self.scripts.popleft()
            batch_id = self.add([timelines[n % len(timelines)] for n in range(count)], status_timeline, details)
        else:
            batch_id = draw(count, **self.plan, **details)
        self.created.append(batch_id)
        return self.by_id[batch_id].snapshot_after(0.0)

    def add(self, timelines: Sequence[Timeline], status_timeline: Timeline | None, details: BatchDetails) -> UUID:
        """Add a batch with these timelines, which starts now.

        Raises:
            ValueError: if the details are invalid.
        """
        times = details.get("callback_times", 1)
        check_callback(details.get("callback_url"), times)
        created = self._now()
        batch = draw_batch(
            self._random,
            timelines,
            status_timeline,
            details,
            organization_id=self._organization_id,
            created=created,
            created_at=self._epoch + timedelta(seconds=created),
        )
        self.by_id[batch.id] = batch
        self._deliveries.expect(batch, times)
        return batch.id

    @cached_property
    def _epoch(self) -> datetime:
        # Dates are derived from the clock, so that they stay consistent with it if it jumps.
        return datetime.now(UTC) - timedelta(seconds=self._now())


def script_of(
    timelines: Iterable[Iterable[tuple[float, str]]], status_timeline: Iterable[tuple[float, str]] | None
) -> Script:
    """Check a script and store it.

    Raises:
        ValueError: if there are no timelines, or one is empty or out of order.
    """
    scripts = [Timeline.of(steps) for steps in timelines]
    if not scripts:
        raise ValueError("a batch needs at least one item: pass one timeline per item")
    return scripts, None if status_timeline is None else Timeline.of(status_timeline)
