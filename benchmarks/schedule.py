"""When to poll: our adaptive strategy compared with other schedules, on seeded batches in virtual time.

Bias first: we draw the batches ourselves, from kinds that we thought of; use your own with `--traces`. The strategies
are the real objects, driven by the real state of a wait; only the clock and the server are simulated. The constants of
the strategy were tuned on seed 1; the figures are for seed 2 unless `--seed` says otherwise.

Next to each peer stands ours with the greatest eagerness that needs no more requests. Its longest interval is the
smallest of 10, 20, 60 and 120 s that is not below the peer's, because a bound of 10 s cannot be compared with a poll
every 30 s. Its shortest interval is 0.1 s, so that the default of 0.5 s does not distort the comparison with the
densest peer.

A second table holds short batches, drawn as the emulator draws them. It compares the default with the delay allowed
for the batch's length, and with a poll every 2 s. A round trip takes 10 ms there, as to the emulator.

Run `python -m benchmarks.schedule [--short] [--traces FILE] [--json] [--plot FILE]`. A traces file is a JSON list of
`{"items": [{"started": s, "finished": s}, ...]}`, in seconds since the first poll.
"""

from __future__ import annotations

import argparse
import bisect
import json
import math
import random
import statistics
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tenacity import wait_exponential, wait_exponential_jitter, wait_fixed, wait_incrementing, wait_random
from tenacity.wait import wait_random_exponential

from runflow_async._answers.tally import Tally
from runflow_async.emulator.drawing import draw_timelines
from runflow_async.schedules import PollState, wait_adaptive

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import RetryCallState

ROUNDTRIP = 0.15
TUNED_ON = 1
UNSEEN = 2
BATCHES = 600
LONGEST = 3600.0
BOUNDS = (10.0, 20.0, 60.0, 120.0)
EAGERNESS = tuple(round(0.05 * 1.1**step, 3) for step in range(66))
SHORT_FIXED = ("runflow-js: 2.0", "replicate: 0.5", "openai helpers: 1.0")

KINDS = {"one item": 1, "side by side": 2, "queue": 3, "waves": 2, "stragglers": 2, "stalled": 1, "bursts": 1}
"""Kinds of batches, and how often each is drawn."""

SHORT_SECONDS = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0)
SHORT_ITEMS = (1, 3, 24)
SHORT_WORKERS = 8
SHORT_ROUNDTRIP = 0.01
SHORT_BATCHES = 10_000
"""Short batches of each kind. At 2 s and 3 s barely more than half meet both bounds; fewer would not show it."""


class Trace(NamedTuple):
    """One batch: when its items started and ended, in seconds."""

    kind: str
    items: list[tuple[float, float]]


def perform(durations: list[float], workers: int, begin: float) -> list[tuple[float, float]]:
    """Items in sequence on this many workers."""
    free = [begin] * workers
    items = []
    for duration in durations:
        started = min(free)
        free[free.index(started)] = started + duration
        items.append((started, started + duration))
    return items


def draw_trace(rng: random.Random) -> Trace:
    """Draw one batch of a random kind."""
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    count = 1 if kind == "one item" else rng.choice((2, 4, 8, 16, 25, 50, 100))
    usual = math.exp(rng.uniform(math.log(3), math.log(200)))
    spread = rng.uniform(0.1, 0.7)
    durations = [usual * math.exp(rng.gauss(0, spread)) for _ in range(count)]
    begin = rng.choice((0.0, rng.expovariate(1 / 5), rng.expovariate(1 / 60)))
    workers = count
    if kind in {"queue", "stragglers", "stalled"}:
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
        together = [ends[min(count, size * (place // size + 1)) - 1] for place in range(count)]
        items = [(start, together[bisect.bisect_left(ends, end)]) for start, end in items]
    if kind == "stalled":
        stop = rng.uniform(0, max(end for _, end in items))
        pause = rng.expovariate(1 / 120)
        items = [(s + pause * (s > stop), e + pause * (e > stop)) for s, e in items]
    return Trace(kind, items)


def draw_traces(seed: int, batches: int = BATCHES) -> list[Trace]:
    """Draw batches of all kinds. A batch of hours is skipped, because it would outweigh a hundred others."""
    rng = random.Random(seed)
    traces: list[Trace] = []
    while len(traces) < batches:
        trace = draw_trace(rng)
        if max(end for _, end in trace.items) < LONGEST:
            traces.append(trace)
    return traces


def draw_short(seconds: float, items: int, batches: int, seed: int) -> list[Trace]:
    """Draw batches of one length, created at the first poll."""
    rng = random.Random(seed)
    plan: dict[str, Any] = {"fail": 0.0, "cancel": 0.0, "workers": SHORT_WORKERS, "stragglers": 0}
    drawn = (draw_timelines(rng, items=items, duration=seconds, **plan) for _ in range(batches))
    kind = f"{seconds:g} s, {items} items"
    return [Trace(kind, [(timeline.first_work(), timeline.first_end()) for timeline in one]) for one in drawn]


def read_traces(path: Path) -> list[Trace]:
    """Read the traces of a file."""
    return [
        Trace("given", [(float(item["started"]), float(item["finished"])) for item in batch["items"]])
        for batch in json.loads(path.read_text())
    ]


class Outcome(NamedTuple):
    """The cost of following one batch, and its delays."""

    kind: str
    requests: int
    late: float
    items_late: float


def follow(
    trace: Trace,
    strategy: Callable[[RetryCallState], float],
    roundtrip: float = ROUNDTRIP,
    look: Callable[[float, PollState], None] = lambda _now, _state: None,
) -> Outcome:
    """Poll one batch until it ends; `look` is called just before each response with its instant and the state."""
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
        seen, now = sent + roundtrip / 2, sent + roundtrip
        look(now, state)
        begun, finished = bisect.bisect_right(starts, seen), bisect.bisect_right(ends, seen)
        items_late += sum(now - end for end in ends[told:finished])
        told = finished
        if finished == count:
            return Outcome(trace.kind, requests, now - ends[-1], items_late / count)
        state.answered(now, Tally(count - begun, begun - finished, finished))
        sent = now + state.delay(strategy)


def summary(outcomes: list[Outcome]) -> dict[str, float]:
    """Requests per batch, and delays in seconds."""
    late = [outcome.late for outcome in outcomes]
    return {
        "requests": statistics.fmean(outcome.requests for outcome in outcomes),
        "late": statistics.fmean(late),
        "late_p95": statistics.quantiles(late, n=20)[-1],
        "items_late": statistics.fmean(outcome.items_late for outcome in outcomes),
    }


def allowed_lateness(seconds: float) -> float:
    """The delay, in seconds, within which the default should see the end of a batch of this length, in the median."""
    return 0.5 + seconds / 4


def short(
    strategy: Any, seconds: float, items: int, batches: int = SHORT_BATCHES, seed: int = UNSEEN
) -> dict[str, Any]:
    """Run short batches of one kind under one strategy."""
    random.seed(seed)
    outcomes = [follow(trace, strategy, SHORT_ROUNDTRIP) for trace in draw_short(seconds, items, batches, seed)]
    return {
        "late": statistics.median(outcome.late for outcome in outcomes),
        "late_mean": statistics.fmean(outcome.late for outcome in outcomes),
        "requests": statistics.median_low(outcome.requests for outcome in outcomes),
        "requests_mean": statistics.fmean(outcome.requests for outcome in outcomes),
    }


def compare_short() -> list[dict[str, Any]]:
    """Run the default and a poll every 2 s on every kind of short batch."""
    return [
        {"seconds": seconds, "items": items, "allowed": allowed_lateness(seconds)}
        | {"default": short(wait_adaptive(), seconds, items)}
        | {"every_2_s": short(wait_fixed(2.0), seconds, items, batches=1)}
        for seconds in SHORT_SECONDS
        for items in SHORT_ITEMS
    ]


def peers() -> dict[str, tuple[Any, float]]:
    """The defaults of others, and the longest interval of each."""
    return {
        "runflow-js: 2.0": (wait_fixed(2.0), 2.0),
        "replicate: 0.5": (wait_fixed(0.5), 0.5),
        "openai helpers: 1.0": (wait_fixed(1.0), 1.0),
        "azure-core: 30": (wait_fixed(30.0), 30.0),
        "google-api-core async: U(0, 2ⁿ ≤ 60)": (wait_random_exponential(multiplier=1, max=60), 60.0),
        "google-api-core sync: U(0, 1.5ⁿ ≤ 20)": (wait_random_exponential(multiplier=1, exp_base=1.5, max=20), 20.0),
        "botocore waiters: 15": (wait_fixed(15.0), 15.0),
        "databricks: min(10, n) + U(0, 1)": (wait_incrementing(1, 1, 10) + wait_random(0, 1), 11.0),
        "runpod flash: 0.25 * 1.5ⁿ ≤ 5": (wait_exponential(multiplier=0.25, exp_base=1.5, max=5), 5.0),
        "railib: 0.2 * elapsed ≤ 120": (lambda state: min(120.0, 0.2 * state.seconds_since_start), 120.0),
        "exponential: 1.5ⁿ ≤ 20": (wait_exponential(multiplier=1, exp_base=1.5, max=20), 20.0),
        "tenacity: wait_exponential_jitter ≤ 60": (wait_exponential_jitter(max=60), 60.0),
    }


def run(traces: list[Trace], strategy: Any, seed: int) -> list[Outcome]:
    """Run all batches under one strategy."""
    random.seed(seed)
    return [follow(trace, strategy) for trace in traces]


def by_kind(outcomes: list[Outcome]) -> dict[str, dict[str, float]]:
    """Summarise each kind of batch."""
    groups = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.kind].append(outcome)
    return {kind: summary(group) for kind, group in sorted(groups.items()) if len(group) > 1}


class Frontier:
    """Ours over `eagerness`, for one longest interval."""

    def __init__(self, traces: list[Trace], longest: float, seed: int) -> None:
        self.longest = longest
        self.points = {e: run(traces, wait_adaptive(min=0.1, max=longest, eagerness=e), seed) for e in EAGERNESS}
        self.summaries = {eagerness: summary(outcomes) for eagerness, outcomes in self.points.items()}

    def within(self, requests: float) -> float:
        """Return the greatest eagerness that needs no more requests, or the smallest one if there is none."""
        return max((e for e in EAGERNESS if self.summaries[e]["requests"] <= requests), default=EAGERNESS[0])


def compare(traces: list[Trace], seed: int) -> dict[str, Any]:
    """Compare every peer with ours: at no more requests, and, for short fixed intervals, at a third of them."""
    frontiers: dict[float, Frontier] = {}
    results: dict[str, Any] = {}
    for name, (strategy, longest) in peers().items():
        bound = next(bound for bound in BOUNDS if bound >= longest)
        if bound not in frontiers:
            frontiers[bound] = Frontier(traces, bound, seed)
        outcomes = run(traces, strategy, seed)
        theirs = summary(outcomes)
        results[name] = theirs | {
            "kinds": by_kind(outcomes),
            "ours": beside(theirs, by_kind(outcomes), frontiers[bound]),
        }
        if name in SHORT_FIXED:
            third = frontiers[10.0].within(theirs["requests"] / 3)
            results[name]["ours_at_a_third"] = {"eagerness": third} | frontiers[10.0].summaries[third]
    default = run(traces, wait_adaptive(), seed)
    return {
        "seed": seed,
        "default": summary(default) | {"kinds": by_kind(default)},
        "short": compare_short(),
        "peers": results,
        "frontiers": {
            f"{bound:g}": [{"eagerness": e} | frontier.summaries[e] for e in EAGERNESS]
            for bound, frontier in sorted(frontiers.items())
        },
    }


def beside(theirs: dict[str, float], kinds: dict[str, dict[str, float]], frontier: Frontier) -> dict[str, Any]:
    """Ours at no more requests than the peer, and the kinds of batch on which the peer is better in both."""
    eagerness = frontier.within(theirs["requests"])
    ours = by_kind(frontier.points[eagerness])
    lost = [
        kind
        for kind, figures in kinds.items()
        if figures["requests"] <= ours[kind]["requests"] and figures["late"] <= ours[kind]["late"]
    ]
    return {"eagerness": eagerness, "max": frontier.longest} | frontier.summaries[eagerness] | {"lost": lost}


def draw(results: dict[str, Any], path: Path) -> None:
    """Plot requests against delay: ours as lines, every peer as a point."""
    import matplotlib as mpl  # noqa: PLC0415  # only drawing needs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  # after the backend is chosen

    _, panel = plt.subplots(figsize=(10, 6.5))
    for bound, colour in (("10", "#2b6cb0"), ("20", "#63a4d8"), ("60", "#a9cdea")):
        points = results["frontiers"].get(bound, [])
        panel.plot([p["requests"] for p in points], [p["late"] for p in points], "o-", ms=3, color=colour,
                   label=f"wait_adaptive(max={bound}), eagerness {EAGERNESS[0]} to {EAGERNESS[-1]}")  # fmt: skip
    default = results["default"]
    panel.plot(default["requests"], default["late"], "*", ms=16, color="#c53030", label="wait_adaptive(), the default")
    for name, theirs in results["peers"].items():
        panel.plot(theirs["requests"], theirs["late"], "s", ms=5, color="#4a5568")
        place = (theirs["requests"], theirs["late"])
        panel.annotate(name, place, fontsize=8, xytext=(5, 4), textcoords="offset points")
    panel.set(xscale="log", yscale="log", xlabel="requests per batch", ylabel="seconds late at the end, mean")
    panel.grid(which="both", color="#edf2f7")
    panel.legend()
    plt.tight_layout()
    plt.savefig(path, dpi=110)


def show(results: dict[str, Any]) -> None:
    """Print the figures as text."""
    head = f"{'':42}{'requests':>9} {'late':>6} {'p95':>6} {'items':>6}"
    print(f"batches of seed {results['seed']}\n{head}")

    def line(name: str, figures: dict[str, Any]) -> None:
        requests, late, p95, items = (figures[what] for what in ("requests", "late", "late_p95", "items_late"))
        print(f"{name:<42}{requests:9.1f} {late:6.2f} {p95:6.2f} {items:6.2f}")

    line("wait_adaptive(), the default", results["default"])
    for name, theirs in results["peers"].items():
        ours = theirs["ours"]
        line(name, theirs)
        line(f"    ours, eagerness={ours['eagerness']:g}, max={ours['max']:g}", ours)
        if third := theirs.get("ours_at_a_third"):
            line(f"    ours, eagerness={third['eagerness']:g}, a third of it", third)
        if ours["lost"]:
            print(f"    better than ours in both on: {', '.join(ours['lost'])}")
    print("\nthe frontier of ours")
    for bound, points in results["frontiers"].items():
        for point in points:
            line(f"    max={bound}, eagerness={point['eagerness']:g}", point)
    print("\nthe default, by kind of batch")
    for kind, figures in results["default"]["kinds"].items():
        line(f"    {kind}", figures)
    show_short(results["short"])


def show_short(rows: list[dict[str, Any]]) -> None:
    """Print the figures of short batches as text."""
    print(f"\nshort batches{'':15}{'late, median':>20} {'mean':>6}  {'requests, median':>17} {'mean':>6}  every 2 s")
    for row in rows:
        ours, fixed = row["default"], row["every_2_s"]
        late = f"{ours['late']:.2f} (of {row['allowed']:.2f})"
        requests = f"{ours['requests']} (of {fixed['requests']})"
        print(
            f"{row['seconds']:9g} s, {row['items']:2} items      {late:>20} {ours['late_mean']:6.2f}  {requests:>17} "
            f"{ours['requests_mean']:6.2f}  {fixed['requests']} requests, {fixed['late']:.2f} s late"
        )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, help="a JSON file of batches instead of the drawn ones")
    parser.add_argument("--seed", type=int, default=UNSEEN)
    parser.add_argument("--short", action="store_true", help="short batches alone")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--plot", type=Path, help="draw requests against lateness into this file")
    options = parser.parse_args()
    if options.short:
        rows = compare_short()
        print(json.dumps(rows, indent=2)) if options.json else show_short(rows)
        return
    traces = read_traces(options.traces) if options.traces else draw_traces(options.seed)
    results = compare(traces, options.seed)
    if options.plot:
        draw(results, options.plot)
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        show(results)


if __name__ == "__main__":
    main()
