"""Bytes into structs: strict in what a poll needs, lenient in the rest."""

from __future__ import annotations

import logging
from decimal import Decimal

import msgspec
import pytest

from runflow_async import Batch, MalformedResponseError
from runflow_async.decoding import are_canonical, decode_batch, decode_error, decode_poll
from runflow_async.errors import Verdict
from tests.virtual import BATCH_ID, body, line

WHOLE = body("running", ["queued"], cost="1.50", metadata={"a": [1]}, created_at="2026-01-02T03:04:05Z")
DEEP = b"[" * 100_000 + b"]" * 100_000


def test_a_batch_keeps_the_types_of_the_contract():
    batch = decode_batch(WHOLE)
    assert (batch.id, batch.cost, batch.metadata) == (BATCH_ID, Decimal("1.50"), {"a": [1]})
    assert batch.created_at.utcoffset().total_seconds() == 0
    assert batch.items[0].status_code == "queued"
    assert not batch.items[0].is_terminal
    assert msgspec.json.decode(msgspec.json.encode(batch), type=Batch) == batch


@pytest.mark.parametrize("decode", [decode_poll, decode_batch])
@pytest.mark.parametrize(
    ("answer", "where", "reason", "verdict"),
    [
        (b"", "$", "empty", Verdict.TRANSIENT),
        (b" \n", "$", "empty", Verdict.TRANSIENT),
        (WHOLE[:50], "$", "cut short", Verdict.TRANSIENT),
        (b"<html></html>", "$", "HTML", Verdict.SUSPECT),
        (b"null", "$", "object", Verdict.SUSPECT),
        (b"[]", "$", "object", Verdict.SUSPECT),
        (WHOLE + b"x", "$", "trailing", Verdict.SUSPECT),
        (WHOLE[:-1] + b",}", "$", "trailing comma", Verdict.SUSPECT),
        (b"// \n" + WHOLE, "$", "invalid", Verdict.SUSPECT),
        (WHOLE.decode().encode("utf-16"), "$", "invalid", Verdict.SUSPECT),
        (b'{"status_code": "\xff"}', "$", "UTF-8", Verdict.SUSPECT),
        (b'{"status_code": "\\ud800"}', "$", "", Verdict.SUSPECT),
        (b'{"status_code": "a\x01"}', "$", "invalid", Verdict.SUSPECT),
        (b'{"x": ' + DEEP + b"}", "$", "deep", Verdict.SUSPECT),
        (body(id="nope"), "$.id", "UUID", Verdict.SUSPECT),
        (body(7), "$.status_code", "str", Verdict.SUSPECT),
        (body(items_total=-1), "$.items_total", ">= 0", Verdict.SUSPECT),
        (body(items_total=2**70), "$.items_total", "", Verdict.SUSPECT),
        (body(items_failed=1.5), "$.items_failed", "int", Verdict.SUSPECT),
        (body(items=[line(0, "x"), None]), "$.items[1]", "object", Verdict.SUSPECT),
        (b'{"items": NaN', "$", "", Verdict.SUSPECT),
        (WHOLE[:-1] + b', "items_total": "NaN"}', "$.items_total", "int", Verdict.SUSPECT),
        (body(completed_at="yesterday"), "$.completed_at", "regex", Verdict.SUSPECT),
        (WHOLE.replace(b'"queued"', b"NaN"), "$.items[0].status_code", "str", Verdict.SUSPECT),
        (b'{"items": {}}', "$.items", "array", Verdict.SUSPECT),
        (b'{"items": [{"id": "x"}]}', "$.items[0]", "missing", Verdict.SUSPECT),
    ],
)
def test_what_is_not_the_contract_is_refused_with_its_place(decode, answer, where, reason, verdict):
    with pytest.raises(MalformedResponseError) as caught:
        decode(answer)
    assert caught.value.where == where
    assert reason in caught.value.reason
    assert caught.value.verdict is verdict


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("cost", '"much"'),
        ("cost", '"NaN"'),
        ("cost", "NaN"),
        ("cost", "[]"),
        ("metadata", "[]"),
        ("metadata", '{"a": ' + "9" * 5000 + "}"),
        ("metadata", '{"a": -Infinity}'),
        ("created_at", '"yesterday"'),
        ("created_at", "7"),
        ("duration_ms", str(2**70)),
        ("org_id", '"x"'),
        ("callback_url", "1"),
        ("output", '"text"'),
    ],
)
def test_an_odd_value_that_nobody_waits_for_is_none_with_a_warning(caplog, field, text):
    answer = WHOLE[:-1] + f', "{field}": {text}}}'.encode()
    assert decode_poll(answer).status_code == "running"
    batch = decode_batch(answer)
    assert getattr(batch, field) is None
    assert batch.items[0].status_code == "queued"
    (record,) = caplog.records
    assert (record.levelno, field in record.getMessage()) == (logging.WARNING, True)
    assert msgspec.json.decode(msgspec.json.encode(batch), type=Batch) == batch


@pytest.mark.parametrize(
    ("text", "read"),
    [("2016-12-31T23:59:60Z", "2016-12-31T23:59:59+00:00"), ("2016-12-31T23:59:01", "2016-12-31T23:59:01+00:00")],
    ids=["leap second", "no offset"],
)
def test_instants_that_datetime_does_not_know_are_read_all_the_same(text, read):
    answer = body("odd", completed_at=text)
    assert decode_poll(answer).is_terminal
    assert decode_batch(answer).completed_at.isoformat() == read


@pytest.mark.parametrize(
    "answer",
    [
        b"\xef\xbb\xbf" + WHOLE,
        WHOLE[:-1] + b', "new_field": {"x": [1e999, "\xff"]}}',
        b'{"status_code": "queued", ' + WHOLE[1:],
    ],
    ids=["byte order mark", "unknown field", "a key twice, the last counts"],
)
def test_what_does_no_harm_is_accepted(answer):
    assert decode_poll(answer).status_code == decode_batch(answer).status_code == "running"


def test_an_error_body_is_the_envelope_or_nothing():
    detail = decode_error(b'{"code": "A", "message": "b", "errors": null, "more": 1}')
    assert (detail.code, detail.message, detail.errors) == ("A", "b", None)
    for other in (b"", b"[]", b"<html>", b'{"code": 1}', b"\xff", b'{"code": "\xff", "message": ""}', DEEP):
        assert decode_error(other) is None


CANONICAL = "0f0e0d0c-0b0a-4908-8706-050403020100"


@pytest.mark.parametrize(
    ("texts", "fit"),
    [
        ([], True),
        ([CANONICAL, CANONICAL.upper()], True),
        ([CANONICAL, CANONICAL.replace("-", "")], False),
        ([CANONICAL[:-1], CANONICAL + "0"], False),
        ([CANONICAL + "," + CANONICAL], False),
        ([CANONICAL.replace("-", "0", 1).replace("0", "-", 1)], False),
        ([CANONICAL.replace("e", "g")], False),
        ([CANONICAL.replace("e", "é")], False),
        ([CANONICAL.replace("e", ",")], False),
        ([""], False),
    ],
)
def test_ids_are_checked_all_at_once(texts, fit):
    assert are_canonical(texts) is fit
