"""The callbacks of a batch as the API lists them, and the ones delivered again."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from runflow_async.callbacks import parse_callback
from runflow_async.emulator import Emulator
from tests.emulator.conftest import until
from tests.emulator.test_callbacks import ENDED, SOON, receiving, settle

OTHER = UUID("00000000-0000-4000-8000-000000000002")


async def listed(client, batch_id):
    status, page = await client.get(f"{batch_id}/callback")
    assert status == 200
    return page["items"]


async def redeliver(client, batch_id):
    async with client.http.post(f"/v1/batches/{batch_id}/callback-redeliveries") as response:
        return response.status, await response.json()


async def test_a_delivery_is_listed_with_its_attempts(emulator, client):
    async with receiving(500) as receiver:
        batch_id = emulator.create_scripted_batch([ENDED], callback_url=receiver.url)
        await settle(emulator)
    (delivery,) = await listed(client, batch_id)
    assert UUID(delivery["id"])
    assert (delivery["batch_id"], delivery["callback_url"]) == (str(batch_id), receiver.url)
    assert (delivery["status_code"], delivery["attempt_count"], delivery["max_attempts"]) == ("succeeded", 2, 5)
    assert (delivery["failure_reason_code"], delivery["failure_detail"]) == (None, None)
    assert delivery["next_attempt_at"] is None
    assert delivery["completed_at"] >= delivery["created_at"]
    assert [(it["attempt_number"], it["status_code"]) for it in delivery["attempts"]] == [(1, 500), (2, 200)]
    assert [it["error_message"] for it in delivery["attempts"]] == ["the receiver responded with status 500", None]
    assert all(it["response_time_ms"] >= 0 for it in delivery["attempts"])


async def test_a_delivery_that_is_given_up_says_why(emulator, client, monkeypatch):
    monkeypatch.setattr("runflow_async.emulator.callbacks.RETRY_DELAYS", (0.0,) * 4)
    async with receiving(*[503] * 5) as receiver:
        batch_id = emulator.create_scripted_batch([ENDED], callback_url=receiver.url)
        await settle(emulator)
    (delivery,) = await listed(client, batch_id)
    assert (delivery["status_code"], delivery["attempt_count"]) == ("failed", 5)
    assert delivery["failure_reason_code"] == "MAX_ATTEMPTS_REACHED"
    assert delivery["failure_detail"] == "the receiver responded with status 503"


async def test_a_batch_without_a_callback_has_no_deliveries(emulator, client):
    assert await listed(client, emulator.create_scripted_batch([ENDED])) == []


@pytest.mark.parametrize("listing", ["next_pq", "cursor", "query", "url"])
async def test_deliveries_come_in_pages_oldest_first(emulator, client, listing):
    emulator.listing = listing
    async with receiving(200, 500) as receiver:
        batch_id = emulator.create_scripted_batch([ENDED], callback_url=receiver.url, callback_times=2)
        await settle(emulator)
    _, first = await client.get(f"{batch_id}/callback?limit=1")
    following = first["next_pq" if listing == "next_pq" else "next"]
    query = following if listing in ("cursor", "next_pq") else following.rpartition("pq=")[2]
    _, second = await client.get(f"{batch_id}/callback?limit=1&pq={query}")
    assert [delivery["attempt_count"] for page in (first, second) for delivery in page["items"]] == [1, 2]


async def test_an_ended_batch_is_delivered_again(emulator, client):
    async with receiving() as receiver:
        batch_id = emulator.create_scripted_batch([ENDED], callback_url=receiver.url)
        await settle(emulator)
        status, delivery = await redeliver(client, batch_id)
        assert (status, delivery["status_code"], delivery["attempts"]) == (201, "pending", [])
        assert delivery["next_attempt_at"] == delivery["created_at"]
        await settle(emulator)
        first, second = await listed(client, batch_id)
        assert (second["id"], second["status_code"]) == (delivery["id"], "succeeded")
        assert first["id"] != second["id"]
    assert [parse_callback(body).batch_id for body in receiver.bodies] == [batch_id] * 2


async def test_nothing_is_delivered_again_without_a_url_or_before_the_end(emulator, client, clock):
    running = emulator.create_scripted_batch([[(0.0, "running")]], callback_url="http://127.0.0.1:9/")
    for batch_id, complaint in (
        (emulator.create_scripted_batch([ENDED]), "no callback_url"),
        (running, "has not ended"),
    ):
        status, refused = await redeliver(client, batch_id)
        assert (status, refused["code"]) == (422, "VALIDATION_ERROR")
        assert complaint in refused["message"]


async def test_a_delivery_in_flight_is_not_doubled(client, emulator, clock):
    """Nor is one that is due: the batch has ended, but its callback is yet to be sent."""
    async with receiving() as receiver:
        arrived, let_go = asyncio.Event(), asyncio.Event()

        async def hold():
            arrived.set()
            await let_go.wait()

        receiver.before_response = hold
        batch_id = emulator.create_scripted_batch([SOON], callback_url=receiver.url)
        clock.now += 1.0
        refused = [await redeliver(client, batch_id)]
        await arrived.wait()
        refused.append(await redeliver(client, batch_id))
        assert (await listed(client, batch_id))[0]["status_code"] == "pending"
        assert [(status, "in flight" in answer["message"]) for status, answer in refused] == [(422, True)] * 2
        let_go.set()
        await settle(emulator)
        assert (await redeliver(client, batch_id))[0] == 201
        await settle(emulator)


async def test_a_redelivery_that_closing_interrupts_starts_afresh():
    """Its attempts are counted anew."""
    async with receiving(200, 503, 502) as receiver, Emulator() as emulator:
        batch_id = emulator.create_scripted_batch([ENDED], callback_url=receiver.url)
        await settle(emulator)
        second = emulator._deliveries.redeliver(emulator._batches.by_id[batch_id])
        await until(lambda: len(second.attempts) == 1)
        await emulator.close()
        async with emulator:
            await settle(emulator)
        assert emulator._deliveries.of(batch_id)[1:] == [second]
        assert [attempt.status for attempt in second.attempts] == [502, 200]


async def test_refusals_are_those_of_the_batch(emulator, client):
    theirs = emulator.create_batch(organization_id=OTHER)
    assert [(await redeliver(client, name))[0] for name in (OTHER, theirs, "x")] == [404, 403, 422]
    assert [(await client.get(f"{name}/callback"))[0] for name in (OTHER, theirs, "x")] == [404, 403, 422]
    async with client.http.get(f"/v1/batches/{theirs}/callback-redeliveries") as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")
