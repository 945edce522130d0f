"""What `make proof` runs and how it judges, by the figures that are kept; the proofs themselves take minutes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from proofs.__main__ import Run, try_promise
from proofs.promises import PROMISES

ROOT = Path(__file__).parent.parent
KEPT = {
    "kills": "benchmarks/results/restarts.json",
    "poll": "benchmarks/results/poll.json",
    "schedule": "benchmarks/results/schedule.json",
    "late": "benchmarks/results/schedule.json",
    "throttle": "benchmarks/results/throttle.json",
}


@pytest.mark.parametrize("name", PROMISES)
def test_every_promise_is_tried_by_a_command_that_is_there(name):
    assert importlib.util.find_spec(PROMISES[name].command[0]) is not None


@pytest.mark.parametrize("name", KEPT)
def test_the_figures_that_are_kept_hold_the_promise(name):
    result, holds = PROMISES[name].judge(json.loads((ROOT / KEPT[name]).read_text()))
    assert holds, result


def test_the_recorded_mutants_hold_the_promise():
    record = json.loads((ROOT / "proofs/results/mutation.json").read_text())
    result, holds = PROMISES["mutation"].judge(record["total"])
    assert holds, result


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (Run('{"inputs": 5, "findings": 1}', "", 0), "1 findings"),
        (Run('{"inputs": 5, "findings": 0}', "", 1), "0 findings"),
        (Run("", "no such tool", 1), "no figures"),
        (Run('{"inputs": null, "findings": 0}', "", 0), "no figures"),
    ],
    ids=["broken", "failed afterwards", "not there", "no figures"],
)
def test_a_promise_that_could_not_be_kept_or_tried_is_broken(run, says, monkeypatch):
    monkeypatch.setattr("proofs.__main__.run", lambda *_: run)
    tried = try_promise(PROMISES["guided"])
    assert not tried.holds
    assert says in tried.result
    assert "**broken**" in tried.row()
