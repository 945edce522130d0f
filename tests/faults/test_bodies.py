"""Section C of the fault matrix: what can come in a body with status 200, on real sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import subprocess
import sys
import zlib
from typing import Any

import pytest

from runflow_async import MalformedResponseError, PermissionDeniedError, ResponseTooLargeError
from tests.faults.tables import ATTEMPTS, BATCH_ID, GOOD, RUNNING, Row, connect, passes, stays, table
from tests.rig import ScriptedServer, endless, eventually, hang, http, item, json_batch

pytestmark = pytest.mark.usefixtures("both_lanes")

BODY = json_batch(BATCH_ID, ["succeeded"], "succeeded")


def batch(**fields: object) -> bytes:
    return json.dumps(json.loads(BODY) | fields).encode()


def malformed(number: int, name: str, body: bytes, says: str = "", kind: str = "M", **head: object) -> Row:
    return Row(number, name, http(200, body, **head), kind, MalformedResponseError, says)


DEEP = b"[" * 450_000 + b"]" * 450_000
"""From 3.14 on Python reads on as long as the stack has room."""
PAGE = b"<!doctype html><title>Sign in</title>"

ROWS = [
    malformed(68, "truncated", BODY[:-30], "cut short", "R"),
    malformed(69, "HTML as JSON", PAGE, "HTML, not JSON"),
    malformed(69, "HTML as HTML", PAGE, "HTML, not JSON", content_type="text/html"),
    malformed(70, "empty", b"", "empty", "R"),
    malformed(70, "whitespace", b" \r\n ", "empty", "R"),
    malformed(71, "null", b"null", "object"),
    malformed(71, "array", b"[]", "object"),
    malformed(71, "string", b'"x"', "object"),
    malformed(72, "trailing garbage", BODY + b"x"),
    malformed(72, "two documents", BODY + BODY),
    malformed(72, "comment", b"/* hi */" + BODY),
    malformed(72, "single quotes", BODY.replace(b'"', b"'")),
    malformed(72, "trailing comma", BODY[:-1] + b",}"),
    malformed(74, "UTF-16", BODY.decode().encode("utf-16")),
    malformed(
        74,
        "latin-1",
        BODY.replace(b'"succeeded"', '"é"'.encode("latin-1")),
        content_type="application/json; charset=latin-1",
    ),
    malformed(75, "invalid UTF-8 in a field we read", BODY.replace(b"ref-0", b"\xff"), "UTF-8"),
    malformed(77, "raw control character", BODY.replace(b"ref-0", b"\x01")),
    malformed(77, "raw control character beside NaN", BODY.replace(b"ref-0", b"\x01")[:-1] + b', "x": NaN}'),
    malformed(78, "NaN as a status", batch(status_code=float("nan")), "$.status_code"),
    malformed(78, "1e999 as an id", BODY.replace(f'"{BATCH_ID}"'.encode(), b"1e999", 1), "$.id"),
    malformed(80, "450,000 deep", BODY[:-1] + b', "x": ' + DEEP + b"}", "deep"),
    malformed(82, "status a number", batch(status_code=7), "$.status_code"),
    malformed(82, "id no UUID", batch(id="x"), "$.id"),
    malformed(82, "items a string", batch(items="x"), "$.items"),
    malformed(
        82,
        "an item's status",
        json_batch(BATCH_ID, ["a", "b", "c", item(BATCH_ID, 3, status_code=4)]),
        "$.items[3].status_code",
    ),
    malformed(82, "an item's id", json_batch(BATCH_ID, ["a", item(BATCH_ID, 1, id="x")]), "$.items[1].id"),
    malformed(86, "items an object", batch(items={}), "$.items"),
    malformed(87, "items of null", batch(items=[None]), "$.items[0]"),
    malformed(88, "an item without status", batch(items=[{"id": str(BATCH_ID)}]), "$.items[0]"),
    malformed(105, "another batch", json_batch("ffffffff-0b0a-4908-8706-050403020100"), "$.id"),
    malformed(105, "no id, and a key that is not UTF-8", BODY.replace(b'"id"', b'"\xfed"', 1), "UTF-8"),
    Row(108, "body over the cap", http(200, b" " * 2000 + BODY), "N", ResponseTooLargeError, "1500"),
    Row(108, "body over the cap, chunked", http(200, b" " * 2000 + BODY, chunked=True), "N", ResponseTooLargeError),
    Row(110, "endless chunks", http(200, length=None) + endless(b" " * 1000), "N", ResponseTooLargeError),
]


@table(ROWS)
async def test_a_body_that_stays_bad_is_raised_after_exactly_the_promised_requests(row):
    error, server = await stays(row, max_response_bytes=1500 if row.number in (108, 110) else 10**6)
    assert type(error) is row.error
    assert row.says in str(error)
    assert len(str(error)) < 500
    assert len(server.requests) == ATTEMPTS[row.kind]


@table(row for row in ROWS if row.kind != "N")
async def test_a_bad_body_that_passes_costs_one_more_request(row):
    assert len((await passes(row)).requests) == 2


@table(row for row in ROWS if row.kind != "N")
async def test_of_a_bad_body_nothing_is_yielded_and_nothing_twice(row):
    async with ScriptedServer([RUNNING, row.fault, row.fault, GOOD]) as server, connect(server) as session:
        told = [(t.previous, t.current) async for t in session.wait_for_batch(BATCH_ID, interval=0.001)]
    assert told == [(None, "running"), ("running", "succeeded")]


HARMLESS = {
    "73: byte order mark": b"\xef\xbb\xbf" + BODY,
    "76: invalid UTF-8 in a field we skip": BODY[:-1] + b', "new": "\xff"}',
    "78: 1e999 in a field we skip": BODY[:-1] + b', "new": 1e999}',
    "78: NaN in a field we skip": BODY[:-1] + b', "new": NaN}',
    "79: 5,000 digits in a field we skip": BODY[:-1] + b', "new": ' + b"9" * 5000 + b"}",
    "76: invalid UTF-8 in a field we skip, beside NaN": BODY[:-1] + b', "new": "\xff", "newer": NaN}',
    "77: half of a surrogate pair": BODY.replace(b"ref-0", b"\\ud800"),
    "77: half of a surrogate pair, beside NaN": BODY.replace(b"ref-0", b"\\ud800")[:-1] + b', "new": NaN}',
    "77: half of a surrogate pair in a field we skip": BODY[:-1] + b', "new": {"\\ud800": "\\udc00"}}',
    "78: NaN in a count": batch(items_total=float("nan")),
    "78: 1e999 in a count": BODY.replace(b'"items_total": 1', b'"items_total": 1e999'),
    "79: a negative count": batch(items_failed=-1),
    "79: 2**70": batch(items_failed=2**70),
    "79: nearly 2**63": batch(items_failed=2**63 - 1, items_total=2**63 - 1),
    "79: 5,000 digits": BODY.replace(b'"items_failed": 0', b'"items_failed": ' + b"9" * 5000),
    "79: a count as text": batch(items_total="1"),
    "79: an index that is whole but for its spelling": BODY.replace(b'"sequence_index": 0', b'"sequence_index": 0.0'),
    "81: a key twice, the last counts": b'{"status_code": "odd", ' + BODY[1:],
    "84: unknown fields": batch(new={"a": [1]}),
    "89: an item twice": json_batch(BATCH_ID, ["succeeded", item(BATCH_ID, 0, "succeeded")], "succeeded"),
    "105: id null": batch(id=None),
    "105: id absent": BODY.replace(b'"id"', b'"idea"', 1),
    "106: id in capitals": batch(id=str(BATCH_ID).upper()),
    "106: id without hyphens": batch(id=BATCH_ID.hex),
}


@pytest.mark.parametrize("body", HARMLESS.values(), ids=HARMLESS)
async def test_what_does_no_harm_is_accepted(body):
    async with ScriptedServer(http(200, body)) as server, connect(server) as session:
        told = [(t.item.sequence_index, t.current) async for t in session.wait_for_batch(BATCH_ID)]
    assert told == [(0, "succeeded")]
    assert len(server.requests) == 1


ODD = {
    "77: half of a surrogate pair": {"failure_message": "\ud800"},
    "77: the same in an item": {"items": [item(BATCH_ID, 0, client_ref="\udc00 \ud800")]},
    "79: a negative count": {"items_total": -5},
    "79: a count beyond all sense": {"items_succeeded": 2**63 - 1},
    "83: a cost that is none": {"cost": "free"},
    "105: no id": {"id": None},
    "110b: an end that is empty": {"completed_at": ""},
    "110b: an end that is a date": {"completed_at": "2026-01-02"},
    "110b: an end at 24:00": {"completed_at": "2026-01-02T24:00:00Z"},
}


@pytest.mark.parametrize("fields", ODD.values(), ids=ODD)
async def test_a_wait_goes_on_through_what_is_odd_and_warns_of_it_once(caplog, fields):
    """Through every poll, though each is looked at whole, too."""
    answers = [http(200, batch(status_code="running", org_id=f"{n:032x}", **fields)) for n in range(4)]
    seen = []
    async with ScriptedServer([*answers, GOOD]) as server, connect(server) as session:
        wait = session.wait_for_batch(BATCH_ID, interval=0.001, until=lambda seen_now: seen.append(seen_now.id))
        await wait
    assert seen == [BATCH_ID] * 4
    assert (wait.stats.polls, wait.stats.retries) == (5, 0)
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


@pytest.mark.parametrize("fields", ODD.values(), ids=ODD)
async def test_a_single_look_takes_what_is_odd_and_warns_of_it_once(caplog, fields):
    async with ScriptedServer(http(200, batch(**fields))) as server, connect(server) as session:
        assert (await session.get_batch(BATCH_ID)).id == BATCH_ID
        assert len(server.requests) == 1
    (record,) = caplog.records
    assert str(BATCH_ID) in record.getMessage()


@pytest.mark.parametrize(
    "instant", ["2026-01-02T03:04:05Z", "2016-12-31T23:59:60Z", "2026-01-02t03:04:05.123456789+01:00"]
)
async def test_row_110b_an_end_that_is_a_date_time_ends_the_wait(instant):
    async with ScriptedServer(http(200, batch(status_code="odd", completed_at=instant))) as server:
        async with connect(server) as session:
            assert (await session.wait_for_batch(BATCH_ID)).is_terminal
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("cost", "much"), ("cost", [1]), ("metadata", [1]), ("created_at", "now"), ("output", "x"), ("input", {})],
    ids=lambda value: f"83: {value}" if isinstance(value, str) else repr(value),
)
async def test_an_odd_value_that_nobody_waits_for_ends_nothing(caplog, field, value):
    async with ScriptedServer(http(200, batch(**{field: value}))) as server, connect(server) as session:
        result = await session.wait_for_batch(BATCH_ID)
    assert getattr(result, field) is None
    assert result.items[0].status_code == "succeeded"
    assert any(record.levelno == logging.WARNING and field in record.getMessage() for record in caplog.records)


def statuses(*answers: list[object] | None, end: str = "succeeded") -> list[bytes]:
    """Answers with these items; the batch ends with the last one."""
    last = len(answers) - 1
    return [json_batch(BATCH_ID, items, end if n == last else "running") for n, items in enumerate(answers)]


def at(index: int, status: str) -> dict[str, object]:
    return item(BATCH_ID, index, status)


STREAMS = {
    "85: items null": (statuses(["running"], None, ["succeeded"]), [(0, None, "running"), (0, "running", "succeeded")]),
    "90: an item twice, differing": (
        statuses([at(0, "running"), at(1, "queued"), at(0, "failed")], ["failed", "failed"]),
        [(0, None, "failed"), (1, None, "queued"), (1, "queued", "failed")],
    ),
    "91: reordered": (
        statuses(["running", "queued"], [at(1, "queued"), at(0, "running")], ["failed", "failed"]),
        [(0, None, "running"), (1, None, "queued"), (0, "running", "failed"), (1, "queued", "failed")],
    ),
    "92: an item gone": (
        statuses(["failed", "queued"], [at(1, "failed")]),
        [(0, None, "failed"), (1, None, "queued"), (1, "queued", "failed")],
    ),
    "93: gone and back": (
        statuses(["running"], [], ["running"], ["failed"]),
        [(0, None, "running"), (0, "running", "failed")],
    ),
    "94: a new item": (statuses(["failed"], ["failed", "failed"]), [(0, None, "failed"), (1, None, "failed")]),
    "95: terminal, then not": (statuses(["failed"], ["running"], ["failed"]), [(0, None, "failed")]),
    "96: back to queued": (
        statuses(["running"], ["queued"], ["failed"]),
        [(0, None, "running"), (0, "running", "queued"), (0, "queued", "failed")],
    ),
    "97: another end": (statuses(["failed"], ["succeeded"]), [(0, None, "failed")]),
    "99: unknown status": (
        statuses(["warming"], ["Succeeded"], ["", "failed"], ["failed", "failed"]),
        [
            (0, None, "warming"),
            (0, "warming", "Succeeded"),
            (0, "Succeeded", ""),
            (1, None, "failed"),
            (0, "", "failed"),
        ],
    ),
    "103: items first": (
        [*statuses(["failed"], ["failed"], end="running"), *statuses(["failed"])],
        [(0, None, "failed")],
    ),
    "107: the same bytes": (
        [*statuses(["running"], ["running"], end="running")] * 2 + statuses(["failed"]),
        [(0, None, "running"), (0, "running", "failed")],
    ),
}


@pytest.mark.parametrize(("answers", "expected"), STREAMS.values(), ids=STREAMS)
async def test_transitions_follow_the_items_whatever_the_answers_look_like(answers, expected):
    async with ScriptedServer([http(200, body) for body in answers]) as server, connect(server) as session:
        wait = session.wait_for_batch(BATCH_ID, interval=0.001)
        told = [(t.item.sequence_index, t.previous, t.current) async for t in wait]
    assert told == expected
    assert len(server.requests) == len(answers)


async def test_row_98_a_batch_that_ended_is_not_reopened_by_a_stale_answer():
    answers = [json_batch(BATCH_ID, ["running"], "succeeded"), json_batch(BATCH_ID, ["queued"], "running")]
    async with ScriptedServer([http(200, body) for body in answers]) as server, connect(server) as session:
        result = await asyncio.wait_for(session.wait_for_batch(BATCH_ID, timeout=0.5), 3)
    assert (result.status_code, result.items[0].status_code) == ("succeeded", "running")


@pytest.mark.parametrize("status", ["warming", None, "", "SUCCEEDED"], ids=lambda status: f"100/101: {status!r}")
async def test_an_unknown_batch_status_is_polled_on_and_reported_once(caplog, status):
    answers = [json_batch(BATCH_ID, ["running"], status, cost=str(n)) for n in range(3)]
    async with ScriptedServer([http(200, body) for body in answers] + [GOOD]) as server, connect(server) as session:
        assert (await session.wait_for_batch(BATCH_ID, interval=0.001)).status_code == "succeeded"
    assert sum("unknown status" in record.getMessage() for record in caplog.records) == 1


async def test_row_104_counts_are_given_as_they_came(caplog):
    body = json_batch(BATCH_ID, ["succeeded"], "succeeded", items_total=900, items_succeeded=7)
    async with ScriptedServer(http(200, body)) as server, connect(server) as session:
        result = await session.wait_for_batch(BATCH_ID)
    assert (result.items_total, result.items_succeeded) == (900, 7)
    assert "items_total" in caplog.text


@pytest.mark.parametrize("number", [108, 110])
async def test_a_body_over_the_cap_costs_its_connection(number):
    (fault,) = (row.fault for row in ROWS if row.number == number and "chunked" not in row.name)
    async with ScriptedServer(fault) as server, connect(server, max_response_bytes=1500) as session:
        with pytest.raises(ResponseTooLargeError):
            await session.get_batch(BATCH_ID)
        await eventually(lambda: server.open_connections == 0)


async def test_a_body_declared_over_the_cap_is_refused_before_any_of_it_comes():
    async with ScriptedServer(http(200, length=1501) + hang()) as server:
        async with connect(server, max_response_bytes=1500) as session:
            with pytest.raises(ResponseTooLargeError, match="1500"):
                await session.get_batch(BATCH_ID)


async def test_a_body_of_exactly_the_cap_is_accepted():
    async with ScriptedServer(GOOD) as server, connect(server, max_response_bytes=len(BODY)) as session:
        assert (await session.get_batch(BATCH_ID)).is_terminal


BOMB_CLIENT = """
import asyncio, resource, sys
from runflow_async import ResponseTooLargeError, RetryPolicy, RunflowSession

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

async def main():
    async with RunflowSession("k", base_url=sys.argv[1], retry=RetryPolicy(attempts=1)) as session:
        try:
            await session.get_batch("%s")
        except Exception as error:
            print("warm", type(error).__name__)
        before = peak()
        try:
            await session.get_batch("%s")
        except ResponseTooLargeError:
            print("refused", round(peak() - before, 1))

asyncio.run(main())
"""


def brotli() -> Any:
    return pytest.importorskip("brotli").Compressor(quality=5)


def zstd() -> Any:
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    return pytest.importorskip(name).ZstdCompressor()


COMPRESSORS = {
    "gzip": lambda: zlib.compressobj(9, wbits=31),
    "deflate": lambda: zlib.compressobj(9),
    "br": brotli,
    "zstd": zstd,
    "x-gzip": lambda: zlib.compressobj(9, wbits=31),
    "gzip, identity": lambda: zlib.compressobj(9, wbits=31),
}


def packed(coding: str, *blocks: bytes) -> bytes:
    compressor = COMPRESSORS[coding]()
    pack = compressor.process if coding == "br" else compressor.compress
    return b"".join([*(pack(block) for block in blocks), compressor.finish() if coding == "br" else compressor.flush()])


@pytest.mark.slow
@pytest.mark.parametrize("coding", [pytest.param(coding, id=f"row 109: {coding}") for coding in COMPRESSORS])
async def test_a_bomb_of_512_mib_costs_at_most_the_cap_and_8_mib(coding):
    """Measured in a process of its own, whose peak of memory nothing else has raised."""
    bomb = packed(coding, *[b" " * 2**20] * 512)
    assert len(bomb) < 600_000
    script = [http(404), http(200, bomb, {"Content-Encoding": coding})]
    async with ScriptedServer(script) as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", BOMB_CLIENT % (BATCH_ID, BATCH_ID), server.url, stdout=subprocess.PIPE
        )
        printed = (await process.communicate())[0].decode().split()
        process._transport.close()
    assert printed[:3] == ["warm", "NotFoundError", "refused"]
    assert float(printed[3]) <= 32 + 8


@pytest.mark.parametrize("coding", COMPRESSORS)
@pytest.mark.parametrize("fits", [True, False], ids=["within the cap", "over it"])
async def test_a_compressed_body_counts_as_it_is_decompressed(coding, fits):
    zipped = http(200, packed(coding, BODY), {"Content-Encoding": coding})
    cap = len(BODY) - (not fits)
    async with ScriptedServer(zipped) as server, connect(server, max_response_bytes=cap) as session:
        if fits:
            assert (await session.get_batch(BATCH_ID)).is_terminal
        else:
            with pytest.raises(ResponseTooLargeError):
                await session.get_batch(BATCH_ID)


GZIPPED = gzip.compress(BODY)
BARE = zlib.compressobj(wbits=-15)
CODINGS = {
    "x-gzip": (GZIPPED, ["x-gzip"]),
    "X-GZip": (GZIPPED, ["X-GZip"]),
    "GZIP": (GZIPPED, ["GZIP"]),
    "a list with identity": (GZIPPED, ["gzip, identity"]),
    "a list with nothing": (GZIPPED, [", gzip ,"]),
    "two headers": (GZIPPED, ["identity", "gzip"]),
    "two headers, the last one idle": (GZIPPED, ["gzip", "identity"]),
    "a charset beside it": (GZIPPED, ["utf-8, gzip"]),
    "two members": (gzip.compress(BODY[:50]) + gzip.compress(BODY[50:]), ["x-gzip"]),
    "deflate in a list": (zlib.compress(BODY), ["identity, deflate"]),
    "deflate without its header": (BARE.compress(BODY) + BARE.flush(), ["identity, deflate"]),
    "empty": (BODY, [""]),
    "identity": (BODY, ["identity"]),
    "identity twice": (BODY, ["identity, Identity"]),
    "a charset": (BODY, ["utf-8"]),
    "another charset": (BODY, ["UTF8"]),
}


@pytest.mark.parametrize(("body", "values"), CODINGS.values(), ids=[f"row 20: {name}" for name in CODINGS])
async def test_a_content_encoding_that_can_be_undone_is(body, values):
    answer = http(200, body, [("Content-Encoding", value) for value in values])
    async with ScriptedServer(answer) as server, connect(server) as session:
        assert (await session.get_batch(BATCH_ID)).is_terminal
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("body", "coding"),
    [(BODY, "x-gzip"), (GZIPPED, "gzip, gzip"), (GZIPPED, "x-own, gzip"), (GZIPPED[5:], "gzip, identity")],
    ids=["row 19: no gzip", "row 20: twice", "row 20: unknown", "row 19: broken"],
)
async def test_a_content_encoding_that_cannot_be_undone_is_no_contract(body, coding):
    async with ScriptedServer(http(200, body, {"Content-Encoding": coding})) as server, connect(server) as session:
        with pytest.raises(MalformedResponseError, match="Content-Encoding"):
            await session.get_batch(BATCH_ID)
    assert len(server.requests) == 3


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "x-own"])
async def test_an_error_is_told_by_its_status_whatever_its_body_is_in(coding):
    envelope = gzip.compress(b'{"code": "NO_ACCESS", "message": "no", "errors": null}')
    async with ScriptedServer(http(403, envelope, {"Content-Encoding": coding})) as server, connect(server) as session:
        with pytest.raises(PermissionDeniedError) as caught:
            await session.get_batch(BATCH_ID)
    assert caught.value.code == (None if coding == "x-own" else "NO_ACCESS")


@pytest.mark.slow
async def test_row_111_two_hundred_thousand_items_are_decoded_and_the_stall_is_reported(caplog):
    caplog.set_level(logging.DEBUG, logger="runflow_async")
    lines = ",".join(
        f'{{"id":"{n:032x}","sequence_index":{n},"run_id":"{n:032x}","status_code":"succeeded"}}'
        for n in range(200_000)
    )
    body = f'{{"id":"{BATCH_ID}","status_code":"succeeded","items":[{lines}]}}'.encode()
    async with ScriptedServer(http(200, body)) as server, connect(server, request_timeout=20) as session:
        result = await session.wait_for_batch(BATCH_ID)
    assert len(result.items) == 200_000
    assert "held the event loop" in caplog.text
