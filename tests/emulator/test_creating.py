"""Batches that are created over HTTP, over a real socket."""

from __future__ import annotations

import io
import json

import aiohttp
import pytest

from runflow_async.emulator import Emulator, faults

PATH = "/v1/models/owner/slug/batches"
KEY = {"Idempotency-Key": "a key"}


async def create(client, document, path=PATH, **headers):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    headers = {"Content-Type": "application/json"} | headers
    async with client.http.post(path, data=body, headers=headers) as response:
        return response.status, await response.json()


def inputs(count):
    return {"input": [{"prompt": f"p{index}"} for index in range(count)]}


async def test_a_created_batch_has_what_the_request_says(emulator, client):
    document = {
        "input": [{"prompt": "a cat", "client_ref": "cat"}, {"prompt": "a dog", "seed": 7}],
        "metadata": {"order": [1]},
        "callback_url": "http://127.0.0.1:9/done",
    }
    status, created = await create(client, document)
    assert status == 201
    snapshot = emulator.snapshot(emulator.created[0])
    assert created["id"] == snapshot["id"]
    assert [item["client_ref"] for item in created["items"]] == ["cat", None]
    assert snapshot["input"] == [{"prompt": "a cat"}, {"prompt": "a dog", "seed": 7}]
    assert (snapshot["metadata"], snapshot["callback_url"]) == (document["metadata"], document["callback_url"])
    status, page = await client.get(f"{created['id']}/items")
    assert [item["input"] for item in page["items"]] == snapshot["input"]


async def test_the_first_response_is_the_batch_without_what_is_not_known_yet(emulator, client):
    _, created = await create(client, inputs(3))
    snapshot = emulator.snapshot(emulator.created[0])
    assert created == {name: value for name, value in snapshot.items() if value is not None}
    assert "completed_at" not in created
    assert [item["status_code"] for item in created["items"]] == ["queued"] * 3


async def test_a_created_batch_runs_as_one_that_a_method_created(client, clock):
    batch = {}
    for name in ("over HTTP", "by a method"):
        async with Emulator(clock=clock, seed=5) as emulator:
            if name == "over HTTP":
                async with type(client)(emulator).http as http:
                    headers = {"Authorization": f"Bearer {emulator.api_key}"}
                    async with http.post(PATH, json=inputs(6), headers=headers) as response:
                        assert response.status == 201
                batch_id = emulator.created[0]
            else:
                batch_id = emulator.create_batch(6)
                assert emulator.created == []
            clock.now += 5.0
            batch[name] = [item["status_code"] for item in emulator.snapshot(batch_id)["items"]]
            clock.now -= 5.0
    assert batch["over HTTP"] == batch["by a method"]


@pytest.mark.parametrize("count", [1, 100])
async def test_1_to_100_inputs_make_a_batch(emulator, client, count):
    status, created = await create(client, inputs(count))
    assert (status, len(created["items"]), created["items_total"]) == (201, count, count)


REFUSED = {
    "no JSON": (b"{", []),
    "no text": (b'{"input": [{"a": "\xff"}]}', []),
    "no object": ([{"prompt": "a"}], []),
    "no input": ({}, ["input"]),
    "the guide's name": ({"items": [{"input": {"prompt": "a"}}]}, ["input"]),
    "no list": ({"input": {"prompt": "a"}}, ["input"]),
    "none": (inputs(0), ["input"]),
    "101": (inputs(101), ["input"]),
    "no object as an input": ({"input": [{}, "a cat"]}, ["input", 1]),
    "a number as client_ref": ({"input": [{"client_ref": 7}]}, ["input", 0, "client_ref"]),
    "256 characters": ({"input": [{"client_ref": "é" * 256}]}, ["input", 0, "client_ref"]),
    "null as metadata": (inputs(1) | {"metadata": None}, ["metadata"]),
    "a list as metadata": (inputs(1) | {"metadata": []}, ["metadata"]),
    "a number as URL": (inputs(1) | {"callback_url": 7}, ["callback_url"]),
    "a long URL": (inputs(1) | {"callback_url": "http://127.0.0.1/" + "a" * 2048}, ["callback_url"]),
    "a URL beyond loopback": (inputs(1) | {"callback_url": "https://example.com/"}, ["callback_url"]),
}


@pytest.mark.parametrize(("document", "place"), REFUSED.values(), ids=REFUSED)
async def test_an_invalid_request_gets_422_with_its_location(emulator, client, document, place):
    status, refused = await create(client, document)
    assert (status, refused["code"]) == (422, "VALIDATION_ERROR")
    assert refused["errors"][0]["loc"] == ["body", *place]
    assert emulator.created == []


@pytest.mark.parametrize("ref", ["é" * 255, "", None])
async def test_a_client_ref_has_up_to_255_characters(client, ref):
    status, created = await create(client, {"input": [{"client_ref": ref}], "callback_url": None})
    assert (status, created["items"][0]["client_ref"]) == (201, ref)


async def test_a_model_without_a_template_has_no_batches(emulator, client):
    status, refused = await create(client, inputs(1), "/v1/models/owner/no-template/batches")
    assert (status, refused["code"]) == (422, "VALIDATION_ERROR")
    assert "no template" in refused["message"]
    assert emulator.created == []


async def test_the_same_key_and_request_get_the_first_response_again(emulator, client, clock):
    first = await create(client, inputs(2), **KEY)
    clock.now += 3600.0
    assert await create(client, inputs(2), **KEY) == first
    assert [str(batch_id) for batch_id in emulator.created] == [first[1]["id"]]


@pytest.mark.parametrize(("document", "path"), [(inputs(3), PATH), (inputs(2), "/v1/models/owner/other/batches")])
async def test_the_same_key_and_another_request_get_409(emulator, client, document, path):
    await create(client, inputs(2), **KEY)
    status, refused = await create(client, document, path, **KEY)
    assert (status, refused["code"]) == (409, "CONFLICT")
    assert len(emulator.created) == 1


async def test_another_key_or_none_makes_another_batch(emulator, client):
    for headers in (KEY, {"Idempotency-Key": "another key"}, {}, {}):
        await create(client, inputs(1), **headers)
    assert len(set(emulator.created)) == 4


async def test_a_refused_request_does_not_use_up_its_key(emulator, client):
    assert (await create(client, inputs(0), **KEY))[0] == 422
    assert (await create(client, inputs(1), **KEY))[0] == 201


async def test_the_request_is_recorded_with_its_key_and_body(emulator, client):
    await create(client, inputs(1), **KEY)
    (received,) = emulator.requests
    assert (received.method, received.path, received.status) == ("POST", PATH, 201)
    assert received.headers["Idempotency-Key"] == "a key"
    assert json.loads(received.body) == inputs(1)
    assert emulator.api_key not in repr(received)


async def test_a_large_request_is_read_whole(emulator, client):
    body = json.dumps({"input": [{"prompt": "x" * 30_000}] * 100}).encode()
    async with client.http.post(PATH, data=io.BytesIO(body)) as response:
        assert response.status == 201
    assert emulator.requests[0].body == body


async def test_the_next_batch_follows_the_script_and_the_ones_after_it_do_not(emulator, client, clock):
    """Its timelines start over if the batch has more items."""
    emulator.script_next([[(0.0, "running"), (2.0, "failed")], [(0.0, "succeeded")]])
    emulator.script_next([[(0.0, "queued")]], status_timeline=[(0.0, "warming_up")])
    for count in (3, 1, 1):
        await create(client, inputs(count))
    clock.now += 2.0
    first, second, third = (emulator.snapshot(batch_id) for batch_id in emulator.created)
    assert [item["status_code"] for item in first["items"]] == ["failed", "succeeded", "failed"]
    assert second["status_code"] == "warming_up"
    assert third["status_code"] in ("queued", "dispatching", "running")


async def test_batches_run_by_the_plan(emulator, client, clock):
    emulator.plan_created(duration=2.0, fail=0.5)
    for _ in range(2):
        await create(client, inputs(4))
    clock.now += 2.0
    snapshots = [emulator.snapshot(batch_id) for batch_id in emulator.created]
    assert [(batch["items_failed"], batch["items_succeeded"]) for batch in snapshots] == [(2, 2), (2, 2)]


def test_an_empty_script_is_an_error(emulator):
    with pytest.raises(ValueError, match="at least one item"):
        emulator.script_next([])


@pytest.mark.parametrize(
    "fault",
    [
        faults.status(402, code="INSUFFICIENT_CREDIT", route="create"),
        faults.status(429, code="RATE_LIMITED", route="create"),
        faults.status(500, route="create"),
        faults.html(route="create"),
    ],
    ids=lambda fault: str(fault.instead.status),
)
async def test_a_refused_creation_makes_no_batch(emulator, client, fault):
    emulator.faults.append(fault)
    async with client.http.post(PATH, json=inputs(1)) as response:
        assert response.status == fault.instead.status
    assert emulator.created == []


@pytest.mark.parametrize("fault", [faults.reset(), faults.truncated_body()], ids=["reset", "truncated_body"])
async def test_a_creation_takes_effect_although_its_response_is_lost(emulator, client, fault):
    emulator.faults.append(fault)
    with pytest.raises(aiohttp.ClientError):
        await create(client, inputs(1), **KEY)
    assert len(emulator.created) == 1
    status, created = await create(client, inputs(1), **KEY)
    assert (status, created["id"]) == (201, str(emulator.created[0]))
    assert len(emulator.created) == 1


async def test_only_post_is_accepted(client):
    async with client.http.get(PATH) as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")


async def test_a_creation_needs_the_key_and_counts_in_the_rate_limit(emulator, client):
    assert (await create(client, inputs(1), Authorization="Bearer wrong"))[0] == 401
    emulator.rate_limit = 1
    assert [(await create(client, inputs(1)))[0] for _ in range(2)] == [201, 429]
