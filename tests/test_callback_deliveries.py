"""Callbacks as the server shows and repeats them, over a loopback socket."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from runflow_async import (
    ConfigurationError,
    MalformedResponseError,
    PermissionDeniedError,
    RunflowError,
    TransportError,
    UnprocessableError,
)
from runflow_async.emulator import faults
from tests.emulator.test_callbacks import ENDED, receiving, settle
from tests.rig import eventually

URL = "http://127.0.0.1:9/"  # nobody listens
ID = uuid4()


def posts(emulator):
    return [request for request in emulator.requests if request.method == "POST"]


async def test_a_delivery_that_failed_says_why(emulator, session):
    batch_id = emulator.create_scripted_batch([[(0.0, "succeeded")]], callback_url=URL)
    await eventually(lambda: len(emulator.callbacks) > 0)
    (delivery,) = await session.callback_deliveries(batch_id)
    assert delivery.batch_id == batch_id
    assert delivery.callback_url == URL
    assert delivery.attempt_count == len(delivery.attempts)
    assert delivery.attempts[0].attempt_number == 1
    assert delivery.attempts[0].error_message == "the receiver did not respond"


async def test_a_batch_without_a_callback_has_none(emulator, session):
    assert await session.callback_deliveries(emulator.create_scripted_batch([[(0.0, "succeeded")]])) == []


async def test_several_pages_of_them_are_read(emulator, session):
    first, second = ({"id": str(uuid4()), "batch_id": str(ID)} for _ in range(2))
    pages = [{"items": [first], "next_pq": "more"}, {"items": [second], "next_pq": None}]
    emulator.faults += [faults.body(json.dumps(page).encode(), route="callbacks") for page in pages]
    found = await session.callback_deliveries(ID)
    assert [str(delivery.id) for delivery in found] == [first["id"], second["id"]]
    assert emulator.requests[-1].path.endswith("/callback?pq=more")


async def test_a_value_that_cannot_be_used_is_left_out(emulator, session):
    page = {"items": [{"id": str(ID), "attempt_count": "many", "attempts": None}]}
    emulator.faults.append(faults.body(json.dumps(page).encode(), route="callbacks"))
    (delivery,) = await session.callback_deliveries(ID)
    assert (delivery.id, delivery.attempt_count) == (ID, None)


@pytest.mark.slow
async def test_deliveries_of_another_batch_are_refused(emulator, session):
    page = {"items": [{"id": str(uuid4()), "batch_id": str(uuid4())}]}
    emulator.faults.append(faults.body(json.dumps(page).encode(), route="callbacks", times=9))
    with pytest.raises(MalformedResponseError, match="another batch"):
        await session.callback_deliveries(ID)


async def test_a_callback_is_sent_again(emulator, session):
    async with receiving(200, 200) as receiver:
        batch_id = emulator.create_scripted_batch([ENDED], callback_url=receiver.url)
        await settle(emulator)
        delivery = await session.redeliver_callback(batch_id)
        await settle(emulator)
        first, second = await session.callback_deliveries(batch_id)
    assert delivery.id == second.id != first.id
    assert (first.status_code, second.status_code) == ("succeeded", "succeeded")
    (post,) = posts(emulator)
    assert (post.path, post.body) == (f"/v1/batches/{batch_id}/callback-redeliveries", b"")


async def test_the_callback_of_a_batch_that_runs_is_not(emulator, session):
    batch_id = emulator.create_scripted_batch([[(0.0, "running")]], callback_url=URL)
    with pytest.raises(UnprocessableError, match="only the callback of a batch that has ended") as caught:
        await session.redeliver_callback(batch_id)
    assert caught.value.batch_id == batch_id


async def test_nor_while_one_is_in_flight(emulator, session):
    batch_id = emulator.create_scripted_batch([[(0.0, "succeeded")]], callback_url=URL)
    await eventually(lambda: len(emulator.callbacks) > 0)
    with pytest.raises(UnprocessableError, match="not while a delivery is in flight"):
        await session.redeliver_callback(batch_id)


@pytest.mark.parametrize("fault", [faults.status(500), faults.status(503), faults.reset(), faults.truncated_body()])
async def test_what_may_have_been_done_is_not_repeated(emulator, session, fault):
    """Row 169."""
    batch_id = emulator.create_scripted_batch([[(0.0, "succeeded")]], callback_url=URL)
    emulator.faults.append(fault)
    with pytest.raises(RunflowError):
        await session.redeliver_callback(batch_id)
    assert len(posts(emulator)) == 1


async def test_what_was_refused_for_the_rate_is_repeated(emulator, session):
    async with receiving(200, 200) as receiver:
        batch_id = emulator.create_scripted_batch([ENDED], callback_url=receiver.url)
        await settle(emulator)
        emulator.faults.append(faults.status(429))
        delivery = await session.redeliver_callback(batch_id)
        await settle(emulator)
    assert delivery.batch_id == batch_id
    assert len(posts(emulator)) == 2


async def test_a_refusal_for_the_rate_and_then_a_lost_response_is_not(emulator, session):
    batch_id = emulator.create_scripted_batch([[(0.0, "succeeded")]], callback_url=URL)
    emulator.faults += [faults.status(429), faults.reset()]
    with pytest.raises(TransportError):
        await session.redeliver_callback(batch_id)
    assert len(posts(emulator)) == 2


async def test_a_key_without_the_scope_is_told_so(emulator, session):
    emulator.faults.append(faults.status(403, code="PERMISSION_DENIED"))
    with pytest.raises(PermissionDeniedError, match="check that the key may execute runs"):
        await session.redeliver_callback(ID)


@pytest.mark.parametrize("name", ["callback_deliveries", "redeliver_callback"])
async def test_a_bad_id_is_refused_before_any_request(emulator, session, name):
    with pytest.raises(ConfigurationError):
        await getattr(session, name)("x")
    assert not emulator.requests
