"""Statuses and what they mean, decided in one place for everything that asks."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from runflow_async import TERMINAL_STATUSES, Batch, BatchItem, BatchItemHandle, BatchStatus, ItemTransition
from runflow_async._answers.decoding import PollAnswer
from runflow_async._answers.tally import Tally, count_statuses, read_counts
from runflow_async.callbacks import BatchCallback
from runflow_async.models import Phase, phase_of

ID = UUID(int=1)
ENDED = {Phase.SUCCEEDED, Phase.PARTLY_SUCCEEDED, Phase.FAILED, Phase.CANCELLED}
SPELLINGS = {
    "queued": Phase.WAITING,
    "dispatching": Phase.WAITING,
    "running": Phase.RUNNING,
    "succeeded": Phase.SUCCEEDED,
    "partial_succeeded": Phase.PARTLY_SUCCEEDED,
    "failed": Phase.FAILED,
    "canceled": Phase.CANCELLED,
    "cancelled": Phase.CANCELLED,
    "Succeeded": Phase.UNKNOWN,
    "odd": Phase.UNKNOWN,
    "": Phase.UNKNOWN,
}


@pytest.mark.parametrize(("status", "phase"), SPELLINGS.items())
def test_a_status_has_one_phase_and_everything_agrees_whether_it_is_an_end(status, phase):
    handle = BatchItemHandle(ID, 0, ID, status)
    holders = [
        handle,
        ItemTransition(ID, handle, None, datetime.now(UTC)),
        Batch(status_code=status),
        BatchItem(id=ID, status_code=status),
        PollAnswer(status_code=status),
        BatchCallback(event="e", batch_id=ID, status=status),
    ]
    assert phase_of(status) is phase
    assert {one.is_terminal for one in holders} == {phase in ENDED} == {status in TERMINAL_STATUSES}


def test_no_status_at_all_is_no_end():
    assert phase_of(None) is Phase.UNKNOWN
    assert not Batch().is_terminal


def test_a_batch_has_ended_once_it_says_when():
    now = datetime.now(UTC)
    assert Batch(status_code="odd", completed_at=now).is_terminal
    assert PollAnswer(status_code="odd", completed_at=now).is_terminal


def test_every_status_with_a_name_has_a_phase():
    assert Phase.UNKNOWN not in {phase_of(status) for status in BatchStatus}


def test_listed_items_are_tallied_by_phase_and_unknown_ones_count_as_running():
    assert count_statuses(SPELLINGS.keys()) == Tally(waiting=2, running=4, finished=5)
    assert count_statuses(["queued", "queued", "failed"]) == Tally(waiting=2, running=0, finished=1)


@pytest.mark.parametrize(
    ("status", "tally"),
    [("dispatching", Tally(6, 0, 4)), ("running", Tally(0, 6, 4)), ("odd", Tally(0, 6, 4)), (None, Tally(0, 6, 4))],
)
def test_items_that_are_only_counted_are_tallied_by_the_phase_of_their_batch(status, tally):
    answer = PollAnswer(status_code=status, items_total=10, items_succeeded=1, items_failed=1, items_cancelled=2)
    assert read_counts(answer) == tally


def test_more_ends_than_items_leave_none_to_wait_for():
    assert read_counts(PollAnswer(status_code="running", items_total=1, items_failed=3)) == Tally(0, 0, 3)
