"""Makes up batches: plausible timelines of items that share a few workers, drawn from a seed.

Decides how long every item waits and runs, how it ends, and every id. Knows nothing of clocks and HTTP.
"""

from __future__ import annotations

import heapq
import math
from random import Random
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar
from uuid import UUID

from runflow_async.emulator.timelines import ScriptedBatch, ScriptedItem, Timeline

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = ["BatchDetails", "draw_batch", "draw_timelines", "draw_uuid", "seeded"]

T = TypeVar("T")

LEAD_RUNS = 0.25
"""How long the first items wait before they run, in mean run durations."""


class BatchDetails(TypedDict, total=False):
    """Options of a new batch besides its timelines.

    Attributes:
        client_refs: one per item; by default `item-0`, `item-1` and so on.
        inputs: one JSON object per item; by default `{"prompt": "variation 0"}` and so on.
        outputs: one per item: the `output` it has once it succeeded, sent as given. None, and the default: URLs of
            files that the emulator serves, in the API's two shapes by turns.
        callback_url: an http(s) URL on loopback. A running `Emulator` posts to it when the batch has ended.
        callback_times: how often that callback is delivered; 1 by default.
        metadata: a JSON object, included in the responses.
        organization_id: the batch's owner. If it differs from the emulator's, requests for the batch get 403.
    """

    client_refs: Sequence[str | None] | None
    inputs: Sequence[dict[str, Any]] | None
    outputs: Sequence[dict[str, Any] | None] | None
    callback_url: str | None
    callback_times: int
    metadata: dict[str, Any] | None
    organization_id: UUID | None


def seeded(seed: int) -> Random:
    """Return the source of every choice."""
    return Random(seed)  # noqa: S311  # repeatable on purpose; nothing rests on its secrecy


def draw_uuid(random: Random) -> UUID:
    """Draw a version 4 UUID from the seed."""
    return UUID(int=random.getrandbits(128), version=4)


def draw_timelines(
    random: Random,
    *,
    items: int,
    duration: float,
    fail: float,
    cancel: float,
    workers: int,
    stragglers: int,
) -> list[Timeline]:
    """Draw one timeline per item, from queued to terminal. All of them end within `duration` seconds.

    Args:
        random: the source of every choice.
        items: number of items.
        duration: seconds; the last item ends exactly then.
        fail: share of items that end failed; rounded together with `cancel`, so that their sum is right.
        cancel: share of items that end canceled.
        workers: how many items run at the same time.
        stragglers: items that end at `duration`; all others have ended by half of it.

    Raises:
        ValueError: if an argument is invalid; the message says which, and what to pass.
    """
    _check_plan(items, duration, fail, cancel, workers=workers, stragglers=stragglers)
    outcomes = _draw_outcomes(random, items, fail, cancel)
    late = set(random.sample(range(items), stragglers))
    runs = _draw_runs(random, items, workers)
    scale = (duration / 2 if late else duration) / max(end for _, _, end in runs)
    return [
        Timeline(
            (0.0, scale * dispatched, scale * began, duration if index in late else min(scale * end, duration)),
            ("queued", "dispatching", "running", outcome),
        )
        for index, ((dispatched, began, end), outcome) in enumerate(zip(runs, outcomes, strict=True))
    ]


def draw_batch(
    random: Random,
    timelines: Sequence[Timeline],
    status_timeline: Timeline | None,
    details: BatchDetails,
    *,
    organization_id: UUID,
    created: float,
    created_at: datetime,
) -> ScriptedBatch:
    """Draw the ids of a batch and of its items.

    Args:
        random: the source of every choice.
        timelines: one per item.
        status_timeline: the batch's own statuses; None derives them from the items.
        details: everything else.
        organization_id: the owner, unless the details name another one.
        created: time on the emulator's clock.
        created_at: the same time as shown in the responses.

    Raises:
        ValueError: if the details do not have one `client_ref`, input or output per item.
    """
    count = len(timelines)
    refs = _one_per_item("client_refs", details.get("client_refs"), [f"item-{index}" for index in range(count)])
    inputs = _one_per_item("inputs", details.get("inputs"), [{"prompt": f"variation {n}"} for n in range(count)])
    outputs = _one_per_item("outputs", details.get("outputs"), [None] * count)
    items = tuple(
        ScriptedItem(str(draw_uuid(random)), str(draw_uuid(random)), *given)
        for given in zip(refs, timelines, inputs, outputs, strict=True)
    )
    return ScriptedBatch(
        id=draw_uuid(random),
        organization_id=details.get("organization_id") or organization_id,
        created=created,
        created_at=created_at,
        created_by=draw_uuid(random),
        target_id=draw_uuid(random),
        items=items,
        first_work=min(timeline.first_work() for timeline in timelines),
        status_timeline=status_timeline,
        callback_url=details.get("callback_url"),
        metadata=details.get("metadata"),
    )


def _one_per_item(name: str, given: Sequence[T] | None, usual: Sequence[T]) -> Sequence[T]:
    if given is not None and len(given) != len(usual):
        raise ValueError(f"{name} must be one per item: {len(usual)}, not {len(given)}")
    return usual if given is None else given


def _check_plan(items: int, duration: float, fail: float, cancel: float, *, workers: int, stragglers: int) -> None:
    _require(isinstance(items, int) and items >= 1, "items", "a positive whole number", items)
    _require(0 < duration < math.inf, "duration", "a finite number of seconds above 0", duration)
    for name, share in (("fail", fail), ("cancel", cancel)):
        _require(0 <= share <= 1, name, "a share from 0 to 1", share)
    _require(round(items * (fail + cancel)) <= items, "fail + cancel", "at most 1", fail + cancel)
    _require(workers >= 1, "workers", "a positive whole number", workers)
    _require(0 <= stragglers <= items, "stragglers", f"from 0 to the number of items ({items})", stragglers)


def _require(condition: bool, name: str, wanted: str, value: object) -> None:
    if not condition:
        raise ValueError(f"{name} must be {wanted}, not {value!r}")


def _draw_outcomes(random: Random, items: int, fail: float, cancel: float) -> list[str]:
    failed = round(items * fail)
    canceled = round(items * (fail + cancel)) - failed
    outcomes = ["failed"] * failed + ["canceled"] * canceled
    outcomes += ["succeeded"] * (items - len(outcomes))
    random.shuffle(outcomes)
    return outcomes


def _draw_runs(random: Random, items: int, workers: int) -> list[tuple[float, float, float]]:
    """Times of dispatch, start and end, in mean run durations; each item takes the first free worker."""
    free_at = [LEAD_RUNS] * min(workers, items)
    runs: list[tuple[float, float, float]] = []
    for _ in range(items):
        began = free_at[0] + random.uniform(0, LEAD_RUNS)
        end = began + random.uniform(0.5, 1.5)
        heapq.heapreplace(free_at, end)
        runs.append((began - random.uniform(0.2, 0.8) * LEAD_RUNS, began, end))
    return runs
