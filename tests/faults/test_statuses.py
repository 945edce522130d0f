"""Section B of the fault matrix: what every status means, on real sockets."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from runflow_async import (
    AuthenticationError,
    BadRequestError,
    ConflictError,
    MalformedResponseError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    RunflowError,
    ServerError,
    StatusError,
    UnprocessableError,
)
from runflow_async._http import throttle
from tests.faults.tables import ATTEMPTS, BATCH_ID, GOOD, RUNNING, Row, connect, passes, stays, table
from tests.rig import ScriptedServer, endless, eventually, http, send

pytestmark = pytest.mark.usefixtures("both_lanes")


@pytest.fixture(autouse=True)
def a_quick_least_pace(monkeypatch):
    """After a 429 that no valid response came before, the pace is 1 request per second: see the throttle's tests."""
    monkeypatch.setattr(throttle, "LEAST_RATE", 1000.0)


def refusal(status: int, code: str = "SOME_CODE", message: str = "some text", **headers: str):
    body = json.dumps({"code": code, "message": message, "errors": [{"loc": ["path", "id"]}]})
    return http(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


HTML = {"body": "<html>the whole page</html>", "content_type": "text/html; charset=utf-8"}
REASONS = (
    "PERMISSION_DENIED",
    "EMAIL_NOT_VERIFIED",
    "ORGANIZATION_MEMBERSHIP_REQUIRED",
    "ROLE_UNRESOLVED",
    "IMPERSONATION_READ_ONLY",
)

ROWS = [
    Row(29, "400", refusal(400), "N", BadRequestError, "HTTP 400 SOME_CODE: some text"),
    Row(30, "401", refusal(401), "N", AuthenticationError, "RUNFLOW_API_KEY", "rf_test_key"),
    Row(33, "402", refusal(402), "N", PaymentRequiredError, "HTTP 402"),
    *(
        Row(34 + n, f"403 {code}", refusal(403, code), "N", PermissionDeniedError, code)
        for n, code in enumerate(REASONS)
    ),
    Row(38, "403 keeps the server's text", refusal(403, message="read only"), "N", PermissionDeniedError, "read only"),
    Row(39, "403 with an unknown code", refusal(403, "BRAND_NEW"), "N", PermissionDeniedError, "BRAND_NEW"),
    Row(39, "403 without a body", http(403), "N", PermissionDeniedError, "HTTP 403"),
    Row(39, "403 of a WAF", http(403, **HTML), "N", PermissionDeniedError, "text/html", "the whole page"),
    Row(42, "408", refusal(408), "R", StatusError, "HTTP 408"),
    Row(43, "409", refusal(409), "R", ConflictError, "HTTP 409"),
    Row(44, "410", refusal(410), "N", StatusError, "HTTP 410"),
    Row(45, "422", refusal(422), "N", UnprocessableError, "HTTP 422"),
    Row(48, "429 without Retry-After", refusal(429), "R", RateLimitError, "HTTP 429"),
    *(
        Row(row, f"429 Retry-After {value[:12]!r}", refusal(429, Retry_After=value), "R", RateLimitError, "HTTP 429")
        for row, values in {
            49: ("0", "-5", "Mon, 23 Nov 2020 12:00:30 GMT"),
            50: ("nan", "inf", "1e400", "9" * 400, "Fri, 31 Dec 100000 23:59:59 GMT", "soon"),
        }.items()
        for value in values
    ),
    Row(54, "500", refusal(500), "R", ServerError, "HTTP 500"),
    Row(55, "502 with a page", http(502, **HTML), "R", ServerError, "502: an answer of type text/html", "whole page"),
    Row(56, "503", refusal(503), "R", ServerError, "HTTP 503"),
    Row(57, "504", refusal(504), "R", ServerError, "HTTP 504"),
    *(Row(58, f"{status}", refusal(status), "R", ServerError) for status in (501, 505, 511, 520, 525, 530, 599)),
    *(Row(59, f"{status}", refusal(status), "N", StatusError) for status in (600, 999)),
    Row(59, "101", send(b"HTTP/1.1 101 Switching\r\n\r\n"), "N", StatusError, "HTTP 101"),
    *(
        Row(61, f"{status} same origin", refusal(status, Location="/v2/batches"), "N", RedirectError, "/v2/batches")
        for status in (301, 302, 303, 307, 308)
    ),
    Row(63, "302 with user", refusal(302, Location="https://u:pw@x/"), "N", RedirectError, "***@x", "pw"),
    Row(64, "302 without Location", refusal(302), "N", RedirectError, "HTTP 302"),
    Row(64, "302 to a file", refusal(302, Location="file:///etc/passwd"), "N", RedirectError, "file:"),
    Row(65, "304", send(b"HTTP/1.1 304 Not Modified\r\n\r\n"), "N", StatusError, "HTTP 304"),
    Row(66, "204", send(b"HTTP/1.1 204 No Content\r\n\r\n"), "M", MalformedResponseError, "204"),
    Row(66, "205", http(205), "M", MalformedResponseError, "205"),
    Row(67, "500 of 3 MB", http(500, "x" * 3_000_000), "R", ServerError, "HTTP 500"),
    Row(67, "403 without end", http(403, length=None) + endless(b"x" * 4096), "N", PermissionDeniedError, "403"),
]


@table(ROWS)
async def test_a_status_that_stays_is_raised_after_exactly_the_promised_requests(row):
    error, server = await stays(row)
    assert type(error) is row.error
    assert row.says in str(error)
    assert row.hides not in str(error)
    assert len(str(error)) < 500
    assert len(server.requests) == ATTEMPTS[row.kind]


@table(row for row in ROWS if row.kind != "N")
async def test_a_status_that_passes_costs_one_more_request(row):
    assert len((await passes(row)).requests) == 2


@table(row for row in ROWS if row.kind == "N")
async def test_a_final_status_in_the_middle_of_a_wait_carries_the_last_snapshot(row):
    """Row 32 among them: a key that is revoked."""
    async with ScriptedServer([RUNNING, row.fault]) as server, connect(server) as session:
        wait = session.wait_for_batch(BATCH_ID, interval=0.001)
        with pytest.raises(row.error) as caught:
            await wait
    assert (caught.value.batch_id, caught.value.batch.status_code) == (BATCH_ID, "running")
    assert caught.value.stats == wait.stats
    assert len(server.requests) == 2


async def test_the_fields_of_an_envelope_are_kept():
    error, _ = await stays(Row(45, "", refusal(422, Runflow_Request_Id="req-7"), "N", UnprocessableError))
    assert (error.code, error.errors, error.request_id) == ("SOME_CODE", [{"loc": ["path", "id"]}], "req-7")


async def test_row_40_a_batch_just_created_is_found_on_the_second_look():
    async with ScriptedServer([refusal(404), GOOD]) as server, connect(server) as session:
        assert (await session.wait_for_batch(BATCH_ID)).is_terminal


async def test_row_41_not_found_after_good_answers_is_borne_twice():
    async with ScriptedServer([RUNNING, refusal(404), refusal(404), GOOD]) as server, connect(server) as session:
        assert (await session.wait_for_batch(BATCH_ID, interval=0.001)).is_terminal
    async with ScriptedServer([RUNNING, refusal(404)]) as server, connect(server) as session:
        with pytest.raises(NotFoundError) as caught:
            await session.wait_for_batch(BATCH_ID, interval=0.001)
    assert len(server.requests) == 4
    assert caught.value.batch.status_code == "running"


SOON = datetime.now(UTC) + timedelta(hours=5)
AHEAD = SOON + timedelta(seconds=2)
DATES = {
    "IMF": format_datetime(AHEAD, usegmt=True),
    "RFC 850": AHEAD.strftime("%A, %d-%b-%y %H:%M:%S GMT"),
    "asctime": AHEAD.strftime("%a %b %d %H:%M:%S %Y"),
}


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
@pytest.mark.parametrize("date", DATES.values(), ids=DATES)
async def test_rows_47_and_113_a_date_is_measured_against_the_answers_own(monkeypatch, zone, date):
    """The server's clock is five hours ahead of ours; it still asks for two seconds."""
    monkeypatch.setenv("TZ", zone)
    answer = refusal(429, Retry_After=date, Date=format_datetime(SOON, usegmt=True))
    async with ScriptedServer(answer) as server, connect(server) as session:
        with pytest.raises(RateLimitError) as caught:
            await session.wait_for_batch(BATCH_ID, timeout=1)
    assert caught.value.retry_after == pytest.approx(2, abs=1)


@pytest.mark.parametrize("status", [429, 503])
async def test_rows_46_and_56_the_server_is_not_asked_before_it_allows(status):
    async with ScriptedServer([refusal(status, Retry_After="0.15"), GOOD]) as server, connect(server) as session:
        wait = session.wait_for_batch(BATCH_ID)
        await wait
    assert 0.15 <= wait.stats.elapsed < 60
    assert len(server.requests) == 2


async def test_row_51_longer_than_the_time_left_is_raised_at_once():
    async with ScriptedServer(refusal(429, Retry_After="100000")) as server, connect(server) as session:
        with pytest.raises(RateLimitError) as caught:
            await session.wait_for_batch(BATCH_ID, timeout=60)
    assert caught.value.retry_after == 100_000
    assert len(server.requests) == 1


async def test_row_52_of_two_the_larger_counts():
    twice = http(429, b"{}", [("Retry-After", "1"), ("Retry-After", "70")])
    async with ScriptedServer(twice) as server, connect(server) as session:
        with pytest.raises(RateLimitError) as caught:
            await session.wait_for_batch(BATCH_ID, timeout=10)
    assert caught.value.retry_after == 70


async def test_row_53_a_good_answer_can_ask_for_peace_too():
    quiet = http(200, RUNNING.data.split(b"\r\n\r\n", 1)[1], {"Retry-After": "0.15"})
    async with ScriptedServer([quiet, GOOD]) as server, connect(server) as session:
        wait = session.wait_for_batch(BATCH_ID, interval=0.001)
        await wait
    assert wait.stats.elapsed >= 0.15


async def test_row_60_after_an_outage_the_pace_is_the_normal_one():
    script = [refusal(503)] * 3 + [RUNNING] * 5 + [GOOD]
    async with ScriptedServer(script) as server, connect(server) as session:
        wait = session.wait_for_batch(BATCH_ID, interval=0.01)
        await wait
    assert (wait.stats.polls, wait.stats.retries) == (6, 3)


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.1:{port}/", "//127.0.0.1:{port}/x", "https://127.0.0.1:{port}/", "http://user@127.0.0.1:{port}/"],
)
async def test_row_62_nothing_is_sent_to_where_a_redirect_points(target):
    async with ScriptedServer(GOOD) as elsewhere:
        location = target.format(port=elsewhere.port)
        async with ScriptedServer(refusal(307, Location=location)) as server, connect(server) as session:
            with pytest.raises(RedirectError):
                await session.get_batch(BATCH_ID)
    assert elsewhere.connections == 0


async def test_row_67_an_error_body_is_read_up_to_64_kib_and_then_its_connection_closed():
    async with ScriptedServer(http(403, length=None) + endless(b"x" * 65_536)) as server, connect(server) as session:
        async with asyncio.timeout(60):
            with pytest.raises(RunflowError):
                await session.get_batch(BATCH_ID)
        await eventually(lambda: server.open_connections == 0)
