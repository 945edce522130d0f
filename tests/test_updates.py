"""Reading only what has changed comes to the same as reading whole answers, which is the oracle here."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runflow_async._answers.decoding import decode_poll
from runflow_async._answers.ledger import Ledger
from runflow_async._answers.updates import Update
from runflow_async.errors import MalformedResponseError
from tests.virtual import BATCH_ID, body, item_id, line

if TYPE_CHECKING:
    from datetime import datetime

    from runflow_async.models import ItemTransition

Reader = "Callable[[Ledger, bytes], Any]"


class Reading:
    """A ledger that reads answers in one way, and all that comes of them."""

    def __init__(self, read: Reader, now: datetime) -> None:
        self.ledger = Ledger(BATCH_ID, None)
        self.read = read
        self.now = now
        self.warnings: list[str] = []
        self.updates = 0
        self.ledger.warn = lambda text, *details: self._warn(text % details)  # type: ignore[assignment]

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def receive(self, answer: bytes) -> str | None:
        """Take an answer in as a wait does; the error, in full, if it is refused."""
        if self.ledger.is_unchanged(answer):
            return None
        try:
            read = self.read(self.ledger, answer)
            self.ledger.take(answer, read, self.now)
        except MalformedResponseError as error:
            return f"{error} {error.where} {error.verdict}"
        self.updates += isinstance(read, Update)
        return None

    def view(self) -> tuple[object, ...]:
        """All that can be seen."""
        ledger = self.ledger
        return ledger.batch, ledger.delivered, ledger.tally, ledger.is_terminal, ledger.has_pending, self.warnings

    def deliver(self, most: int) -> list[ItemTransition]:
        return [one for _ in range(most) if (one := self.ledger.next_transition()) is not None]


def whole(ledger: Ledger, answer: bytes) -> Any:
    return decode_poll(answer, ledger.warn)


STATUSES = st.sampled_from(["queued", "running", "running", "succeeded", "failed", "cancelled", "odd", ""])
REFS = st.sampled_from(["ref", None, "a}b", "{", "],[", '"', "\\", "é", '"},{"id":"', '"items": [', "]}"])


def change_status(draw: st.DrawFn, document: dict[str, Any]) -> None:
    draw(st.sampled_from(document["items"]))["status_code"] = draw(STATUSES)


def change_reference(draw: st.DrawFn, document: dict[str, Any]) -> None:
    draw(st.sampled_from(document["items"]))["client_ref"] = draw(REFS)


def change_envelope(draw: st.DrawFn, document: dict[str, Any]) -> None:
    field = draw(st.sampled_from(["items_total", "items_failed", "completed_at", "status_code", "odd", "cost"]))
    document[field] = draw(st.sampled_from([None, 0, 3, 4, 5, -1, 10**20, "running", "failed", "2026-01-02T03:04:05Z"]))


def reorder(draw: st.DrawFn, document: dict[str, Any]) -> None:
    document["items"] = draw(st.permutations(document["items"]))


def shrink(draw: st.DrawFn, document: dict[str, Any]) -> None:
    del document["items"][draw(st.integers(1, 3)) :]


def grow(draw: st.DrawFn, document: dict[str, Any]) -> None:
    document["items"].append(line(draw(st.integers(0, 9)), draw(STATUSES)))


def spoil_item(draw: st.DrawFn, document: dict[str, Any]) -> None:
    field = draw(st.sampled_from(["id", "run_id", "sequence_index", "status_code", "client_ref", "odd"]))
    values = [None, 1.0, 1.5, 10**30, "x", {"a": [{}]}, [], item_id(1).upper(), item_id(2).replace("-", "")]
    draw(st.sampled_from(document["items"]))[field] = draw(st.sampled_from(values))


def drop_field(draw: st.DrawFn, document: dict[str, Any]) -> None:
    item = draw(st.sampled_from(document["items"]))
    item.pop(draw(st.sampled_from(sorted(item))), None)


CHANGES = st.sampled_from(
    [
        *[change_status] * 30,
        *[change_envelope] * 3,
        *(change_reference, reorder, shrink, grow, spoil_item, drop_field),
    ]
)


@st.composite
def histories(draw: st.DrawFn) -> list[bytes]:
    """Answers that each differ in some ways from the one before, laid out in one of several ways."""
    document: dict[str, Any] = json.loads(body(items=["queued"] * draw(st.integers(1, 7))))
    document["metadata"] = draw(
        st.sampled_from([None, None, None, {"items": []}, {"items": [line(0, "failed")]}, "{]}"])
    )
    if draw(st.integers(0, 3)):
        document["items"] = document.pop("items")  # behind the metadata
    layout = draw(st.sampled_from([{"separators": (",", ":")}, {"indent": 1}, {"ensure_ascii": False}, {}]))
    answers = []
    for _ in range(draw(st.integers(2, 8))):
        for _ in range(draw(st.integers(1, 3))):
            draw(CHANGES)(draw, document)
        answer = json.dumps(document, **layout).encode()
        if draw(st.integers(0, 19)) == 0:
            start = draw(st.integers(0, len(answer)))
            answer = answer[:start] + draw(st.sampled_from([b"", b"}", b"]", b'"', b",", b"{", b"\xff", b"7"]))
            answer += json.dumps(document, **layout).encode()[draw(st.integers(start, start + 3)) :]
        answers.append(answer)
        if not document["items"]:
            break
        if draw(st.integers(0, 4)) == 0:  # what was spoilt is well again
            document = json.loads(body(items=["running"] * draw(st.integers(1, 5))))
    return answers


def compare(answers: list[bytes], patience: int, now: datetime) -> Reading:
    """Read the answers in both ways; the quick one."""
    quick, oracle = Reading(Ledger.read, now), Reading(whole, now)
    for answer in answers:
        assert quick.receive(answer) == oracle.receive(answer)
        assert quick.deliver(patience) == oracle.deliver(patience)
        assert quick.view() == oracle.view()
    return quick


@settings(max_examples=50, derandomize=True, deadline=None, database=None)
@given(answers=histories(), patience=st.integers(0, 3))
def test_the_same_comes_of_answers_that_are_read_whole(answers, patience, now_utc):
    """The same transitions, snapshots, counts, errors and warnings."""
    compare(answers, patience, now_utc)


@pytest.mark.parametrize("width", [0, 1], ids=["inserted", "replaced"])
@pytest.mark.parametrize("byte", [b"", *(bytes([code]) for code in b'{}[]",:7')], ids=repr)
def test_the_same_comes_of_one_spoilt_byte_anywhere(byte, width, now_utc):
    before, answer = body(items=["queued", "queued"]), body(items=["queued", "running"])
    for at in range(len(answer)):
        compare([before, answer, before, answer[:at] + byte + answer[at + width :]], 1, now_utc)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(answers=histories(), patience=st.integers(0, 3))
def test_the_same_comes_of_thousands_of_histories(answers, patience, now_utc):
    compare(answers, patience, now_utc)


FIRST = ["running", "queued", "queued", "running"]
BEFORE = [body(items=["queued"] * 4), body(items=FIRST)]
"""The second one changed little, so that the next one may be read in part."""


@pytest.mark.parametrize(
    "answer",
    [
        body(items=["succeeded", *FIRST[1:]]),
        body(items=[*FIRST[:3], "succeeded"]),
        body(items=[FIRST[0], "running", "running", FIRST[3]]),
        body(items=["succeeded"] * 4),
        body("succeeded", ["succeeded"] * 4, items_total=4),
        body(items=[*FIRST[:3], line(3, "failed", client_ref="[3]")]),
        body(items=FIRST, items_succeeded=1),
        body("succeeded", items=[*FIRST[:3], line(3, "failed", client_ref="[{")]),
    ],
    ids=[
        "first item",
        "last item",
        "two in the middle",
        "all",
        "all and the batch",
        "reference too",
        "none",
        "brackets",
    ],
)
def test_an_answer_that_lists_the_same_items_is_read_in_part(answer, now_utc):
    assert compare([*BEFORE, answer], 9, now_utc).updates == 1


@pytest.mark.parametrize(
    "answer",
    [
        body(items=[*FIRST, "queued"]),
        body(items=FIRST[:3]),
        body(items=[line(1, "queued"), line(0, "running"), line(2, "queued"), line(3, "running")]),
        body(items=[*FIRST[:3], line(4, "running")]),
        body(items=[*FIRST[:3], line(3, "running", run_id="nope")]),
        body(items=[*FIRST[:3], line(3, "failed", client_ref="a}b")]),
        body(items=[*FIRST[:3], line(3, "failed", links={})]),
        body(items=[*FIRST[:3], line(3, "failed")], items_total=-1),
        body(items=[*FIRST[:3], line(3, "failed", odd=0)]).replace(b": 0", b": " + b"[" * 9_000 + b"]" * 9_000),
        body(items=None),
        body(items=[]),
        body(items=FIRST)[:-1],
        body(items=FIRST).replace(b"}, {", b"},, {", 1),
        b"\xef\xbb\xbf" + body(items=FIRST),
    ],
    ids=[
        *("grown", "shrunk", "reordered", "another item", "no run id", "a brace", "nested", "unusable count", "deep"),
        *("no list", "empty list", "cut short", "two commas", "byte order mark"),
    ],
)
def test_any_other_answer_is_read_whole(answer, now_utc):
    assert compare([*BEFORE, answer], 9, now_utc).updates == 0


def test_an_answer_that_was_read_in_part_serves_for_the_next_one(now_utc, caplog):
    caplog.set_level(logging.WARNING)
    steps = [body(items=["queued"] * 3), *(body(items=["running"] * n + ["queued"] * (3 - n)) for n in range(1, 4))]
    assert compare(steps, 9, now_utc).updates == 2


def test_an_item_within_an_item_is_not_taken_for_one(now_utc):
    answers = [body(items=[line(0, "running", odd={}, former=line(1, one)), line(1, "x")]) for one in "abc"]
    assert compare(answers, 9, now_utc).updates == 0


def test_a_list_that_an_earlier_one_has_in_its_metadata_is_not_taken_for_it(now_utc):
    """The position of the items is guessed, and then proven."""

    answers = [body(items=[line(0, status)], metadata={"items": [line(0, "queued")]}) for status in "abc"]
    assert compare(answers, 9, now_utc).updates == 0
    reordered = [json.dumps(dict(reversed(json.loads(answer).items()))).encode() for answer in answers]
    assert compare(reordered, 9, now_utc).updates == 1


def test_an_answer_in_which_much_has_changed_is_read_whole(now_utc):
    """That is cheaper."""
    steps = [["queued"] * 40, ["running"] + ["queued"] * 39, ["running"] * 2 + ["queued"] * 38, ["failed"] * 40]
    assert compare([body(items=items) for items in steps], 99, now_utc).updates == 1
