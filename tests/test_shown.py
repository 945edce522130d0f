"""What people see of batches and waits: short and useful, and never an exception."""

from __future__ import annotations

import asyncio
import re
from html.parser import HTMLParser
from uuid import UUID

import pytest

from runflow_async import Batch, BatchItem, BatchItemHandle, ItemTransition, StalledError, WaitStats
from runflow_async._shown import MOST_ROWS
from runflow_async._waits.fleet import BatchesWait
from tests.virtual import BATCH_ID, ISOLATED, body, perform, play

ID = UUID(int=1)
ODD = ["\ud800" * 100_000, "<script>alert('&')</script>", "\x1b[2J", "x" * 1_000_000, "", None]


def items(*statuses: str) -> list[BatchItemHandle]:
    return [BatchItemHandle(UUID(int=n), n, UUID(int=n), status, f"ref-{n}") for n, status in enumerate(statuses)]


class Checker(HTMLParser):
    """Knows which elements are open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_html(html: str) -> None:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert not checker.open
    assert checker.seen <= {"table", "caption", "tr", "td", "code", "div", "span"}
    html.encode()


@pytest.mark.parametrize(
    ("batch", "text"),
    [
        (Batch(), "<Batch None without a status>"),
        (Batch(id=ID, status_code="queued"), f"<Batch {ID} queued>"),
        (
            Batch(id=ID, status_code="running", items=items("failed", "running")),
            "running, 1 of 2 items ended, 1 failed>",
        ),
        (Batch(id=ID, status_code="odd", items=items("odd")), "odd, 0 of 1 item ended>"),
        (
            Batch(
                id=ID, status_code="running", items_total=12_000, items_succeeded=1, items_failed=1, items_cancelled=1
            ),
            "running, 3 of 12,000 items ended, 1 failed, 1 cancelled>",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_batch_is_a_line(batch, text):
    assert repr(batch).endswith(text)
    check_html(batch._repr_html_())


def test_the_other_models_are_lines_too(now_utc):
    (item,) = items("failed")
    transition = ItemTransition(ID, item, None, now_utc)
    assert repr(transition) == f"<ItemTransition item 0 'ref-0' of {ID}: None -> 'failed'>"
    assert repr(BatchItem(id=ID, sequence_index=3, output={"a": "b" * 9999})) == f"<BatchItem {ID} 3 None None>"
    assert repr(WaitStats(polls=3)) == "WaitStats(polls=3)"


@pytest.mark.parametrize("odd", ODD, ids=lambda value: repr(value)[:12])
def test_whatever_the_server_says_is_shown_short_and_escaped(odd, now_utc):
    item = BatchItemHandle(ID, 0, ID, odd or "", odd)
    batch = Batch(id=ID, status_code=odd, failure_message=odd, items=[item, item])
    for shown in (batch, BatchItem(id=ID, client_ref=odd, status_code=odd), ItemTransition(ID, item, odd, now_utc)):
        assert len(repr(shown)) < 400
        assert repr(shown).isprintable()
    assert len(batch._repr_html_()) < 1500
    check_html(batch._repr_html_())


@pytest.mark.parametrize("odd", [1, object(), [None], {"a": 1}], ids=lambda value: type(value).__name__)
def test_a_field_that_holds_what_it_should_not_harms_nobody(odd):
    """Nothing checks the fields of an object that is made in Python."""
    for shown in (Batch(id=odd, status_code=odd, items=odd, items_total=odd), ItemTransition(odd, odd, odd, odd)):
        assert type(shown).__name__ in repr(shown)
    Batch(items=odd, items_total=odd)._repr_html_()


@ISOLATED
async def test_a_wait_is_a_line_with_what_it_saw_and_what_it_expects():
    rounds = [[(0.0, "queued"), (20.0 * one, "running"), (20.0 * one + 20, "succeeded")] for one in range(10)]
    wait = perform(rounds).wait(interval=1)
    assert repr(wait) == f"<BatchWait {BATCH_ID} not started>"
    task = asyncio.ensure_future(wait)
    await asyncio.sleep(90)
    known = f"<BatchWait {BATCH_ID} waiting, last seen running, 4 of 10 items ended, ends in "
    assert re.fullmatch(re.escape(known) + r".* \(.* to .*\)>", repr(wait))
    check_html(wait._repr_html_())
    await task
    assert repr(wait) == f"<BatchWait {BATCH_ID} done, last seen succeeded, 10 of 10 items ended>"
    check_html(wait._repr_html_())


@ISOLATED
async def test_a_wait_that_failed_says_so():
    wait = play(body("running", ["running"])).wait(stalled_after=5, end_when_stalled=True)
    with pytest.raises(StalledError):
        await wait
    assert repr(wait) == f"<BatchWait {BATCH_ID} ended with StalledError, last seen running, 0 of 1 item ended>"
    check_html(wait._repr_html_())


@ISOLATED
@pytest.mark.parametrize("count", [0, 1, MOST_ROWS, 500])
async def test_many_waits_are_a_line_and_a_table_of_some_rows(count):
    transport = play(body("succeeded", ["succeeded"]))
    waits = BatchesWait(transport.run, transport.lifetime.scope("the wait"), 4)
    for number in range(count):
        waits.add(UUID(int=number))
    assert repr(waits) == f"<BatchesWait of {count} batch{'' if count == 1 else 'es'}, {count} unfinished>"
    html = waits._repr_html_()
    check_html(html)
    assert html.count("<code") == min(count, MOST_ROWS)
    assert ("more" in html) == (count > MOST_ROWS)
