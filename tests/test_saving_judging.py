"""What a response means for a file of which a part is here."""

from __future__ import annotations

import pytest

from runflow_async._downloads.judging import Begin, Note, Refuse, Restart, Resume, Whole, judge, range_headers

NOTE = Note("https://h/a", '"v1"', 100)
BARE = Note("https://h/a")


@pytest.mark.parametrize(
    ("held", "note", "headers"),
    [
        (0, None, {}),
        (40, NOTE, {"Range": "bytes=40-", "If-Range": '"v1"'}),
        (40, Note("https://h/a", None, 100), {"Range": "bytes=40-"}),
        (40, Note("https://h/a", 'W/"v1"', 100), {"Range": "bytes=40-"}),
    ],
)
def test_the_rest_is_requested_of_the_same_version(held, note, headers):
    assert range_headers(held, note) == headers


RANGE = {"Content-Range": "bytes 40-99/100"}


@pytest.mark.parametrize(
    ("status", "headers", "held", "note", "plan"),
    [
        (200, {"Content-Length": "7"}, 0, None, Begin(None, 7, can_resume=True)),
        (200, {"Content-Length": "7", "ETag": '"v"'}, 40, NOTE, Begin('"v"', 7, can_resume=True)),
        (200, {"Transfer-Encoding": "chunked"}, 0, None, Begin(None, None, can_resume=False)),
        (200, {"Transfer-Encoding": "chunked", "ETag": '"v"'}, 0, None, Begin('"v"', None, can_resume=True)),
        (200, {"Content-Length": "7", "Content-Encoding": "gzip"}, 0, None, Begin(None, None, can_resume=False)),
        (206, RANGE, 40, NOTE, Resume(100)),
        (206, RANGE | {"ETag": '"v1"'}, 40, NOTE, Resume(100)),
        (206, RANGE | {"ETag": '"v2"'}, 40, NOTE, Restart()),
        (206, {"Content-Range": "bytes 40-99/*"}, 40, NOTE, Resume(100)),
        (206, {"Content-Range": "bytes 40-99/*"}, 40, BARE, Restart()),
        (206, {"Content-Range": "bytes 40-99/120"}, 40, NOTE, Restart()),
        (206, {"Content-Range": "bytes 40-99/120"}, 40, BARE, Resume(120)),
        (206, {"Content-Range": "bytes 0-99/100"}, 40, NOTE, Restart()),
        (206, {"Content-Range": "bytes 41-99/100"}, 40, NOTE, Restart()),
        (206, {"Content-Range": "lines 40-99/100"}, 40, NOTE, Restart()),
        (206, {"Content-Type": "multipart/byteranges"}, 40, NOTE, Restart()),
        (206, RANGE | {"Content-Encoding": "gzip"}, 40, NOTE, Restart()),
        (206, {"Content-Range": "bytes 0-99/100"}, 0, None, Resume(100)),
        (416, {"Content-Range": "bytes */100"}, 100, NOTE, Whole()),
        (416, {"Content-Range": "bytes */100", "ETag": '"v2"'}, 100, NOTE, Restart()),
        (416, {"Content-Range": "bytes */90"}, 100, NOTE, Restart()),
        (416, {"Content-Range": "bytes */100"}, 100, BARE, Whole()),
        (416, {}, 100, NOTE, Restart()),
    ],
)
def test_a_response_begins_the_file_resumes_it_ends_it_or_is_about_another_version(status, headers, held, note, plan):
    assert judge(status, headers, held, note) == plan


@pytest.mark.parametrize(
    ("status", "headers", "verdict"),
    [
        (200, {}, "final"),
        (200, {"Content-Length": "-1"}, "final"),
        (206, RANGE, "suspect"),
        (204, {}, "final"),
        (304, {}, "final"),
        (403, {}, "final"),
        (416, {}, "final"),
        (408, {}, "transient"),
        (429, {}, "transient"),
        (503, {}, "transient"),
    ],
)
def test_anything_else_is_refused_and_retried_as_a_request_is(status, headers, verdict):
    plan = judge(status, headers, 0, None)
    assert isinstance(plan, Refuse)
    assert (plan.status, plan.verdict) == (status, verdict)
