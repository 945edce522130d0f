"""When a wait polls next and when it must end, as arithmetic."""

from __future__ import annotations

import math

import pytest

from runflow_async._waits.agenda import Agenda


def started(timeout: float = 100.0, max_outage: float = 30.0) -> Agenda:
    agenda = Agenda(timeout, max_outage)
    agenda.start(1000.0)
    return agenda


def test_the_first_poll_is_due_at_once():
    assert started().is_due(1000.0)


def test_without_timeout_there_is_no_limit():
    assert started(math.inf).limit == math.inf


def test_an_outage_starts_with_the_first_failed_poll_and_ends_with_a_valid_response():
    agenda = started()
    agenda.failed(None)
    assert agenda.limit == 1100.0
    agenda.failed(1010.0)
    agenda.failed(1020.0)
    assert agenda.limit == 1040.0
    agenda.answered(0.1)
    assert agenda.limit == 1100.0


def test_the_deadline_comes_before_a_longer_outage():
    agenda = started(20.0)
    agenda.failed(1010.0)
    assert agenda.limit == 1020.0


def test_a_poll_that_would_be_late_is_drawn_forward_by_a_roundtrip_once():
    agenda = started()
    agenda.answered(2.0)
    agenda.plan(1090.0, 20.0)
    assert agenda.due == pytest.approx(1100 - 3 - 0.01)
    agenda.plan(1095.0, 20.0)  # before that poll was made
    assert agenda.due == pytest.approx(1100 - 3 - 0.01)
    agenda.answered(0.1)
    agenda.plan(1097.1, 20.0)
    assert agenda.due == math.inf


def test_what_the_server_asked_for_is_not_drawn_forward():
    agenda = started()
    agenda.answered(0.1)
    agenda.plan(1050.0, 1.0, retry_after=60.0)
    assert agenda.due == math.inf


def test_hurry_polls_now_but_not_before_the_server_allows():
    agenda = started()
    agenda.plan(1001.0, 50.0)
    agenda.hurry(1002.0)
    assert agenda.due == 1002.0
    agenda.plan(1002.0, 20.0, retry_after=10.0)
    agenda.hurry(1003.0)
    assert agenda.due == 1012.0


def test_a_quick_answer_does_not_hide_a_slow_one():
    agenda = started()
    agenda.answered(2.0)
    agenda.answered(0.001)
    agenda.plan(1000.0, 99.0)
    assert agenda.due == pytest.approx(1100 - 1.5 * 1.0 - 0.01)


def test_a_poll_before_the_deadline_is_made_however_slow_one_answer_was():
    agenda = started(10.0)
    agenda.answered(4.5)
    agenda.plan(1004.5, 0.5)
    assert agenda.due == 1005.0


def test_a_poll_was_due_from_the_planned_instant_on():
    agenda = started()
    agenda.plan(1000.0, 10.0)
    assert [agenda.was_due(then) for then in (1009.0, 1010.0, 1011.0)] == [False, True, True]
