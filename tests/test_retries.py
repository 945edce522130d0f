"""What a failed poll means for its wait."""

from __future__ import annotations

import pytest

from runflow_async import MalformedResponseError, NotFoundError, ServerError, TransportError
from runflow_async._verdict import Verdict
from runflow_async._waits.retries import RetryWorthwhile, verdict_of

FINAL, SUSPECT, TRANSIENT = Verdict.FINAL, Verdict.SUSPECT, Verdict.TRANSIENT


@pytest.mark.parametrize(
    ("polls", "age", "verdict"),
    [
        (0, 0.0, TRANSIENT),
        (0, 2.99, TRANSIENT),
        (0, 3.0, FINAL),
        (0, 60.0, FINAL),
        (1, 0.0, SUSPECT),
        (9, 60.0, SUSPECT),
    ],
)
def test_not_found_is_judged_by_what_the_wait_knows_of_the_batch(polls, age, verdict):
    """At first not every replica has the batch; after a valid response, one replica may lag behind."""
    error = NotFoundError(404)
    assert verdict_of(error, polls, age) is verdict
    assert error.verdict is FINAL


@pytest.mark.parametrize("polls", [0, 1])
@pytest.mark.parametrize("error", [ServerError(500), TransportError("gone"), MalformedResponseError("cut")], ids=repr)
def test_every_other_error_keeps_its_own_verdict(error, polls):
    assert verdict_of(error, polls, 10.0) is error.verdict


@pytest.mark.parametrize(
    ("verdicts", "allowed"),
    [
        ([FINAL], [False]),
        ([TRANSIENT] * 9, [True] * 9),
        ([SUSPECT] * 3, [True, True, False]),
        ([SUSPECT, SUSPECT, TRANSIENT, SUSPECT, SUSPECT, SUSPECT], [True] * 5 + [False]),
    ],
)
def test_the_third_suspect_answer_in_a_row_is_final(verdicts, allowed):
    worthwhile = RetryWorthwhile()
    assert [worthwhile.allows(verdict) for verdict in verdicts] == allowed
