"""What batches look like as their clock advances."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from runflow_async.emulator import Emulator
from runflow_async.emulator.drawing import draw_timelines

if TYPE_CHECKING:
    from tests.emulator.conftest import Clock

ENDED = {"succeeded", "failed", "canceled"}


def statuses(snapshot: dict[str, Any]) -> list[str]:
    return [item["status_code"] for item in snapshot["items"]]


@pytest.fixture
def emulator(clock: Clock) -> Emulator:
    """Not started: batches need no server."""
    return Emulator(clock=clock)


def test_the_same_seed_gives_the_same_key_ids_and_timelines(clock: Clock) -> None:
    def outcome(seed: int) -> tuple[str, list[dict[str, Any]], list[str]]:
        emulator = Emulator(seed=seed, clock=clock)
        batch_id = emulator.create_batch(duration=10.0)
        clock.now += 4.0
        snapshot = emulator.snapshot(batch_id)
        return emulator.api_key, snapshot["items"], [snapshot["id"], snapshot["org_id"]]

    assert outcome(3) == outcome(3)
    assert outcome(3) != outcome(4)


def test_a_batchs_own_seed_repeats_its_timelines_but_not_its_ids(emulator: Emulator, clock: Clock) -> None:
    first, second = (emulator.create_batch(fail=0.5, seed=9) for _ in range(2))
    assert first != second
    clock.now += 5.0
    assert statuses(emulator.snapshot(first)) == statuses(emulator.snapshot(second))


def test_every_id_is_a_uuid_of_its_own(emulator: Emulator) -> None:
    snapshots = [emulator.snapshot(emulator.create_batch()) for _ in range(5)]
    ids = [UUID(item[key]) for snapshot in snapshots for item in snapshot["items"] for key in ("id", "run_id")]
    assert len(set(ids)) == 5 * 24 * 2


def test_a_batch_runs_from_queued_to_its_end_within_its_duration(emulator: Emulator, clock: Clock) -> None:
    batch_id = emulator.create_batch(24, 10.0)
    seen = []
    for _ in range(101):
        seen.append(emulator.snapshot(batch_id)["status_code"])
        clock.now += 0.1
    assert list(dict.fromkeys(seen)) == ["queued", "dispatching", "running", "succeeded"]
    assert seen[-1] == "succeeded"
    assert seen[-2] == "running"


def test_every_item_goes_through_the_four_statuses_in_order() -> None:
    plan = {"items": 50, "duration": 7.0, "fail": 0.2, "cancel": 0.2, "workers": 3, "stragglers": 2}
    for timeline in draw_timelines(Random(5), **plan):
        assert timeline.statuses[:3] == ("queued", "dispatching", "running")
        assert timeline.statuses[3] in ENDED
        assert list(timeline.instants) == sorted(set(timeline.instants))
        assert timeline.instants[-1] <= 7.0


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_no_more_items_run_at_once_than_there_are_workers(emulator: Emulator, clock: Clock, workers: int) -> None:
    batch_id = emulator.create_batch(24, 10.0, workers=workers)
    most = 0
    for _ in range(200):
        most = max(most, statuses(emulator.snapshot(batch_id)).count("running"))
        clock.now += 0.05
    assert most == workers


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ((24, 1.0, 0.25, 0.0), {"failed": 6, "succeeded": 18}),
        ((24, 1.0, 0.25, 0.25), {"failed": 6, "canceled": 6, "succeeded": 12}),
        ((3, 1.0, 0.5, 0.5), {"failed": 2, "canceled": 1}),
        ((100, 1.0, 0.29, 0.58), {"failed": 29, "canceled": 58, "succeeded": 13}),
        ((10, 1.0, 0.7, 0.3), {"failed": 7, "canceled": 3}),
        ((1, 1.0, 0.0, 0.0), {"succeeded": 1}),
    ],
)
def test_shares_are_rounded_to_whole_items(
    emulator: Emulator, clock: Clock, plan: tuple[int, float, float, float], expected: dict[str, int]
) -> None:
    batch_id = emulator.create_batch(*plan)
    clock.now += 1.0
    snapshot = emulator.snapshot(batch_id)
    assert Counter(statuses(snapshot)) == expected
    counts = [snapshot[f"items_{outcome}"] for outcome in ("succeeded", "failed", "cancelled")]
    assert counts == [expected.get(outcome, 0) for outcome in ("succeeded", "failed", "canceled")]


@pytest.mark.parametrize(
    ("fail", "cancel", "status"),
    [(0, 0, "succeeded"), (1, 0, "failed"), (0, 1, "canceled"), (0.5, 0.5, "partial_succeeded")],
)
def test_the_batchs_end_follows_from_its_items(
    emulator: Emulator, clock: Clock, fail: float, cancel: float, status: str
) -> None:
    batch_id = emulator.create_batch(fail=fail, cancel=cancel)
    clock.now += 10.0
    snapshot = emulator.snapshot(batch_id)
    assert snapshot["status_code"] == status
    assert (snapshot["failure_code"] is not None) == (status == "failed")


def test_stragglers_end_last_and_the_others_by_half_of_the_duration(emulator: Emulator, clock: Clock) -> None:
    batch_id = emulator.create_batch(24, 10.0, stragglers=3)
    clock.now += 5.0
    assert Counter(statuses(emulator.snapshot(batch_id)))["succeeded"] == 21
    clock.now += 4.99
    assert Counter(statuses(emulator.snapshot(batch_id))) == {"succeeded": 21, "running": 3}
    clock.now += 0.01
    assert emulator.snapshot(batch_id)["status_code"] == "succeeded"


def test_dates_duration_and_cost_follow_the_clock(emulator: Emulator, clock: Clock) -> None:
    batch_id = emulator.create_scripted_batch(
        [[(0.0, "queued"), (1.5, "running"), (4.0, "succeeded")], [(0.0, "queued"), (2.0, "failed")]]
    )
    first = emulator.snapshot(batch_id)
    assert (first["started_at"], first["completed_at"], first["duration_ms"]) == (None, None, None)
    assert Decimal(first["cost"]) == 0
    clock.now += 3600.0
    last = emulator.snapshot(batch_id)
    created, started, completed = (
        datetime.fromisoformat(last[name]) for name in ("created_at", "started_at", "completed_at")
    )
    assert (started - created).total_seconds() == pytest.approx(1.5, abs=0.0011)
    assert (completed - created).total_seconds() == pytest.approx(4.0, abs=0.0011)
    assert last["created_at"].endswith("Z")
    assert last["duration_ms"] == 2500
    assert Decimal(last["cost"]) > 0


def test_dates_of_later_batches_follow_a_clock_that_jumps(emulator: Emulator, clock: Clock) -> None:
    first = emulator.snapshot(emulator.create_batch())
    clock.now += 3600.0
    second = emulator.snapshot(emulator.create_batch())
    created = [datetime.fromisoformat(snapshot["created_at"]) for snapshot in (first, second)]
    assert (created[1] - created[0]).total_seconds() == pytest.approx(3600.0, abs=0.0011)


def test_a_script_is_followed_to_the_letter(emulator: Emulator, clock: Clock) -> None:
    """Including unknown statuses, steps backwards and items that appear late."""
    batch_id = emulator.create_scripted_batch(
        [[(0.0, "running"), (1.0, "queued"), (2.0, "warming_up")], [(1.5, "queued")]]
    )
    seen = []
    for _ in range(5):
        snapshot = emulator.snapshot(batch_id)
        seen.append([(item["sequence_index"], item["status_code"]) for item in snapshot["items"]])
        clock.now += 0.5
    assert seen == [
        [(0, "running")],
        [(0, "running")],
        [(0, "queued")],
        [(0, "queued"), (1, "queued")],
        [(0, "warming_up"), (1, "queued")],
    ]
    assert snapshot["items_total"] == 2


def test_a_batch_does_not_end_before_its_last_item_has_appeared(emulator: Emulator, clock: Clock) -> None:
    batch_id = emulator.create_scripted_batch([[(0.0, "succeeded")], [(2.0, "cancelled")]])
    assert emulator.snapshot(batch_id)["status_code"] == "running"
    clock.now += 2.0
    snapshot = emulator.snapshot(batch_id)
    assert snapshot["status_code"] == "partial_succeeded"
    assert snapshot["items_cancelled"] == 1


def test_a_scripted_batch_status_overrides_the_items(emulator: Emulator, clock: Clock) -> None:
    early = emulator.create_scripted_batch([[(0.0, "running")]], status_timeline=[(1.0, "succeeded")])
    never = emulator.create_scripted_batch([[(0.0, "succeeded")]], status_timeline=[(0.0, "running")])
    assert emulator.snapshot(early)["status_code"] == "queued"
    clock.now += 100.0
    ended, running = emulator.snapshot(early), emulator.snapshot(never)
    assert (ended["status_code"], statuses(ended)) == ("succeeded", ["running"])
    assert ended["duration_ms"] == 1000
    assert (running["status_code"], running["completed_at"]) == ("running", None)


def test_details_are_shown_as_they_were_given(emulator: Emulator) -> None:
    batch_id = emulator.create_batch(
        2, client_refs=["a", None], callback_url="http://127.0.0.1:9/done", metadata={"order": [1]}
    )
    snapshot = emulator.snapshot(batch_id)
    assert [item["client_ref"] for item in snapshot["items"]] == ["a", None]
    assert (snapshot["callback_url"], snapshot["metadata"]) == ("http://127.0.0.1:9/done", {"order": [1]})


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"items": 0}, "items must be a positive whole number"),
        ({"items": 2.5}, "items must be a positive whole number"),
        ({"duration": 0.0}, "duration must be a finite number"),
        ({"duration": float("inf")}, "duration must be a finite number"),
        ({"fail": 1.1}, "fail must be a share"),
        ({"cancel": -0.1}, "cancel must be a share"),
        ({"fail": 0.6, "cancel": 0.6}, "fail \\+ cancel must be at most 1"),
        ({"workers": 0}, "workers must be"),
        ({"stragglers": 25}, "stragglers must be from 0 to the number of items"),
        ({"client_refs": ["only one"]}, "client_refs must be one per item: 24, not 1"),
        ({"client_refs": []}, "client_refs must be one per item: 24, not 0"),
    ],
)
def test_invalid_arguments_are_an_error(emulator: Emulator, arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        emulator.create_batch(**arguments)


@pytest.mark.parametrize(
    ("timelines", "complaint"),
    [
        ([], "at least one item"),
        ([[]], "at least one step"),
        ([[(2.0, "running"), (1.0, "queued")]], "ascending order"),
        ([[(-1.0, "queued")]], "seconds from 0"),
        ([[(float("nan"), "queued")]], "seconds from 0"),
    ],
)
def test_invalid_scripts_are_an_error(
    emulator: Emulator, timelines: list[list[tuple[float, str]]], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        emulator.create_scripted_batch(timelines)


def test_a_snapshot_of_an_unknown_batch_is_a_key_error(emulator: Emulator) -> None:
    with pytest.raises(KeyError):
        emulator.snapshot(UUID(int=0))
