"""Whether a response is about what was asked for."""

from __future__ import annotations

from uuid import UUID

import pytest

from runflow_async import BatchItem, MalformedResponseError
from runflow_async._http.replies import Reply

ASKED = UUID("11111111-2222-4333-8444-555555555555")
OTHER = UUID("99999999-2222-4333-8444-555555555555")


class Wire:
    """Counts how often its connection was closed."""

    aborted = 0

    def abort(self) -> None:
        self.aborted += 1


@pytest.fixture
def wire() -> Wire:
    return Wire()


def reply(wire: Wire | None, body: bytes = b"{}") -> Reply:
    return Reply(body, None, 0.0, wire)


def test_the_batch_asked_for_is_accepted(wire):
    warnings: list[str] = []
    reply(wire).require_batch(ASKED, ASKED, warnings.append)
    assert (wire.aborted, warnings) == (0, [])


def test_no_id_is_accepted_with_a_warning(wire):
    warnings: list[str] = []
    reply(wire).require_batch(ASKED, None, warnings.append)
    assert (wire.aborted, warnings) == (0, ["the answer has no id and is taken for this batch's"])


def test_another_batch_is_refused_and_its_connection_closed(wire):
    with pytest.raises(MalformedResponseError, match=f"about batch {OTHER}, not about batch {ASKED}") as caught:
        reply(wire).require_batch(ASKED, OTHER, pytest.fail)
    assert (caught.value.where, wire.aborted) == ("$.id", 1)


def test_no_id_in_a_body_that_is_not_utf_8_is_refused_and_its_connection_closed(wire):
    with pytest.raises(MalformedResponseError, match="no id, and text that is not UTF-8"):
        reply(wire, b'{"i\xe4": 1}').require_batch(ASKED, None, pytest.fail)
    assert wire.aborted == 1


def test_items_of_the_batch_or_without_a_batch_are_accepted(wire):
    reply(wire).require_items(ASKED, [ASKED, None])
    reply(wire).require_items(ASKED, [])
    assert wire.aborted == 0


def test_an_item_of_another_batch_is_refused_and_its_connection_closed(wire):
    with pytest.raises(MalformedResponseError) as caught:
        reply(wire).require_items(ASKED, [ASKED, OTHER])
    assert (caught.value.where, wire.aborted) == ("$.items[1].batch_id", 1)


def test_a_connection_that_is_not_known_stays_open():
    """That of a caller's own aiohttp session with a response class of its own."""
    with pytest.raises(MalformedResponseError):
        reply(None).require_batch(ASKED, OTHER, pytest.fail)


@pytest.mark.parametrize("item_id", [UUID(int=0), UUID(int=2**128 - 1)])
def test_another_item_is_refused_with_the_place_of_its_id(wire, item_id):
    with pytest.raises(MalformedResponseError) as caught:
        reply(wire).require_item(ASKED, OTHER, BatchItem(id=item_id))
    assert (wire.aborted, caught.value.where) == (1, "$.id")


def test_an_item_or_a_delivery_of_another_batch_is_refused(wire):
    with pytest.raises(MalformedResponseError) as of_item:
        reply(wire).require_item(ASKED, OTHER, BatchItem(id=OTHER, batch_id=OTHER))
    with pytest.raises(MalformedResponseError) as of_delivery:
        reply(wire).require_delivery(ASKED, OTHER)
    assert (wire.aborted, of_item.value.where, of_delivery.value.where) == (2, "$.batch_id", "$.batch_id")


@pytest.mark.parametrize("batch_id", [None, ASKED])
def test_an_item_or_a_delivery_of_this_batch_or_of_none_is_accepted(wire, batch_id):
    reply(wire).require_item(ASKED, OTHER, BatchItem(id=OTHER, batch_id=batch_id))
    reply(wire).require_delivery(ASKED, batch_id)
    assert wire.aborted == 0
