"""When to poll: our adaptive strategy and the schedules that others use, over seeded batches in virtual time.

Bias first: the batches are drawn by us, from kinds that we thought of; give your own with `--traces`. The strategies are
the real objects, driven by the real state of a wait; only the clock and the server are simulated. The constants of the
strategy were tuned on seed 1; figures are of seed 2 unless `--seed` says otherwise.

Run `python -m benchmarks.schedule [--traces FILE] [--json] [--plot FILE]`. A traces file is a JSON list of
`{"items": [{"started": s, "finished": s}, ...]}`, in seconds since the first poll.
"""

from __future__ import annotations

import argparse
import bisect
import json
import math
import random
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tenacity import wait_exponential, wait_exponential_jitter, wait_fixed, wait_incrementing, wait_random
from tenacity.wait import wait_random_exponential

from runflow_async.waits import PollState, wait_adaptive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tenacity import RetryCallState

ROUNDTRIP = 0.15
TUNED_ON = 1
UNSEEN = 2
BATCHES = 600
EAGERNESS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.5, 7.0)


class Trace(NamedTuple):
    """One batch: when its items began and ended, in seconds."""

    kind: str
    items: list[tuple[float, float]]


def perform(durations: list[float], workers: int, begin: float) -> list[tuple[float, float]]:
    """Items one after the other on so many workers."""
    free = [begin] * workers
    items = []
    for duration in durations:
        started = min(free)
        free[free.index(started)] = started + duration
        items.append((started, started + duration))
    return items


def draw_trace(rng: random.Random) -> Trace:
    """One batch of a random kind."""
    kind = rng.choice(("one item", "side by side", "queue", "waves", "stragglers", "stalled", "bursts"))
    count = 1 if kind == "one item" else rng.choice((2, 4, 8, 16, 25, 50, 100))
    usual = math.exp(rng.uniform(math.log(3), math.log(200)))
    spread = rng.uniform(0.1, 0.7)
    durations = [usual * math.exp(rng.gauss(0, spread)) for _ in range(count)]
    begin = rng.choice((0.0, rng.expovariate(1 / 5), rng.expovariate(1 / 60)))
    workers = count
    if kind in ("queue", "stragglers", "stalled"):
        workers = rng.randint(1, count)
    if kind == "waves":
        workers = max(1, count // rng.randint(2, 5))
        durations = [usual * math.exp(rng.gauss(0, 0.05)) for _ in durations]
    if kind == "stragglers":
        for number in rng.sample(range(count), max(1, count // 25)):
            durations[number] *= rng.uniform(3, 10)
    items = perform(durations, workers, begin)
    if kind == "bursts":
        size = rng.randint(1, count)
        ends = sorted(end for _, end in items)
        items = [(start, ends[min(count - 1, size * (1 + bisect.bisect_left(ends, end) // size) - 1)]) for start, end in items]
    if kind == "stalled":
        stop = rng.uniform(0, max(end for _, end in items))
        pause = rng.expovariate(1 / 120)
        items = [(s + pause * (s > stop), e + pause * (e > stop)) for s, e in items]
    return Trace(kind, items)


def draw_traces(seed: int, batches: int = BATCHES) -> list[Trace]:
    """Batches of all kinds; a batch of hours is left out, for it would outweigh a hundred others."""
    rng = random.Random(seed)
    traces: list[Trace] = []
    while len(traces) < batches:
        trace = draw_trace(rng)
        if max(end for _, end in trace.items) < 3600:
            traces.append(trace)
    return traces


def read_traces(path: Path) -> list[Trace]:
    """Traces of a file."""
    return [
        Trace("given", [(float(item["started"]), float(item["finished"])) for item in batch["items"]])
        for batch in json.loads(path.read_text())
    ]


class Outcome(NamedTuple):
    """What following one batch cost, and how late its news came."""

    kind: str
    requests: int
    late: float
    items_late: float


def follow(trace: Trace, strategy: Callable[[RetryCallState], float]) -> Outcome:
    """Poll one batch to its end."""
    starts = sorted(start for start, _ in trace.items)
    ends = sorted(end for _, end in trace.items)
    count = len(ends)
    state = PollState(lambda: None)
    state.start_time = 0.0
    sent = 0.0
    requests = told = 0
    items_late = 0.0
    while True:
        requests += 1
        seen, now = sent + ROUNDTRIP / 2, sent + ROUNDTRIP
        begun, finished = bisect.bisect_right(starts, seen), bisect.bisect_right(ends, seen)
        items_late += sum(now - end for end in ends[told:finished])
        told = finished
        if finished == count:
            return Outcome(trace.kind, requests, now - ends[-1], items_late / count)
        state.answered(now)
        state.progress.observe(now, count - begun, begun - finished, finished)
        sent = now + state.delay(strategy)


def summary(outcomes: list[Outcome]) -> dict[str, float]:
    """Requests per batch and seconds late."""
    late = [outcome.late for outcome in outcomes]
    return {
        "requests": statistics.fmean(outcome.requests for outcome in outcomes),
        "late": statistics.fmean(late),
        "late_p95": statistics.quantiles(late, n=20)[-1],
        "items_late": statistics.fmean(outcome.items_late for outcome in outcomes),
    }


def peers() -> dict[str, tuple[Any, float]]:
    """What others do by default, and the longest interval of each."""
    return {
        "runflow-js: 2.0": (wait_fixed(2.0), 2.0),
        "replicate: 0.5": (wait_fixed(0.5), 0.5),
        "openai helpers: 1.0": (wait_fixed(1.0), 1.0),
        "azure-core: 30": (wait_fixed(30.0), 30.0),
        "google-api-core async: U(0, 2ⁿ ≤ 60)": (wait_random_exponential(multiplier=1, max=60), 60.0),
        "google-api-core sync: U(0, 1.5ⁿ ≤ 20)": (wait_random_exponential(multiplier=1, exp_base=1.5, max=20), 20.0),
        "botocore waiters: 15": (wait_fixed(15.0), 15.0),
        "databricks: min(10, n) + U(0, 1)": (wait_incrementing(1, 1, 10) + wait_random(0, 1), 11.0),
        "runpod flash: 0.25 × 1.5ⁿ ≤ 5": (wait_exponential(multiplier=0.25, exp_base=1.5, max=5), 5.0),
        "railib: 0.2 × elapsed ≤ 120": (lambda state: min(120.0, 0.2 * state.seconds_since_start), 120.0),
        "exponential: 1.5ⁿ ≤ 20": (wait_exponential(multiplier=1, exp_base=1.5, max=20), 20.0),
        "tenacity: wait_exponential_jitter ≤ 60": (wait_exponential_jitter(max=60), 60.0),
    }


def run(traces: list[Trace], strategy: Any, seed: int) -> list[Outcome]:
    random.seed(seed)
    return [follow(trace, strategy) for trace in traces]
