"""When nothing of a batch changes, a wait says so once, and ends if it was asked to."""

from __future__ import annotations

import logging
import pickle
from datetime import timedelta

import pytest

from runflow_async import ConfigurationError, ServerError, StalledError
from runflow_async._waits.fleet import BatchesWait
from tests.virtual import BATCH_ID, ISOLATED, body, perform, play

pytestmark = ISOLATED

STUCK = [(0.0, "queued"), (10.0, "running"), (10_000.0, "succeeded")]


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_stall_is_logged_once_and_the_wait_goes_on(caplog):
    wait = perform([STUCK]).wait(timeout=None, interval=7, stalled_after=100)
    assert (await wait).is_terminal
    assert warnings_of(caplog) == [
        f"batch {BATCH_ID}: nothing has changed for 100 s (last seen 'running', 0 of 1 items ended)"
    ]


async def test_every_stall_is_logged(caplog):
    pauses = [(0.0, "queued"), (500.0, "running"), (1000.0, "succeeded")]
    await perform([pauses]).wait(interval=7, stalled_after=timedelta(seconds=100))
    assert len(warnings_of(caplog)) == 2


@pytest.mark.parametrize("quiet", [99.0, 50.0])
async def test_changes_within_the_time_are_no_stall(caplog, quiet):
    steps = [[(0.0, "running"), (quiet * (one + 1), "succeeded")] for one in range(5)]
    await perform(steps).wait(interval=1, stalled_after=quiet + 2)
    assert warnings_of(caplog) == []


async def test_a_stall_ends_the_wait_with_an_error_that_has_what_was_seen():
    wait = perform([STUCK]).wait(interval=7, stalled_after=100, end_when_stalled=True)
    text = r"nothing of batch .* has changed for 100 s \(last seen 'running'"
    with pytest.raises(StalledError, match=text) as raised:
        await wait
    error = raised.value
    assert (error.batch_id, error.batch, error.stats) == (BATCH_ID, wait.batch, wait.stats)
    assert 100 <= error.seconds < 101
    assert wait.done()
    assert pickle.loads(pickle.dumps(error)).seconds == error.seconds


async def test_what_was_seen_is_delivered_before_the_error():
    wait = perform([STUCK]).wait(interval=7, stalled_after=100, end_when_stalled=True)
    assert [(await anext(wait)).current for _ in range(2)] == ["queued", "running"]
    with pytest.raises(StalledError):
        await anext(wait)


@pytest.mark.parametrize("keywords", [{"interval": 3000}, {"expect_callback": True}], ids=str)
async def test_rare_polls_delay_it_not_because_one_is_made_at_its_moment(keywords):
    transport = perform([STUCK])
    with pytest.raises(StalledError):
        await transport.wait(timeout=None, stalled_after=100, end_when_stalled=True, **keywords)
    assert transport.polled_at[:2] == [0.0, pytest.approx(100.0)]  # which shows that the item has begun
    assert transport.polled_at[2:] == [pytest.approx(200.0)]


async def test_a_stall_that_was_declared_costs_no_further_poll():
    polls = []
    for keywords in ({}, {"stalled_after": 25}):
        transport = perform([STUCK])
        await transport.wait(timeout=None, interval=100, **keywords)
        polls.append(len(transport.polled_at))
    assert polls[1] <= polls[0] + 2


async def test_an_outage_is_no_stall(caplog):
    """While no valid response comes, nobody knows whether something has changed."""
    failures = [ServerError(503)] * 5
    transport = play(body("running", ["running"]), *failures, body("running", ["succeeded"]), body("succeeded"))
    await transport.wait(interval=1, stalled_after=1.5)
    assert not [text for text in warnings_of(caplog) if "nothing has changed" in text]


async def test_the_change_of_a_batch_without_items_is_one():
    bodies = [body("running", None, items_total=9, items_succeeded=ended) for ended in range(8)]
    transport = play(*bodies, body("succeeded", None))
    await transport.wait(interval=9, stalled_after=10, end_when_stalled=True)


async def test_one_stalled_batch_ends_its_own_wait_alone():
    transport = perform([STUCK])
    make = lambda batch_id: transport.run(batch_id, interval=7, stalled_after=100, end_when_stalled=True)  # noqa: E731
    waits = BatchesWait(make, transport.lifetime.scope("the wait for batches"), 4)
    waits.add(BATCH_ID)
    with pytest.raises(ExceptionGroup) as caught:
        await waits
    assert [type(error) for error in caught.value.exceptions] == [StalledError]


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"stalled_after": 0}, "stalled_after must be a finite number of seconds, more than 0, not 0"),
        ({"stalled_after": "1"}, "stalled_after must be a number of seconds or a timedelta, not a str"),
        ({"stalled_after": 1, "end_when_stalled": 1}, "end_when_stalled must be a bool, not an int"),
        ({"end_when_stalled": True}, "end_when_stalled needs stalled_after"),
    ],
)
async def test_keywords_that_make_no_sense_are_rejected(keywords, text):
    with pytest.raises(ConfigurationError, match=text):
        play(body()).wait(**keywords)
