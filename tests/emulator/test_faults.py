"""Faults of the emulator, over a real socket."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any
from uuid import UUID

import aiohttp
import pytest
from multidict import CIMultiDict

from runflow_async.emulator import Fault, faults
from tests.emulator.conftest import port_of, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from runflow_async.emulator import Emulator
    from tests.emulator.conftest import Client, Clock


async def test_a_status_comes_with_its_envelope_and_headers(emulator: Emulator, client: Client) -> None:
    emulator.faults.append(faults.status(503, code="X", message="busy", headers={"Retry-After": "2"}))
    async with client.http.get(f"/v1/batches/{emulator.create_batch()}") as response:
        document = await response.json()
    assert (response.status, response.headers["Retry-After"]) == (503, "2")
    assert document == {"code": "X", "message": "busy", "errors": None}
    assert emulator.requests[0].status == 503


@pytest.mark.parametrize("status", [200, 204, 301, 304, 407, 418, 599, 999])
async def test_any_final_status_can_be_sent(emulator: Emulator, client: Client, status: int) -> None:
    emulator.faults.append(faults.status(status))
    async with client.http.get("/", allow_redirects=False) as response:
        await response.read()
    assert response.status == status


async def test_a_header_may_be_sent_twice(emulator: Emulator, client: Client) -> None:
    twice = CIMultiDict([("Retry-After", "2"), ("Retry-After", "7")])
    emulator.faults.append(faults.status(429, headers=twice))
    async with client.http.get("/") as response:
        assert response.headers.getall("Retry-After") == ["2", "7"]


async def test_a_fault_hits_times_requests_and_is_then_removed(emulator: Emulator, client: Client) -> None:
    batch_id = emulator.create_batch()
    emulator.faults += [faults.status(500, times=2), faults.status(502)]
    got = []
    for left in (2, 1, 0, 0):
        got.append((await client.get(batch_id))[0])
        assert len(emulator.faults) == left
    assert got == [500, 500, 502, 200]


async def test_an_infinite_fault_stays_until_it_is_removed(emulator: Emulator, client: Client) -> None:
    batch_id = emulator.create_batch()
    emulator.faults.append(faults.status(500, times=math.inf))
    assert [(await client.get(batch_id))[0] for _ in range(3)] == [500, 500, 500]
    emulator.faults.clear()
    assert (await client.get(batch_id))[0] == 200


async def test_a_batchs_fault_leaves_the_others_alone(emulator: Emulator, client: Client) -> None:
    hit, spared = emulator.create_batch(), emulator.create_batch()
    emulator.faults.append(faults.status(500, batch_id=hit))
    assert (await client.get(spared))[0] == 200
    assert (await client.get(hit))[0] == 500
    assert (await client.get(hit))[0] == 200


async def test_one_fault_can_stand_in_the_list_twice(emulator: Emulator, client: Client) -> None:
    emulator.faults += [faults.status(500)] * 2
    assert [(await client.get(UUID(int=0)))[0] for _ in range(3)] == [500, 500, 404]


async def test_reset_cuts_the_connection_with_rst(emulator: Emulator) -> None:
    """Read from a bare socket, because a client library could not tell it from a FIN."""
    emulator.faults.append(faults.reset())
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(emulator))
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    assert emulator.requests[0].status is None


async def test_hang_never_answers(emulator: Emulator, client: Client) -> None:
    """Once the client has disconnected, nothing is left of the request."""
    emulator.faults.append(faults.hang())
    before = asyncio.all_tasks()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await client.get(emulator.create_batch())
    await until(lambda: asyncio.all_tasks() == before)
    assert emulator.requests[0].status is None


async def test_hang_ends_when_the_emulator_closes(emulator: Emulator, client: Client) -> None:
    emulator.faults.append(faults.hang())
    hanging = asyncio.create_task(client.get(UUID(int=0)))
    await until(lambda: len(emulator.requests) == 1)
    await emulator.close()
    with pytest.raises(aiohttp.ClientConnectionError):
        await hanging


async def test_slow_body_comes_in_pieces_and_whole(emulator: Emulator, client: Client) -> None:
    batch_id = emulator.create_batch()
    emulator.faults.append(faults.slow_body(0.1, pieces=5))
    loop = asyncio.get_running_loop()
    async with client.http.get(f"/v1/batches/{batch_id}") as response:
        began = loop.time()
        assert await response.json() == emulator.snapshot(batch_id)
    assert loop.time() - began >= 0.09
    assert emulator.requests[0].status == 200


async def test_a_client_may_leave_in_the_middle_of_a_slow_body(emulator: Emulator, client: Client) -> None:
    emulator.faults.append(faults.slow_body(60.0))
    async with client.http.get("/") as response:
        assert response.status == 404
    assert (await client.get(UUID(int=0)))[0] == 404


async def test_truncated_body_promises_more_than_it_sends(emulator: Emulator, client: Client) -> None:
    emulator.faults.append(faults.truncated_body())
    with pytest.raises(aiohttp.ClientPayloadError, match="not completed"):
        await client.read(emulator.create_batch())


async def test_html_looks_like_success(emulator: Emulator, client: Client) -> None:
    emulator.faults.append(faults.html())
    async with client.http.get(f"/v1/batches/{emulator.create_batch()}") as response:
        text = await response.text()
    assert (response.status, response.content_type) == (200, "text/html")
    assert text.startswith("<!doctype html>")


async def test_body_sends_exactly_these_bytes(emulator: Emulator, client: Client) -> None:
    emulator.faults.append(faults.body(b'{"items": [null]', headers={"X-Odd": "1"}))
    async with client.http.get("/") as response:
        assert await response.read() == b'{"items": [null]'
    assert (response.status, response.content_type, response.headers["X-Odd"]) == (200, "application/json", "1")


async def test_other_batch_is_a_whole_response_with_another_id(emulator: Emulator, client: Client) -> None:
    batch_id = emulator.create_batch()
    emulator.faults.append(faults.other_batch())
    status, document = await client.get(batch_id)
    assert status == 200
    assert document["id"] != str(batch_id)
    assert document | {"id": str(batch_id)} == emulator.snapshot(batch_id)


async def test_other_batch_may_be_a_particular_one(emulator: Emulator, client: Client, clock: Clock) -> None:
    asked, other = emulator.create_batch(), emulator.create_batch(3)
    emulator.faults.append(faults.other_batch(emulator.snapshot(other)))
    assert (await client.get(asked))[1] == emulator.snapshot(other)


async def test_other_batch_leaves_a_refusal_as_it_is(emulator: Emulator, client: Client) -> None:
    emulator.faults.append(faults.other_batch())
    assert (await client.get(UUID(int=0)))[0] == 404


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: faults.status(99), "status must be an HTTP status from 200 to 999"),
        (lambda: faults.html(status=1000), "status must be an HTTP status from 200 to 999"),
        (lambda: faults.hang(times=0), "times must be 1 or more"),
        (lambda: faults.reset(times=math.nan), "times must be 1 or more"),
        (lambda: faults.reset(batch_id="text"), "batch_id must be the UUID"),
        (lambda: faults.slow_body(-1.0), "seconds must be 0 or more"),
        (lambda: faults.slow_body(1.0, pieces=0), "pieces 1 or more"),
        (lambda: faults.wrong_length(0), "by must be a number of bytes other than 0"),
        (lambda: faults.reset(route="downloads"), "route must be one of batch, items, item, create"),
    ],
)
def test_invalid_faults_are_an_error(make: Callable[[], Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make()


def test_factories_make_faults_that_carry_their_name() -> None:
    made = [faults.reset(), faults.hang(), faults.slow_body(0.1), faults.truncated_body(), faults.html()]
    assert all(isinstance(fault, Fault) for fault in made)
    assert [fault.name for fault in made] == ["reset", "hang", "slow_body", "truncated_body", "html"]
