"""Hundreds of waits through a bad network lose nothing, and the soak would see it if they did."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from uuid import UUID, uuid5

import pytest

from benchmarks.soak import MUST_BE_ZERO, judge
from runflow_async import BatchItemHandle, ItemTransition
from tests.virtual import BATCH_ID

ROOT = Path(__file__).parents[1]
ITEM, OTHER = uuid5(BATCH_ID, "item"), uuid5(BATCH_ID, "other item")
TRUTH = {ITEM: ("queued", "running", "failed")}


@pytest.mark.slow
def test_ten_seconds_of_every_fault_lose_double_mix_up_and_leak_nothing(unmeasured):
    """In a process of its own, so that what is left at its end would be told on stderr."""
    command = [sys.executable, "-W", "always", "-m", "benchmarks.soak", "--seconds", "10", "--waits", "150", "--json"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert ended.stderr == ""
    counts = json.loads(ended.stdout)
    assert {name: counts[name] for name in MUST_BE_ZERO} == dict.fromkeys(MUST_BE_ZERO, 0)
    assert ended.returncode == 0
    assert counts["batches"] >= 150
    assert counts["retries"] >= 50


@pytest.mark.parametrize(
    ("stream", "counts"),
    [
        ([(None, "queued"), ("queued", "running"), ("running", "failed")], {}),
        ([("queued", "running"), ("running", "failed")], {"lost": 1}),
        ([(None, "running"), ("running", "failed")], {}),
        ([(None, "failed")], {}),
        ([], {"lost": 1}),
        ([(None, "queued"), ("queued", "running")], {"lost": 1}),
        ([(None, "queued"), ("running", "failed")], {"lost": 1}),
        ([(None, "failed"), ("running", "failed")], {"doubled": 1}),
        ([(None, "failed"), ("failed", "queued")], {"backwards": 1}),
        ([(None, "failed"), ("failed", "succeeded")], {"foreign": 1}),
    ],
)
def test_a_stream_that_differs_from_its_script_is_found_out(stream, counts, now_utc):
    """`previous` must be what was reported before, so that a gap in the middle shows as well."""
    transitions = [transition(previous, current, now_utc) for previous, current in stream]
    assert +judge(TRUTH, BATCH_ID, transitions) == counts


@pytest.mark.parametrize("strange", [{"item": OTHER}, {"batch": OTHER}])
def test_another_batchs_transition_is_found_out(strange, now_utc):
    stream = [transition(None, "failed", now_utc), transition("queued", "running", now_utc, **strange)]
    assert +judge(TRUTH, BATCH_ID, stream) == {"foreign": 1}


def transition(previous, current, now, item: UUID = ITEM, batch: UUID = BATCH_ID) -> ItemTransition:
    return ItemTransition(batch, BatchItemHandle(item, 0, item, current), previous, now)
