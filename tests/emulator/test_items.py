"""A batch's items, page by page, as the emulator gives them and as the session reads them."""

from __future__ import annotations

from decimal import Decimal

import aiohttp
import pytest

from runflow_async import NotFoundError
from runflow_async.emulator import faults

ENDED = [(0.0, "succeeded")]


@pytest.mark.parametrize("size", [1, 7, 100, 500])
async def test_every_item_comes_once_in_order_whatever_the_page(emulator, session, size):
    batch_id = emulator.create_scripted_batch([ENDED] * 25)
    indexes = [item.sequence_index async for item in session.iter_batch_items(batch_id, page_size=size)]
    assert indexes == list(range(25))
    assert len(emulator.requests) == -(-25 // size)


async def test_items_hold_what_their_timeline_says(emulator, session):
    scripts = [ENDED, [(0.0, "running"), (0.0, "failed")], [(0.0, "queued")]]
    batch_id = emulator.create_scripted_batch(scripts)
    good, bad, queued = [item async for item in session.iter_batch_items(batch_id)]
    assert good.cost > Decimal(0)
    assert good.output["url"]
    assert bad.error["code"] == "ITEM_FAILED"
    assert (queued.output, queued.error, queued.cost, queued.completed_at) == (None, None, None, None)
    assert good.batch_id == batch_id
    assert good.run["status_code"] == "succeeded"


async def test_a_page_that_fails_is_fetched_again(emulator, session):
    batch_id = emulator.create_scripted_batch([ENDED] * 5)
    emulator.faults.append(faults.truncated_body(times=1, batch_id=batch_id))
    assert len([item async for item in session.iter_batch_items(batch_id, page_size=2)]) == 5
    assert len(emulator.requests) == 4


async def test_an_unknown_batch_has_no_items(emulator, session):
    with pytest.raises(NotFoundError):
        await anext(session.iter_batch_items("00000000-0000-4000-8000-000000000000"))


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "limit=-1", "limit=9999999999", "pq=x", "pq="])
async def test_a_page_that_makes_no_sense_is_refused(emulator, query):
    batch_id = emulator.create_scripted_batch([ENDED])
    url = f"{emulator.url}/v1/batches/{batch_id}/items?{query}"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {emulator.api_key}"}) as http:
        async with http.get(url) as response:
            status = response.status
    assert status == (200 if query == "pq=" else 422)
