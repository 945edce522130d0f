"""What statuses and headers mean, without a socket."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from runflow_async import errors
from runflow_async._http.protocol import error_for_status, parse_retry_after, request_headers
from runflow_async._text import Secret, printable

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
SENT = "Mon, 23 Nov 2026 12:00:00 GMT"
ENVELOPE = b'{"code": "SOME_CODE", "message": "some text", "errors": [{"loc": ["path", "id"]}]}'


def test_a_secret_is_masked_wherever_something_is_shown_but_not_on_the_wire():
    headers = request_headers(Secret("rf_canary"), None)
    assert "canary" not in repr(headers)
    assert str(headers["Authorization"]) == "Bearer rf_canary"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30.0),
        ("Monday, 23-Nov-26 12:00:30 GMT", 30.0),
        ("Mon Nov 23 12:00:30 2026", 30.0),
    ],
)
def test_retry_after_comes_as_seconds_or_any_http_date(value, seconds):
    assert parse_retry_after([value], SENT, NOW + timedelta(hours=1)) == seconds


def test_retry_after_is_measured_against_our_clock_where_the_answer_has_no_date():
    assert parse_retry_after(["Mon, 23 Nov 2026 12:00:30 GMT"], None, NOW) == 30.0
    assert parse_retry_after(["Mon, 23 Nov 2026 12:00:30 GMT"], "garbage", NOW) == 30.0


@pytest.mark.parametrize(
    "value",
    ["0", "-5", "nan", "inf", "1e400", "9" * 400, "soon", "", "Mon, 23 Nov 2020 12:00:30 GMT", "1 Jan 100000"],
)
def test_retry_after_that_says_nothing_useful_is_none(value):
    assert parse_retry_after([value], SENT, NOW) is None


def test_of_two_retry_after_the_larger_counts():
    assert parse_retry_after(["2", "9", "garbage"], SENT, NOW) == 9.0


@pytest.mark.parametrize(
    ("status", "kind", "verdict"),
    [
        (204, errors.MalformedResponseError, "suspect"),
        (205, errors.MalformedResponseError, "suspect"),
        (301, errors.RedirectError, "final"),
        (304, errors.StatusError, "final"),
        (308, errors.RedirectError, "final"),
        (400, errors.BadRequestError, "final"),
        (401, errors.AuthenticationError, "final"),
        (402, errors.PaymentRequiredError, "final"),
        (403, errors.PermissionDeniedError, "final"),
        (404, errors.NotFoundError, "final"),
        (408, errors.StatusError, "transient"),
        (409, errors.ConflictError, "transient"),
        (410, errors.StatusError, "final"),
        (422, errors.UnprocessableError, "final"),
        (429, errors.RateLimitError, "transient"),
        (500, errors.ServerError, "transient"),
        (501, errors.ServerError, "transient"),
        (529, errors.ServerError, "transient"),
        (599, errors.ServerError, "transient"),
        (600, errors.StatusError, "final"),
        (999, errors.StatusError, "final"),
        (101, errors.StatusError, "final"),
    ],
)
def test_every_status_has_its_error_and_verdict(status, kind, verdict):
    error = error_for_status(status, {}, ENVELOPE, None)
    assert (type(error), error.verdict) == (kind, verdict)


def test_the_envelope_is_kept():
    error = error_for_status(422, {"Runflow-Request-Id": "req-1"}, ENVELOPE, 3.0)
    assert (error.code, error.message, error.errors) == ("SOME_CODE", "some text", [{"loc": ["path", "id"]}])
    assert (error.request_id, error.retry_after) == ("req-1", 3.0)
    details = '[{"loc": ["path", "id"]}]'
    assert str(error) == f"HTTP 422 SOME_CODE: some text {details} [request req-1]"


@pytest.mark.parametrize(
    ("headers", "body", "shown"),
    [
        ({"Content-Type": "text/html"}, b"<html>secret page</html>", "text/html"),
        ({}, b"  <html>", "HTML"),
        ({}, b"plain \x1b[31mred", "plain \\x1b[31mred"),
        ({}, b"\xff\xfe", "\ufffd"),
        ({}, b"", "HTTP 403"),
        ({}, b"[]", "[]"),
    ],
)
def test_a_body_that_is_no_envelope_is_described_and_not_dumped(headers, body, shown):
    error = error_for_status(403, headers, body, None)
    assert error.code is None
    assert shown in str(error)
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://elsewhere/x", "https://elsewhere/x"),
        ("https://user:pw@elsewhere/x", "https://***@elsewhere/x"),
        ("//evil\r\nX: y", "//evilX: y"),
        ("http://[broken", "http://[broken"),
        (None, None),
    ],
)
def test_a_redirect_says_where_to_without_credentials(location, shown):
    headers = {} if location is None else {"Location": location}
    error = error_for_status(302, headers, b"", None)
    assert error.location == shown
    assert "base_url" in str(error)


def test_text_of_the_server_is_escaped_and_cut():
    assert printable("a\x1b[0m\u202eb\x00") == "a\\x1b[0m\\u202eb\\x00"
    assert len(printable("\x00" * 500)) == 200
