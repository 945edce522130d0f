"""`get` on a terminal: what failed and why comes first, and nothing is cut at any width."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from uuid import UUID

import pytest
from rich.cells import cell_len
from rich.console import Console

from runflow_async import Batch, BatchItem, BatchItemHandle
from runflow_async.cli.describing import MOST_NAMES, MOST_REASONS, describe, has_failures

START = datetime(2026, 11, 26, 20, 0, tzinfo=UTC)
ENDED = Batch(
    id=UUID(int=7),
    status_code="partial_succeeded",
    items_total=5,
    items_succeeded=3,
    items_failed=2,
    items_cancelled=0,
    cost=Decimal("1.25"),
    callback_url=f"https://example.com/{'x' * 300}",
    metadata={"order": "größe 7"},
    duration_ms=124_000,
    created_at=START,
    started_at=START + timedelta(seconds=2),
    completed_at=START + timedelta(seconds=126),
)


def failed(index: int, **fields: object) -> BatchItem:
    known = {"client_ref": f"ref-{index}", "error": {"code": "TIMEOUT", "message": "no answer"}}
    return BatchItem(id=UUID(int=index), sequence_index=index, status_code="failed", **known | fields)


def shown(batch: Batch, *items: BatchItem, width: int = 80, now: datetime = START) -> list[str]:
    console = Console(width=width, file=StringIO())
    console.print(*describe(batch, items, now), sep="\n")
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_items_that_failed_for_one_reason_are_named_together_before_everything_else():
    assert shown(ENDED, failed(1), failed(4, client_ref=None))[:9] == [
        f"batch {UUID(int=7)}",
        "",
        "2 of 5 items failed",
        "  TIMEOUT: no answer",
        "    #1 ref-1  #4",
        "",
        "To send what did not succeed again:",
        f"  runflow-async resubmit MODEL {UUID(int=7)}",
        "",
    ]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"error": {"code": "TIMEOUT", "message": "no answer", "retryable": True}},
            "TIMEOUT: no answer (retryable: true)",
        ),
        (
            {"error": None, "run": {"failure_code": "BAD", "failure_message": "画像", "failure_stage_code": "in"}},
            "BAD: 画像 (stage in)",
        ),
        ({"error": {"message": "only words"}}, "only words"),
        ({"error": None}, "no reason given"),
        ({"error": {"code": "A\x1b[2J"}}, "A\\x1b[2J"),
    ],
)
def test_the_reason_is_that_of_the_error_or_else_of_the_run(fields, reason):
    assert shown(ENDED, failed(1, **fields))[3] == f"  {reason}"


def test_many_items_and_reasons_are_counted():
    items = [failed(index) for index in range(MOST_NAMES + 3)]
    text = "\n".join(shown(ENDED, *items))
    assert f"#{MOST_NAMES - 1} ref" in text
    assert f"#{MOST_NAMES} ref" not in text
    assert "and 3 more" in text
    items = [failed(index, error={"code": f"E{index}"}) for index in range(MOST_REASONS + 2)]
    assert "  and 2 more reasons" in shown(ENDED, *items)


def test_a_batch_that_failed_says_why():
    batch = Batch(id=UUID(int=7), status_code="failed", failure_code="NO_CREDIT", failure_message="add some")
    assert shown(batch)[2] == "the batch failed: NO_CREDIT: add some"


def test_the_rows_are_the_state_the_times_and_every_other_field():
    rows = {line.split()[0]: line for line in shown(ENDED)[2:] if line}
    assert list(rows)[:7] == ["status", "items", "created_at", "started_at", "completed_at", "duration", "cost"]
    assert rows["items"].endswith("5: 3 succeeded, 2 failed")
    assert rows["started_at"].endswith("(2.0 s later)")
    assert rows["completed_at"].endswith("(2 min 04 s later)")
    assert rows["duration"].endswith(" 2 min 04 s")
    assert rows["metadata"].endswith('{"order":"größe 7"}')


def test_the_age_of_a_batch_that_runs_is_shown():
    batch = Batch(id=UUID(int=7), status_code="running", created_at=START)
    assert shown(batch, now=START + timedelta(minutes=3))[-1].endswith("(3 min 00 s ago)")


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_texts_wrap_at_the_width_of_the_terminal_and_are_not_cut(width):
    lines = shown(ENDED, failed(1, client_ref="画像" * 10, error={"message": "long " * 50}), width=width)
    assert all(cell_len(line) <= width for line in lines)
    text = "".join(lines)
    assert text.count("x") >= 300
    assert text.count("long") == 50


def test_items_are_read_only_if_one_has_failed():
    assert has_failures(ENDED)
    handle = BatchItemHandle(UUID(int=1), 0, UUID(int=2), "failed")
    assert has_failures(Batch(id=UUID(int=7), items=[handle]))
    assert not has_failures(Batch(id=UUID(int=7), items_total=3, status_code="running"))


def test_items_are_counted_by_their_statuses_or_else_as_the_batch_says():
    handles = [BatchItemHandle(UUID(int=n), n, UUID(int=2), status) for n, status in enumerate(["running", "queued"])]
    assert "5: 1 succeeded, 1 failed, 3 other" in "".join(
        shown(Batch(id=UUID(int=7), items_total=5, items_succeeded=1, items_failed=1))
    )
    assert "2: 1 running, 1 queued" in "".join(shown(Batch(id=UUID(int=7), items_total=5, items=handles)))
