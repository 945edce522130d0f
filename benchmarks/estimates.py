"""When will it end: the estimates of `wait.estimate()` beside the ends of seeded batches, in virtual time.

Bias first: the batches are those of `benchmarks.schedule`, drawn by ourselves; use your own with `--traces`. The model
is the real one; its constants were tuned on seed 1, and the figures are for seed 2 unless `--seed` says otherwise.

An estimate is asked for after a quarter, half and three quarters of each batch's time. Counted is how often there was
one, and how often the batch ended between its `earliest` and `latest`, which should be in 80 % of the cases. Some kinds
of batches announce nothing: those with an item that takes many times as long as the others, and those that stand still.
So the share is given without these two kinds, too.

Run `python -m benchmarks.estimates [--traces FILE] [--seed N] [--json]`.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tenacity import wait_fixed

from benchmarks.schedule import UNSEEN, Trace, draw_traces, follow, read_traces
from runflow_async import wait_adaptive

if TYPE_CHECKING:
    from runflow_async.schedules import PollState

SHARES = (0.25, 0.5, 0.75)
"""Shares of a batch's time after which its end is estimated."""
UNANNOUNCED = {"stragglers", "stalled"}


class Guess(NamedTuple):
    """The estimate of one batch at some instant, as instants; all are None if nothing was known."""

    kind: str
    end: float
    earliest: float | None = None
    expected: float | None = None
    latest: float | None = None


def estimates_of(traces: list[Trace], strategy: Any, seed: int) -> dict[float, list[Guess]]:
    """Estimate the end of every batch after each share of its time."""
    random.seed(seed)
    found: dict[float, list[Guess]] = {share: [] for share in SHARES}
    for trace in traces:
        end, seen = max(end for _, end in trace.items), dict.fromkeys(SHARES, False)

        def look(now: float, state: PollState, trace: Trace = trace, end: float = end, seen: Any = seen) -> None:
            for share in [share for share in SHARES if not seen[share] and now >= share * end]:
                seen[share] = True
                forecast = state.progress.forecast
                found[share].append(Guess(trace.kind, end, *(forecast[1:] if forecast else ())))

        follow(trace, strategy, look=look)
    return found


def share_inside(guesses: list[Guess]) -> float:
    """Return the share of known estimates between whose `earliest` and `latest` the batch ended."""
    known = [guess for guess in guesses if guess.expected is not None]
    return statistics.fmean(guess.earliest <= guess.end <= guess.latest for guess in known)  # type: ignore[operator]


def compare_estimates(traces: list[Trace], seed: int) -> list[dict[str, Any]]:
    """Estimate under the default and under fixed intervals."""
    strategies = {"wait_adaptive()": wait_adaptive(), "interval=5": wait_fixed(5.0), "interval=30": wait_fixed(30.0)}
    rows = []
    for name, strategy in strategies.items():
        for share, guesses in estimates_of(traces, strategy, seed).items():
            known = [guess for guess in guesses if guess.expected is not None]
            even = [guess for guess in known if guess.kind not in UNANNOUNCED]
            off = [abs(guess.expected - guess.end) / guess.end for guess in known]  # type: ignore[operator]
            shares = {"known": len(known) / len(guesses), "inside": share_inside(known), "even": share_inside(even)}
            rows.append({"strategy": name, "share": share} | shares | {"off": statistics.median(off)})
    return rows


def show_estimates(rows: list[dict[str, Any]]) -> None:
    """Print the figures of estimates as text."""
    print(f"estimates{'':12}{'at':>5} {'known':>6} {'inside':>7} {'without stragglers and stalls':>30} {'off':>5}")
    for row in rows:
        name, share, known, inside, even, off = row.values()
        print(f"{name:20} {share:5.0%} {known:6.0%} {inside:7.0%} {even:30.0%} {off:5.0%}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, help="a JSON file of batches instead of the drawn ones")
    parser.add_argument("--seed", type=int, default=UNSEEN)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    rows = compare_estimates(read_traces(options.traces) if options.traces else draw_traces(options.seed), options.seed)
    print(json.dumps(rows, indent=2)) if options.json else show_estimates(rows)


if __name__ == "__main__":
    main()
