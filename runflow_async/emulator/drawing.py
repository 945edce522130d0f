"""Makes up batches: plausible timelines of items that share a few workers, drawn from a seed.

Decides how long every item waits and runs, and how it ends. Knows nothing of clocks and HTTP.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING
from uuid import UUID

from runflow_async.emulator.timelines import Timeline

if TYPE_CHECKING:
    from random import Random

__all__ = ["check_plan", "draw_timelines", "draw_uuid"]

LEAD = 0.25
"""How long the first items wait before they run, in mean run durations."""


def draw_uuid(random: Random) -> UUID:
    """Draw a version 4 UUID from the seed."""
    return UUID(int=random.getrandbits(128), version=4)


def check_plan(items: int, duration: float, fail: float, cancel: float, *, workers: int, stragglers: int) -> None:
    """Check the parameters of a batch.

    Raises:
        ValueError: if one is invalid; the message says which, and what to pass.
    """
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
    """
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


def _draw_outcomes(random: Random, items: int, fail: float, cancel: float) -> list[str]:
    failed = round(items * fail)
    canceled = round(items * (fail + cancel)) - failed
    outcomes = ["failed"] * failed + ["canceled"] * canceled
    outcomes += ["succeeded"] * (items - len(outcomes))
    random.shuffle(outcomes)
    return outcomes


def _draw_runs(random: Random, items: int, workers: int) -> list[tuple[float, float, float]]:
    """Times of dispatch, start and end, in mean run durations; each item takes the first free worker."""
    free_at = [LEAD] * min(workers, items)
    runs: list[tuple[float, float, float]] = []
    for _ in range(items):
        began = free_at[0] + random.uniform(0, LEAD)
        end = began + random.uniform(0.5, 1.5)
        heapq.heapreplace(free_at, end)
        runs.append((began - random.uniform(0.2, 0.8) * LEAD, began, end))
    return runs
