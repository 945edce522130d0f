"""Bytes into structs: strict in what a poll needs, lenient in the rest."""

from __future__ import annotations

import logging
import time
from decimal import Decimal

import msgspec
import pytest

from runflow_async import Batch, MalformedResponseError
from runflow_async._answers.decoding import decode_batch, decode_deliveries, decode_error, decode_poll
from runflow_async._verdict import Verdict
from tests.virtual import BATCH_ID, body, item_id, line

WHOLE = body("running", ["queued"], cost="1.50", metadata={"a": [1]}, created_at="2026-01-02T03:04:05Z")
DEEP = b"[" * 450_000 + b"]" * 450_000  # from 3.14 on Python reads on as long as the stack has room


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
        (b'{"status_code": "\xff"}', "$.status_code", "UTF-8", Verdict.SUSPECT),
        (b'{"status_code": "\xff", "x": NaN, "y": "\\ud800"}', "$.status_code", "UTF-8", Verdict.SUSPECT),
        (WHOLE.replace(b"ref-0", b"\xff"), "$.items[0].client_ref", "UTF-8", Verdict.SUSPECT),
        (b'{"x": "\\ud8zz"}', "$", "escape", Verdict.SUSPECT),
        (b'{"x": "\\ud800', "$", "cut short", Verdict.TRANSIENT),
        (b'{"status_code": "a\x01"}', "$", "invalid", Verdict.SUSPECT),
        (b'{"x": ' + DEEP + b"}", "$", "deep", Verdict.SUSPECT),
        (body(id="nope"), "$.id", "UUID", Verdict.SUSPECT),
        (body(7), "$.status_code", "str", Verdict.SUSPECT),
        (body(items=[line(0, "x"), None]), "$.items[1]", "object", Verdict.SUSPECT),
        (body(items=[line(0, "x"), line(1, 7)]), "$.items[1].status_code", "str", Verdict.SUSPECT),
        (body(items=[line(0, "x", sequence_index=1.5)]), "$.items[0].sequence_index", "int", Verdict.SUSPECT),
        (body(items=[line(0, "x", sequence_index="1")]), "$.items[0].sequence_index", "int", Verdict.SUSPECT),
        (b'{"items": NaN', "$", "cut short", Verdict.TRANSIENT),
        (b'{"id": NaN}', "$.id", "NaN", Verdict.SUSPECT),
        (WHOLE.replace(b'"queued"', b"NaN"), "$.items[0].status_code", "NaN", Verdict.SUSPECT),
        (b'{"items": {}}', "$.items", "array", Verdict.SUSPECT),
        (b'{"items": [{"id": "x"}]}', "$.items[0]", "missing", Verdict.SUSPECT),
    ],
)
def test_a_body_that_breaks_the_contract_is_refused_with_the_path(decode, answer, where, reason, verdict):
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
def test_an_unusable_value_that_no_wait_depends_on_is_none_with_a_warning(caplog, field, text):
    answer = WHOLE[:-1] + f', "{field}": {text}}}'.encode()
    assert decode_poll(answer).status_code == "running"
    batch = decode_batch(answer)
    assert getattr(batch, field) is None
    assert batch.items[0].status_code == "queued"
    (record,) = caplog.records
    assert (record.levelno, field in record.getMessage()) == (logging.WARNING, True)
    assert msgspec.json.decode(msgspec.json.encode(batch), type=Batch) == batch


@pytest.mark.parametrize("name", ["items_total", "items_succeeded", "items_failed", "items_cancelled"])
@pytest.mark.parametrize(
    "count",
    ["-1", "-9e9", str(2**53), str(2**63 - 1), str(2**63), str(2**70), "9" * 5000, "1.5", '"3"', "true", "[]", "NaN"],
    ids=lambda text: text[:20],
)
def test_an_unusable_count_is_none_with_a_warning(caplog, name, count):
    """It helps the schedule only, so it ends nothing; 2**53 is where JSON numbers cease to be the same everywhere."""
    answer = WHOLE[:-1] + f', "{name}": {count}}}'.encode()
    for decode in (decode_poll, decode_batch):
        caplog.clear()
        assert getattr(decode(answer), name) is None
        (record,) = caplog.records
        assert f"$.{name} is unusable and becomes None" in record.getMessage()


@pytest.mark.parametrize("count", [0, 1, 2**53 - 1])
def test_a_usable_count_is_kept(count):
    answer = body(items_total=count)
    assert decode_poll(answer).items_total == decode_batch(answer).items_total == count


@pytest.mark.parametrize(
    "text",
    ["", "2026-01-02", "2026-01-02T24:00:00Z", "yesterday", "2026-02-30T10:00:00Z", "0000-01-01T00:00:00Z"],
)
def test_an_invalid_completed_at_does_not_end_a_batch(caplog, text):
    """A poll and the snapshot of the same answer agree on that."""
    answer = body("odd", completed_at=text)
    for decode in (decode_poll, decode_batch):
        caplog.clear()
        decoded = decode(answer)
        assert (decoded.completed_at, decoded.is_terminal) == (None, False)
        assert "$.completed_at" in caplog.text


@pytest.mark.parametrize("beside", [b"", b', "x": NaN', b', "x": -Infinity, "y": "NaN \\" NaN"'], ids=repr)
@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"a\\ud800b", "a\ufffdb"),
        (b"\\uDFFF", "\ufffd"),
        (b"\\ud800\\ud83d\\ude00", "\ufffd\U0001f600"),
        (b"\\ude00\\ud83d", "\ufffd\ufffd"),
        (b"\\\\ud800 \\\\\\ud800 \\n", "\\ud800 \\\ufffd \n"),
    ],
    ids=repr,
)
def test_a_lone_surrogate_is_replaced_anywhere_in_the_body(caplog, written, read, beside):
    """JSON writers such as Python's send them; JSON readers such as ours could not write them again."""
    text = b'"' + written + b'"'
    answer = WHOLE.replace(b'"ref-0"', text).replace(b'"a"', text)[:-1] + b', "failure_code": ' + text
    answer += b", " + text + b": 1" + beside + b"}"
    assert decode_poll(answer).items[0].client_ref == read
    assert len(caplog.records) == 1
    batch = decode_batch(answer)
    assert (batch.items[0].client_ref, batch.failure_code, batch.metadata) == (read, read, {read: [1]})
    assert "U+FFFD" in caplog.text
    assert msgspec.json.decode(msgspec.json.encode(batch), type=Batch) == batch


def test_invalid_utf_8_is_replaced_in_values_that_no_wait_depends_on(caplog):
    answer = WHOLE[:-1] + b', "failure_message": "caf\xe9", "\xff": {"\xff": NaN}}'
    assert decode_batch(answer).failure_message == "caf\ufffd"
    assert "$.failure_message" in caplog.text


@pytest.mark.parametrize(
    ("written", "read"),
    [(str(2**70), 2**63 - 1), (str(-(2**70)), 1 - 2**63), ("9" * 5000, 2**63 - 1), ("7.0", 7), ("1e2", 100), ("-0", 0)],
    ids=lambda value: str(value)[:20],
)
def test_a_sequence_index_of_any_size_and_spelling_gives_an_order(written, read, caplog):
    """The contract says "integer" only, which in JSON Schema has neither a size nor one spelling."""
    answer = body("running", [line(0, "queued"), line(1, "queued", sequence_index=7777)])
    answer = answer.replace(b"7777", written.encode())
    assert decode_poll(answer).items[1].sequence_index == decode_batch(answer).items[1].sequence_index == read
    assert ("exceeds 64 bits" in caplog.text) == (abs(read) == 2**63 - 1)


@pytest.mark.parametrize(
    "hostile", [b'{"x":"' + rb"\\u0020" * 50_000, b"NaN," * 50_000, b"-" * 200_000 + b"NaN", b'["' * 100_000 + b"NaN"]
)
def test_a_long_malformed_body_is_refused_in_linear_time(hostile):
    """In time in proportion to its length, some hundredths of a second; its square would be minutes."""
    began = time.process_time()
    with pytest.raises(MalformedResponseError):
        decode_poll(hostile)
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    ("text", "read"),
    [("2016-12-31T23:59:60Z", "2016-12-31T23:59:59+00:00"), ("2016-12-31T23:59:01", "2016-12-31T23:59:01+00:00")],
    ids=["leap second", "no offset"],
)
def test_leap_seconds_and_missing_offsets_are_accepted(text, read):
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
def test_harmless_deviations_are_accepted(answer):
    assert decode_poll(answer).status_code == decode_batch(answer).status_code == "running"


def test_an_error_body_is_decoded_if_it_is_the_envelope():
    detail = decode_error(b'{"code": "A", "message": "b", "errors": null, "more": 1}')
    assert (detail.code, detail.message, detail.errors) == ("A", "b", None)
    halves = decode_error(b'{"code": "A\\ud800", "message": "\\udfff", "errors": {"not": "a list"}}')
    assert (halves.code, halves.message, halves.errors) == ("A\ufffd", "\ufffd", None)
    for other in (b"", b"[]", b"<html>", b'{"code": 1}', b"\xff", b'{"code": "\xff", "message": ""}', DEEP):
        assert decode_error(other) is None


@pytest.mark.parametrize("field", ["id", "run_id"])
@pytest.mark.parametrize("value", ["nope", "", "{" + item_id(1) + "}", item_id(1) + "," + item_id(1), item_id(1)[:-1]])
def test_an_invalid_id_of_an_item_is_refused_with_its_path(field, value):
    with pytest.raises(MalformedResponseError, match="Invalid UUID") as caught:
        decode_poll(body(items=["running", line(1, "running", **{field: value})]))
    assert caught.value.where == f"$.items[1].{field}"


@pytest.mark.parametrize("text", ["[%s]", " \n[%s]", '{"items": [%s]}', ' {"items": [%s]}'])
def test_deliveries_come_as_a_page_or_as_a_bare_array(text):
    (delivery,) = decode_deliveries((text % f'{{"id": "{BATCH_ID}"}}').encode(), lambda *_: None).items
    assert delivery.id == BATCH_ID
