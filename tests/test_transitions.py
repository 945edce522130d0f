"""Whatever the timelines and whenever it is polled: exactly the transitions that a reader of them would list."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runflow_async._answers.contradictions import is_second_end
from runflow_async._answers.decoding import decode_poll
from runflow_async._answers.ledger import Ledger
from runflow_async._answers.snapshots import at_statuses
from runflow_async._answers.transitions import by_key, diff_items
from runflow_async._waits.settling import next_settling_delay
from runflow_async.errors import MalformedResponseError
from runflow_async.models import Batch, ItemTransition
from tests.virtual import BATCH_ID, body, item_id, line, status_at

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PATHS = st.lists(st.sampled_from(["queued", "dispatching", "running", "odd"]), max_size=4)
ENDS = st.sampled_from(["succeeded", "failed", "canceled", "cancelled"])


@st.composite
def timelines(draw: st.DrawFn) -> list[list[tuple[int, str]]]:
    """Items that appear at different instants, go back and forth, and mostly end."""
    lines = []
    for _ in range(draw(st.integers(1, 6))):
        statuses = [*draw(PATHS), draw(ENDS)] if draw(st.booleans()) else [*draw(PATHS), "running"]
        instants = sorted(draw(st.lists(st.integers(0, 30), min_size=len(statuses), max_size=len(statuses))))
        lines.append(list(zip(instants, statuses, strict=True)))
    return lines


POLLS = st.lists(st.integers(0, 40), min_size=1, max_size=12).map(sorted)


def snapshot_at(lines: list[list[tuple[int, str]]], now: int, order: list[int]) -> bytes:
    present = [(i, status) for i in order if (status := status_at(lines[i], now)) is not None]
    return body(items=[line(i, status) for i, status in present])


def oracle(lines: list[list[tuple[int, str]]], polls: list[int]) -> list[tuple[int, str | None, str]]:
    """An independent reading: item by item at every poll, a status that differs from the one before."""
    listed, last = [], {}
    for now in polls:
        for i, timeline in enumerate(lines):
            status = status_at(timeline, now)
            if status is not None and status != last.get(i):
                listed.append((i, last.get(i), status))
                last[i] = status
    return listed


def drain(ledger: Ledger, limit: int | None = None) -> list[tuple[int, str | None, str]]:
    delivered = []
    while (limit is None or len(delivered) < limit) and (t := ledger.next_transition()) is not None:
        delivered.append((t.item.sequence_index, t.previous, t.current))
    return delivered


def test_a_snapshot_at_earlier_statuses_has_exactly_those():
    items = Ledger(BATCH_ID, None)
    feed(items, body(items=["failed", "running", "running", "queued"]), NOW)
    earlier = {
        item.id.int: status for item, status in zip(items.batch.items, ["running", "queued", "running"], strict=False)
    }
    assert [item.status_code for item in at_statuses(earlier, items.batch.items)] == ["running", "queued", "running"]


def feed(ledger: Ledger, answer: bytes, observed_at) -> None:
    if not ledger.is_unchanged(answer):
        ledger.take(answer, ledger.read(answer), observed_at)


@pytest.mark.slow
@given(lines=timelines(), polls=POLLS, order=st.randoms())
@settings(max_examples=300, deadline=None)
def test_a_stream_is_what_a_reader_of_the_timelines_would_list(lines, polls, order, now_utc):
    ledger, delivered = Ledger(BATCH_ID, None), []
    for now in polls:
        shuffled = order.sample(range(len(lines)), len(lines))
        feed(ledger, snapshot_at(lines, now, shuffled), now_utc)
        delivered += drain(ledger)
    assert delivered == oracle(lines, polls)


@pytest.mark.slow
@given(lines=timelines(), polls=POLLS, data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_stream_cut_anywhere_and_resumed_through_json_is_the_uncut_one(lines, polls, data, now_utc):
    """Also where the cut falls between two transitions of one snapshot: the new wait first sees that snapshot again."""
    expected = oracle(lines, polls)
    cut = data.draw(st.integers(0, len(expected)), label="transitions before the cut")
    order = list(range(len(lines)))
    first, delivered = Ledger(BATCH_ID, None), []
    rest = list(polls)
    while rest:
        feed(first, snapshot_at(lines, rest[0], order), now_utc)
        delivered += drain(first, cut - len(delivered))
        if len(delivered) == cut:
            break
        rest.pop(0)
    since = msgspec.json.decode(msgspec.json.encode(first.delivered), type=Batch)
    second = Ledger(BATCH_ID, since)
    for now in rest:
        feed(second, snapshot_at(lines, now, order), now_utc)
        delivered += drain(second)
    assert delivered == expected


@given(lines=timelines(), polls=POLLS)
@settings(max_examples=100, deadline=None)
def test_snapshots_hold_every_item_at_its_last_status(lines, polls, now_utc):
    ledger = Ledger(BATCH_ID, None)
    for now in polls:
        feed(ledger, snapshot_at(lines, now, list(range(len(lines)))), now_utc)
    drain(ledger)
    last = {i: status for i, _, status in oracle(lines, polls)}
    assert {item.sequence_index: item.status_code for item in ledger.batch.items} == last
    assert ledger.delivered == ledger.batch


def changes(answer: bytes, *, known: str | None = None) -> list[tuple[int, str | None, str]]:
    """What has changed since item 0 had this status."""
    statuses = {} if known is None else {UUID(item_id(0)).int: known}
    diff = diff_items(statuses, by_key(decode_poll(answer).items), batch_id=BATCH_ID, observed_at=NOW)
    return [(change.item.sequence_index, change.previous, change.current) for change in diff.changes]


def test_identity_is_the_id_and_not_its_spelling():
    for spelling in (item_id(0), item_id(0).upper(), item_id(0).replace("-", "")):
        assert changes(body(items=[line(0, "running", id=spelling)]), known="running") == []


def test_of_an_id_that_is_listed_twice_the_last_item_counts():
    answer = body(items=[line(0, "running"), line(1, "queued"), line(0, "failed")])
    assert changes(answer) == [(0, None, "failed"), (1, None, "queued")]
    assert changes(body(items=[line(0, "failed"), line(0, "running")]), known="running") == []


@pytest.mark.parametrize(
    ("known", "said", "expected"),
    [("failed", "succeeded", True), ("failed", "running", False), ("canceled", "cancelled", False)],
    ids=["ended otherwise", "from before its end", "the other spelling"],
)
def test_a_status_that_contradicts_an_items_end_is_returned_apart_from_the_changes(caplog, known, said, expected):
    caplog.set_level(logging.DEBUG, logger="runflow_async")  # and back when the test is over
    listed = by_key(decode_poll(body(items=[said])).items)
    changes, (contradiction,) = diff_items(dict.fromkeys(listed, known), listed, batch_id=BATCH_ID, observed_at=NOW)
    assert changes == []
    assert contradiction == ItemTransition(BATCH_ID, *listed.values(), known, NOW)
    assert is_second_end(contradiction) is expected
    assert caplog.records == [], "comparing is pure"


def test_a_refused_answer_changes_nothing(now_utc):
    ledger = Ledger(BATCH_ID, None)
    feed(ledger, body(items=["queued"]), now_utc)
    drain(ledger)
    before = ledger.batch
    with pytest.raises(MalformedResponseError):
        feed(ledger, body(items=[line(0, "failed"), line(1, "running", run_id="x")]), now_utc)
    assert (drain(ledger), ledger.batch) == ([], before)


def test_an_earlier_snapshot_counts_as_delivered_before_the_first_answer(now_utc):
    assert Ledger(BATCH_ID, None).delivered == Batch(id=BATCH_ID, items=[])
    ledger = Ledger(BATCH_ID, None)
    feed(ledger, body(items=["queued"]), now_utc)
    drain(ledger)
    assert Ledger(BATCH_ID, ledger.delivered).delivered == ledger.delivered


def test_items_of_an_earlier_snapshot_are_kept_when_an_answer_leaves_them_out(now_utc):
    first = Ledger(BATCH_ID, None)
    feed(first, body(items=["running", "running"]), now_utc)
    drain(first)
    second = Ledger(BATCH_ID, first.delivered)
    feed(second, body(items=[line(1, "failed")]), now_utc)
    assert drain(second) == [(1, "running", "failed")]
    assert [item.status_code for item in second.batch.items] == ["running", "failed"]


def test_a_snapshot_lists_the_items_in_sequence_order(now_utc):
    """Also an item that the newest answer has left out."""
    ledger = Ledger(BATCH_ID, None)
    feed(ledger, body(items=[line(2, "running"), line(0, "running"), line(1, "running")]), now_utc)
    assert [item.sequence_index for item in ledger.batch.items] == [0, 1, 2]
    feed(ledger, body(items=[line(2, "running"), line(0, "running")]), now_utc)
    assert [item.sequence_index for item in ledger.batch.items] == [0, 1, 2]


def test_postponed_transitions_are_delivered_in_sequence_order(now_utc):
    ledger = Ledger(BATCH_ID, None)
    feed(ledger, body(items=[line(1, "running"), line(0, "running")]), now_utc)
    ledger.postpone()
    assert drain(ledger) == [(0, None, "running"), (1, None, "running")]


class TestASlowConsumer:
    def test_gets_several_changes_of_an_item_as_one(self):
        ledger = Ledger(BATCH_ID, None)
        receive(ledger, "running", "queued", "queued")
        receive(ledger, "running", "running", "queued")
        receive(ledger, "running", "failed", "running")
        assert drain(ledger) == [(0, None, "failed"), (1, None, "running")]
        assert not ledger.has_pending

    def test_goes_on_from_what_was_delivered(self):
        ledger = Ledger(BATCH_ID, None)
        receive(ledger, "running", "queued", "queued")
        assert drain(ledger, 1) == [(0, None, "queued")]
        receive(ledger, "running", "running", "running")
        assert [item.status_code for item in ledger.delivered.items] == ["queued"]
        assert drain(ledger) == [(0, "queued", "running"), (1, None, "running")]
        assert ledger.delivered == ledger.batch

    def test_is_up_to_date_as_soon_as_the_last_change_is_delivered(self):
        ledger = Ledger(BATCH_ID, None)
        receive(ledger, "running", "queued", "queued")
        assert len(drain(ledger, 1)) == 1
        assert ledger.has_pending
        assert len(drain(ledger, 1)) == 1
        assert not ledger.has_pending

    def test_gets_nothing_of_a_change_that_was_undone(self):
        ledger = Ledger(BATCH_ID, None)
        receive(ledger, "running", "queued")
        drain(ledger)
        receive(ledger, "running", "running")
        receive(ledger, "running", "queued")
        assert ledger.has_pending
        assert drain(ledger) == []
        assert not ledger.has_pending
        receive(ledger, "running", "running")
        assert drain(ledger) == [(0, "queued", "running")]


class TestTheEndOfABatch:
    def test_is_not_undone_by_a_stale_answer(self):
        ledger = Ledger(BATCH_ID, None)
        receive(ledger, "succeeded", "succeeded", "running")
        receive(ledger, "running", "succeeded", "failed")
        assert (ledger.is_terminal, ledger.batch.status_code) == (True, "succeeded")
        assert [item.status_code for item in ledger.batch.items] == ["succeeded", "running"]

    def test_gives_the_items_that_lag_behind_a_few_polls(self):
        ledger = Ledger(BATCH_ID, None)
        receive(ledger, "succeeded", "running")
        assert [next_settling_delay(ledger.statuses.values(), elapsed) for elapsed in (0.0, 0.25, 1.25, 4.25)] == [
            0.25,
            1.0,
            3.0,
            None,
        ]

    def test_is_settled_once_every_item_has_ended(self):
        ledger = Ledger(BATCH_ID, None)
        receive(ledger, "succeeded", "running")
        assert next_settling_delay(ledger.statuses.values(), 0.0) == 0.25
        receive(ledger, "succeeded", "succeeded")
        assert next_settling_delay(ledger.statuses.values(), 0.0) is None


def receive(ledger: Ledger, status: str, *items: str) -> None:
    answer = body(status, items)
    ledger.take(answer, ledger.read(answer), datetime.now(UTC))
