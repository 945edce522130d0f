"""Run all benchmarks, save their figures as JSON in `benchmarks/results/` and plot them: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
COMMANDS = {
    "decode": ["benchmarks.decode"],
    "poll": ["benchmarks.poll"],
    "fleet": ["benchmarks.fleet", "--waits", "100", "1000", "10000", "--seconds", "6"],
    "stream": ["benchmarks.stream"],
    "watchers": ["benchmarks.watchers"],
    "throttle": ["benchmarks.throttle", "--seconds", "75"],
    "overload": ["benchmarks.overload"],
    "callbacks": ["benchmarks.callbacks"],
    "restarts": ["benchmarks.restarts"],
    "results_as_they_end": ["benchmarks.results_as_they_end"],
    "distributed": ["benchmarks.distributed"],
    "imports": ["benchmarks.imports"],
    "estimates": ["benchmarks.estimates"],
    "schedule": ["benchmarks.schedule", "--plot", str(RESULTS / "schedule.png")],
}


def run(name: str) -> Any:
    """Run one benchmark, save its figures to its file, and return them."""
    print(f"{name} ...", flush=True)
    command = [sys.executable, "-m", *COMMANDS[name], "--json"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603  # ourselves
    (RESULTS / f"{name}.json").write_text(printed)
    return json.loads(printed)


def draw(figures: dict[str, Any]) -> None:
    """Draw one picture with a panel for each benchmark."""
    import matplotlib as mpl  # noqa: PLC0415  # only drawing needs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  # after the backend is chosen

    _, panels = plt.subplots(2, 2, figsize=(12, 7))
    poll, decode, fleet, throttle = figures["poll"], figures["decode"], figures["fleet"], figures["throttle"]
    on_asyncio = {name: one["cpu_us"] for name, one in poll.items() if "uvloop" not in name}
    _bars(panels[0][0], "CPU per poll of 100 items, µs", on_asyncio)
    _bars(panels[0][1], "decoding 100 items, µs", decode["microseconds"])
    _bars(panels[1][0], "memory per wait, KiB", {f"{one['waits']} waits": one["kib_per_wait"] for one in fleet})
    shares = {
        f"{name}: {label}": 100 * one[share]
        for name, one in throttle.items()
        for label, share in (("429", "share_of_429"), ("limit used", "share_of_limit_used"))
    }
    _bars(panels[1][1], "wanting ten times the limit, %", shares)
    plt.tight_layout()
    plt.savefig(RESULTS / "benchmarks.png", dpi=110)


def _bars(panel: Any, title: str, values: dict[str, float]) -> None:
    names = list(values)[::-1]
    colours = ["#2b6cb0" if "ours" in name or "with the" in name or "waits" in name else "#a0aec0" for name in names]
    bars = panel.barh(names, [values[name] for name in names], color=colours)
    panel.bar_label(bars, fmt="%.3g", padding=3)
    panel.set_title(title)
    panel.margins(x=0.15)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def main() -> None:
    """Run all benchmarks, which takes half an hour; save and plot their figures."""
    argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__).parse_args()
    RESULTS.mkdir(exist_ok=True)
    draw({name: run(name) for name in COMMANDS})


if __name__ == "__main__":
    main()
