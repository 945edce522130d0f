"""What `make proof` runs and how it judges, by the figures that are kept; the proofs themselves take minutes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from proofs import guided, mutation_figures
from proofs.__main__ import Run, main, try_promise
from proofs.judging import Figure, judge
from proofs.promises import PROMISES
from tests.faults.test_matrix import README, ROW

ROOT = Path(__file__).parent.parent
KEPT = {
    "kills": "benchmarks/results/restarts.json",
    "poll": "benchmarks/results/poll.json",
    "schedule": "benchmarks/results/schedule.json",
    "late": "benchmarks/results/schedule.json",
    "throttle": "benchmarks/results/throttle.json",
}
OPERATIONS = [
    "get_batch",
    "wait_for_batch",
    "iter_batch_items",
    "get_batch_item",
    "create_batch",
    "callback_deliveries",
]
GOOD = {
    "faults": {"rows": 169, "passed": 2_175},
    "bodies": {"accepted whole": 13_035, "refused whole": 26_965},
    "guided": {"inputs": 256_248, "that reached something new": 700, "findings": 0},
    "mocked": {"accepted": dict.fromkeys([*OPERATIONS, "redeliver_callback"], 100), "refused": 0},
    "emulated": {"requests": 1_800, "failures": 0, "seed": 1},
    "model": {"histories": 1_200, "failed": 0},
    "soak": {
        "transitions": 37_598,
        **dict.fromkeys(("lost", "doubled", "foreign", "backwards", "leaked tasks", "leaked connections"), 0),
        "errors that only the event loop heard of": 0,
    },
    "held": [{"waits": 10_000, "polls_per_s": 1_050.0, "kib_per_wait": 32.7, "lag_p99_ms": 1.1}],
    "mutation": {
        "mutants": 2_731,
        "tried": 266,
        "killed": 239,
        "equivalent": 21,
        "unjudged": 0,
        "changed since": [],
        "raw_score": 0.8985,
        "score": 0.9755,
    },
}


def good_figures(name: str) -> Any:
    return json.loads((ROOT / KEPT[name]).read_text()) if name in KEPT else GOOD[name]


def zeroed(figures: Any) -> Any:
    """Return the same figures of a run in which nothing happened."""
    if isinstance(figures, dict):
        return {key: zeroed(value) for key, value in figures.items()}
    if isinstance(figures, list):
        return [zeroed(value) for value in figures]
    return 0


@pytest.mark.parametrize("name", PROMISES)
def test_every_promise_is_tried_by_a_command_that_is_there(name):
    assert importlib.util.find_spec(PROMISES[name].command[0]) is not None


@pytest.mark.parametrize("name", PROMISES)
def test_good_figures_hold_the_promise_and_zeros_break_it(name):
    figures = good_figures(name)
    assert judge(PROMISES[name], figures).word == "holds"
    assert judge(PROMISES[name], zeroed(figures)).word == "broken"


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        *(("faults", key) for key in ("rows", "passed")),
        *(("bodies", key) for key in ("accepted whole", "refused whole")),
        *(("guided", key) for key in ("inputs", "that reached something new")),
        *(("kills", key) for key in ("kills", "transitions")),
        *(("mutation", key) for key in ("tried", "raw_score", "score")),
        *[("emulated", "requests"), ("model", "histories"), ("soak", "transitions")],
    ],
)
def test_a_promise_of_which_too_little_was_tried_is_broken(name, figure):
    assert judge(PROMISES[name], good_figures(name) | {figure: 0}).word == "broken"


@pytest.mark.parametrize("name", GOOD["mocked"]["accepted"])
def test_an_operation_that_prism_was_not_asked_for_breaks_the_promise(name):
    accepted = GOOD["mocked"]["accepted"]
    assert judge(PROMISES["mocked"], {"accepted": accepted | {name: 99}, "refused": 0}).word == "broken"
    without = {key: count for key, count in accepted.items() if key != name}
    assert judge(PROMISES["mocked"], {"accepted": without, "refused": 0}).word == "broken"


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        *[("faults", "failed"), ("faults", "error"), ("guided", "findings"), ("mocked", "refused")],
        *[("emulated", "failures"), ("model", "failed"), ("kills", "lost"), ("mutation", "unjudged")],
        *(("soak", key) for key in GOOD["soak"] if key != "transitions"),
    ],
)
def test_a_single_failure_breaks_the_promise(name, figure):
    assert judge(PROMISES[name], good_figures(name) | {figure: 1}).word == "broken"


def test_mutants_of_a_module_that_changed_since_prove_nothing():
    changed = good_figures("mutation") | {"changed since": ["_http/turns"]}
    assert judge(PROMISES["mutation"], changed).word == "broken"


def test_every_row_of_the_fault_matrix_is_counted():
    rows = len(ROW.findall(README.read_text()))
    assert judge(PROMISES["faults"], {"rows": rows, "passed": 2_175}).word == "holds"


def test_a_figure_shows_its_bounds_and_is_broken_beyond_them():
    assert str(Figure("{:,} waits", 12_345, least=10_000)) == "12,345 waits (at least 10,000)"
    assert str(Figure("{:.1%} are 429", 0.004, most=0.02)) == "0.4% are 429 (at most 2.0%)"
    assert str(Figure("{} lost", 0, most=0)) == "0 lost"
    assert Figure("{}", 2, least=2, most=2).holds
    assert not Figure("{}", 3, most=2).holds
    assert not Figure("{}", float("nan"), least=0, most=2).holds


def test_the_recorded_mutants_hold_the_promise():
    record = json.loads((ROOT / "proofs/results/mutation.json").read_text())
    verdict = judge(PROMISES["mutation"], record["total"])
    assert verdict.word == "holds", verdict.result


def test_the_recorded_mutants_are_judged_as_the_survivors_are_now():
    record = json.loads((ROOT / "proofs/results/mutation.json").read_text())
    mutation_figures.judge(record["modules"])
    kept = {key: value for key, value in record["total"].items() if key != "changed since"}
    assert mutation_figures.totals(record["modules"]).items() >= kept.items()


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (Run('{"inputs": 90000, "that reached something new": 700, "findings": 1}', "", 0), "1 findings"),
        (Run('{"inputs": 90000, "that reached something new": 700, "findings": 0}', "", 1), "0 findings"),
        (Run("", "no such tool", 1), "no figures"),
        (Run('{"inputs": null, "that reached something new": 0, "findings": 0}', "", 0), "no figures"),
        (Run('{"not tried": "no reason"}', "", 1), "no reason"),
    ],
    ids=["broken", "failed afterwards", "not there", "no figures", "not tried and failed"],
)
def test_a_promise_that_could_not_be_kept_or_tried_is_broken(run, says, monkeypatch):
    monkeypatch.setattr("proofs.__main__.run", lambda *_: run)
    tried = try_promise(PROMISES["guided"])
    assert tried.verdict.is_broken
    assert says in tried.verdict.result
    assert "**broken**" in tried.row()
    assert main(["guided"]) == 1


@pytest.mark.parametrize(("platform", "version"), [("darwin", (3, 13)), ("win32", (3, 11)), ("linux", (3, 14))])
def test_what_this_platform_cannot_try_is_named_and_breaks_nothing(platform, version, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["proofs.guided"])
    monkeypatch.setattr(guided.sys, "platform", platform)
    monkeypatch.setattr(guided.sys, "version_info", version)
    assert guided.main() == 0
    monkeypatch.undo()
    printed = capsys.readouterr().out
    monkeypatch.setattr("proofs.__main__.run", lambda *_: Run(printed, "", 0))
    assert main(["guided"]) == 0
    assert (
        "| atheris needs Linux and Python before 3.14 | `python -m proofs.guided` | not tried |"
        in capsys.readouterr().out
    )
