"""A batch's items, page by page, as the emulator gives them and as the session reads them."""

from __future__ import annotations

import math
import re
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from urllib.parse import quote
from uuid import UUID

import pytest

from runflow_async import NotFoundError
from runflow_async.emulator import Emulator, faults

ENDED = [(0.0, "succeeded")]
LIFE = [(0.0, "queued"), (1.0, "dispatching"), (2.0, "running"), (5.0, "succeeded")]
OTHER = UUID("00000000-0000-4000-8000-000000000002")


async def page_of(client, batch_id, cursor=None, **query):
    """Return one page."""
    asked = query | ({} if cursor is None else {"pq": cursor})
    text = "&".join(f"{name}={value}" for name, value in asked.items())
    status, document = await client.get(f"{batch_id}/items?{text}")
    assert status == 200
    return document


async def pages_of(client, batch_id, **query):
    pages = [await page_of(client, batch_id, **query)]
    while pages[-1]["next_pq"] is not None:
        pages.append(await page_of(client, batch_id, pages[-1]["next_pq"], **query))
    return pages


def indexes(page):
    return [item["sequence_index"] for item in page["items"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "sizes"),
    [({"limit": 1}, [1] * 250), ({"limit": 100}, [100, 100, 50]), ({"limit": 500}, [250]), ({}, [100, 100, 50])],
)
async def test_250_items_come_once_each_in_order_forwards_and_backwards(emulator, client, query, sizes):
    batch_id = emulator.create_batch(250)
    pages = await pages_of(client, batch_id, **query)
    assert [len(page["items"]) for page in pages] == sizes
    assert [index for page in pages for index in indexes(page)] == list(range(250))
    assert pages[0]["prev_pq"] is None
    for page, following in pairwise(pages):
        if following is not pages[-1]:
            back = await page_of(client, batch_id, following["prev_pq"], **query)
            assert back["items"] == page["items"]


async def test_a_full_last_page_is_followed_by_none(emulator, client):
    pages = await pages_of(client, emulator.create_batch(20), limit=10)
    assert [indexes(page) for page in pages] == [list(range(10)), list(range(10, 20))]


@pytest.mark.parametrize("size", [1, 7, 100, 500])
async def test_a_session_reads_every_item_once_for_any_page_size(emulator, session, size):
    batch_id = emulator.create_scripted_batch([ENDED] * 25)
    assert [item.sequence_index async for item in session.iter_batch_items(batch_id, page_size=size)] == [*range(25)]
    assert len(emulator.requests) == -(-25 // size)


LISTINGS = ["next_pq", "cursor", "query", "url"]


@pytest.mark.parametrize("listing", LISTINGS)
async def test_a_session_reads_every_item_for_any_listing(emulator, session, listing):
    """It requests every page from the emulator, with nothing but the cursor."""
    emulator.listing = listing
    batch_id = emulator.create_scripted_batch([ENDED] * 5)
    assert [item.sequence_index async for item in session.iter_batch_items(batch_id, page_size=2)] == [*range(5)]
    assert len(emulator.requests) == 3
    assert all(re.fullmatch(r"/v1/batches/[\w-]+/items\?limit=2(&pq=[\w%-]+)?", it.path) for it in emulator.requests)


async def test_pages_name_their_neighbours_as_the_listing_says(emulator, client):
    batch_id = emulator.create_batch(5)
    named = {}
    for emulator.listing in LISTINGS:
        first = await page_of(client, batch_id, limit=2)
        named[emulator.listing] = {name: value for name, value in first.items() if name != "items"}
    cursor = named["next_pq"]["next_pq"]
    assert named["next_pq"] == {"next_pq": cursor, "prev_pq": None}
    assert named["cursor"] == {"first": named["cursor"]["first"], "next": cursor, "previous": None}
    assert named["query"]["next"] == f"?limit=2&pq={quote(cursor)}"
    assert named["url"]["next"] == f"{emulator.url}/v1/batches/{batch_id}/items?limit=2&pq={quote(cursor)}"
    assert indexes(await page_of(client, batch_id, named["cursor"]["first"], limit=2)) == [0, 1]


def test_an_unknown_listing_is_an_error():
    with pytest.raises(ValueError, match="listing must be one of next_pq, cursor, query, url, not 'links'"):
        Emulator(listing="links")


async def test_a_cursor_stays_where_it_is_while_items_change_and_appear(emulator, client, clock):
    late = [(3.0, "queued")]
    batch_id = emulator.create_scripted_batch([late, LIFE, LIFE, LIFE, late, LIFE])
    first = await page_of(client, batch_id, limit=3)
    assert indexes(first) == [1, 2, 3]
    clock.now += 5.0
    second = await page_of(client, batch_id, first["next_pq"], limit=3)
    assert indexes(second) == [4, 5]
    assert second["next_pq"] is None
    assert indexes(await page_of(client, batch_id, limit=3)) == [0, 1, 2]


async def test_an_item_follows_its_timeline(emulator, client, clock):
    """At each time, it has exactly the fields of the contract."""
    batch_id = emulator.create_scripted_batch([LIFE], client_refs=["mine"])
    seen = []
    for instant in (0.0, 1.0, 2.0, 4.5, 5.0, 3600.0):
        clock.now = 1000.0 + instant
        (item,) = (await page_of(client, batch_id))["items"]
        handle = emulator.snapshot(batch_id)["items"][0]
        assert {name: item[name] for name in handle} == handle
        assert item["run"] == {"id": item["run_id"], "status_code": item["status_code"]}
        seen.append((item["status_code"], *(item[name] is not None for name in ("started_at", "completed_at"))))
    assert seen == [
        ("queued", False, False),
        ("dispatching", False, False),
        ("running", True, False),
        ("running", True, False),
        ("succeeded", True, True),
        ("succeeded", True, True),
    ]
    names = "id batch_id sequence_index run_id created_at client_ref status_code input cost output error"
    assert set(item) == {*names.split(), "started_at", "completed_at", "run"}
    created, started, completed = (
        datetime.fromisoformat(item[f"{name}_at"]) for name in ("created", "started", "completed")
    )
    assert item["created_at"] == emulator.snapshot(batch_id)["created_at"]
    assert (started - created).total_seconds() == pytest.approx(2.0, abs=0.0011)
    assert (completed - created).total_seconds() == pytest.approx(5.0, abs=0.0011)
    assert (item["client_ref"], item["batch_id"]) == ("mine", str(batch_id))


async def test_only_a_succeeded_item_has_output_and_cost_and_only_a_failed_one_an_error(emulator, client):
    statuses = ["succeeded", "failed", "canceled", "running"]
    batch_id = emulator.create_scripted_batch([[(0.0, status)] for status in statuses])
    good, bad, *others = (await page_of(client, batch_id))["items"]
    assert Decimal(good["cost"]) > 0
    assert good["output"]["outputs"][0]["url"].startswith(emulator.outputs.url)
    assert set(bad["error"]) == {"code", "message"}
    assert (good["error"], bad["output"], bad["cost"]) == (None, None, None)
    assert {item[name] for item in others for name in ("output", "cost", "error")} == {None}
    assert {item["input"]["prompt"] for item in (good, bad, *others)} == {f"variation {index}" for index in range(4)}


async def test_a_session_reads_items_with_their_types(emulator, session):
    batch_id = emulator.create_scripted_batch([ENDED, [(0.0, "running"), (0.0, "failed")], [(0.0, "queued")]])
    good, bad, queued = [item async for item in session.iter_batch_items(batch_id)]
    assert good.cost > Decimal(0)
    assert good.output["outputs"]
    assert bad.error["code"] == "ITEM_FAILED"
    assert (queued.output, queued.error, queued.cost, queued.completed_at) == (None, None, None, None)
    assert good.batch_id == batch_id
    assert good.run["status_code"] == "succeeded"


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "limit=-1", "limit=", "limit=9999999999", "limit=%D9%A1", "limit=1.0"]
)
async def test_an_invalid_limit_gets_422_with_its_location(emulator, client, query):
    status, document = await client.get(f"{emulator.create_batch()}/items?{query}")
    assert (status, document["code"]) == (422, "VALIDATION_ERROR")
    assert document["errors"][0]["loc"] == ["query", "limit"]


@pytest.mark.parametrize("cursor", ["x", "7", "after-7", "AAAA", "A" * 16, "=", "%C3%A9", "%00", "!" * 16])
async def test_an_invalid_cursor_gets_422_with_its_location(emulator, client, cursor):
    status, document = await client.get(f"{emulator.create_batch()}/items?pq={cursor}")
    assert (status, document["code"]) == (422, "VALIDATION_ERROR")
    assert document["errors"][0]["loc"] == ["query", "pq"]


async def test_a_cursor_of_another_batch_or_an_altered_one_is_refused(emulator, client):
    batch_id, other = emulator.create_batch(), emulator.create_batch()
    cursor = (await page_of(client, other, limit=5))["next_pq"]
    for wrong in (cursor, cursor[:-1], cursor + "=", cursor + "AAAA", f"!{cursor}"):
        assert (await client.get(f"{batch_id}/items?pq={wrong}"))[0] == 422
        assert wrong == cursor or (await client.get(f"{other}/items?pq={wrong}"))[0] == 422


async def test_an_empty_cursor_is_the_first_page(emulator, client):
    batch_id = emulator.create_batch()
    assert await page_of(client, batch_id, "") == await page_of(client, batch_id)


async def test_refusals_are_those_of_the_batch(emulator, client):
    ours, theirs = emulator.create_batch(), emulator.create_batch(organization_id=OTHER)
    got = [await client.get(f"{ours}/items", Authorization="Bearer wrong")]
    got += [await client.get(f"{name}/items") for name in (OTHER, theirs, "nonsense")]
    emulator.rate_limit = 0
    got.append(await client.get(f"{ours}/items"))
    assert [(status, document["code"]) for status, document in got] == [
        (401, "UNAUTHORIZED"),
        (404, "BATCH_NOT_FOUND"),
        (403, "PERMISSION_DENIED"),
        (422, "VALIDATION_ERROR"),
        (429, "RATE_LIMITED"),
    ]


async def test_requests_for_items_are_recorded_and_hit_by_their_batchs_faults(emulator, client):
    hit, spared = emulator.create_batch(), emulator.create_batch()
    emulator.faults.append(faults.status(500, times=math.inf, batch_id=hit))
    assert [(await client.get(f"{name}/items?limit=3"))[0] for name in (spared, hit)] == [200, 500]
    assert [(request.batch_id, request.status) for request in emulator.requests] == [(spared, 200), (hit, 500)]


async def test_a_page_that_fails_is_fetched_again(emulator, session):
    batch_id = emulator.create_scripted_batch([ENDED] * 5)
    emulator.faults.append(faults.truncated_body(times=1, batch_id=batch_id))
    assert len([item async for item in session.iter_batch_items(batch_id, page_size=2)]) == 5
    assert len(emulator.requests) == 4


async def test_an_unknown_batch_has_no_items(emulator, session):
    with pytest.raises(NotFoundError):
        await anext(session.iter_batch_items("00000000-0000-4000-8000-000000000000"))


async def test_a_single_item_is_as_in_the_list(emulator, client, clock):
    batch_id = emulator.create_scripted_batch([LIFE, ENDED, LIFE])
    for _ in range(2):
        for item in (await page_of(client, batch_id))["items"]:
            assert await client.get(f"{batch_id}/items/{item['id']}") == (200, item)
        clock.now += 5.0


async def test_an_item_of_another_batch_or_one_that_has_not_appeared_gets_404(emulator, client):
    batch_id = emulator.create_scripted_batch([[(1.0, "queued")]])
    other = emulator.snapshot(emulator.create_batch(1))["items"][0]["id"]
    late = emulator._batches.by_id[batch_id].items[0].id
    for name in (other, late, OTHER):
        status, document = await client.get(f"{batch_id}/items/{name}")
        assert (status, document["code"]) == (404, "BATCH_ITEM_NOT_FOUND")
    status, document = await client.get(f"{batch_id}/items/nonsense")
    assert (status, document["errors"][0]["loc"]) == (422, ["path", "item_id"])


async def test_a_fault_may_hit_single_items_alone(emulator, client):
    batch_id = emulator.create_scripted_batch([ENDED])
    item_id = emulator.snapshot(batch_id)["items"][0]["id"]
    emulator.faults += [faults.status(404, route="item"), faults.status(500, route="item", batch_id=batch_id)]
    paths = [f"{batch_id}", f"{batch_id}/items", *[f"{batch_id}/items/{item_id}"] * 3]
    assert [(await client.get(path))[0] for path in paths] == [200, 200, 404, 500, 200]
