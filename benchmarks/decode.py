"""Decode a 100-item response: ours in full and as a poll does it, compared with libraries that add no types.

Bias first: the body is one of ours, and every contender gets it as bytes already in memory.

Run `python -m benchmarks.decode [--json]`. Each contender runs in its own process, all in turn, for several rounds. The
figures are medians over the rounds, in microseconds of CPU time per body.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable

CONTENDERS = ("ours, lean", "ours, whole", "orjson", "json", "pydantic")
BASELINE = "orjson"
ROUNDS = 5
SECONDS = 0.4


def make_body(items: int = 100, changed: int = 50) -> bytes:
    """Make a plausible response of about 25 kB for 100 items; `changed` of them run, the others are queued."""
    lines = [
        {
            "id": str(UUID(int=index + 1)),
            "sequence_index": index,
            "run_id": str(UUID(int=10_000 + index)),
            "client_ref": f"product-shot-{index:04d}",
            "status_code": "running" if index < changed else "queued",
        }
        for index in range(items)
    ]
    batch = {
        "id": str(UUID(int=2**100)),
        "org_id": str(UUID(int=2**101)),
        "target_type_code": "model",
        "status_code": "running",
        "items_total": items,
        "items_succeeded": 0,
        "items_failed": 0,
        "items_cancelled": 0,
        "input": [{"prompt": f"a studio photograph of product {i}", "seed": i} for i in range(items)],
        "cost": "1.2500",
        "metadata": {"campaign": "winter"},
        "created_at": "2026-01-02T03:04:05Z",
        "started_at": "2026-01-02T03:04:06Z",
        "items": lines,
    }
    return json.dumps(batch, separators=(",", ":")).encode()


def decoder_of(contender: str) -> Callable[[bytes], Any]:
    """Return the function with which a contender decodes."""
    if contender.startswith("ours"):
        decoding = importlib.import_module("runflow_async._answers.decoding")
        decode: Callable[[bytes], Any] = decoding.decode_poll if "lean" in contender else decoding.decode_batch
        return decode
    if contender == "pydantic":
        return _pydantic_decoder()
    loads: Callable[[bytes], Any] = importlib.import_module(contender).loads
    return loads


def _pydantic_decoder() -> Callable[[bytes], Any]:
    pydantic = importlib.import_module("pydantic")
    models = importlib.import_module("runflow_async.models")
    hints = importlib.import_module("typing").get_type_hints

    def model_of(struct: Any, **replaced: Any) -> Any:
        fields = {name: (kind, None) for name, kind in (hints(struct) | replaced).items()}
        return pydantic.create_model(struct.__name__, **fields)

    handle = model_of(models.BatchItemHandle)
    validate: Callable[[bytes], Any] = model_of(models.Batch, items=list[handle] | None).model_validate_json
    return validate


def measure(contender: str) -> float:
    """Return the median of CPU microseconds per body in this process."""
    decode, body = decoder_of(contender), make_body()
    for _ in range(200):
        decode(body)
    samples = []
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        started = time.process_time_ns()
        for _ in range(50):
            decode(body)
        samples.append((time.process_time_ns() - started) / 50 / 1000)
    return statistics.median(samples)


def measure_apart(contender: str) -> float:
    """Run `measure` in a separate process."""
    command = [sys.executable, "-m", "benchmarks.decode", "--contender", contender]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603  # ourselves


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(measure(options.contender))
        return
    rounds = [{name: measure_apart(name) for name in CONTENDERS} for _ in range(ROUNDS)]
    medians = {name: statistics.median(one[name] for one in rounds) for name in CONTENDERS}
    ratios = {name: statistics.median(one[name] / one[BASELINE] for one in rounds) for name in CONTENDERS}
    if options.json:
        print(
            json.dumps({"bytes": len(make_body()), "microseconds": medians, f"ratio to {BASELINE}": ratios}, indent=2)
        )
        return
    print(f"{len(make_body())} bytes, 100 items; median of {ROUNDS} rounds\n")
    for name in CONTENDERS:
        print(f"{name:<12} {medians[name]:8.1f} us   {ratios[name]:5.2f} x {BASELINE}")


if __name__ == "__main__":
    main()
