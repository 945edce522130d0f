"""Responses of the emulator, over a real socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

import aiohttp
import pytest

from runflow_async.emulator import Emulator, faults
from runflow_async.emulator.serve import serve
from tests.emulator.conftest import Client, port_of, until

if TYPE_CHECKING:
    from tests.emulator.conftest import Clock

OTHER = UUID("00000000-0000-4000-8000-000000000002")


async def test_a_batch_is_answered_as_its_snapshot(emulator: Emulator, client: Client, clock: Clock) -> None:
    batch_id = emulator.create_batch()
    for _ in range(3):
        assert await client.get(batch_id) == (200, emulator.snapshot(batch_id))
        clock.now += 4.0


async def test_an_id_may_be_spelled_in_capitals_or_without_dashes(emulator: Emulator, client: Client) -> None:
    batch_id = emulator.create_batch()
    for spelling in (str(batch_id).upper(), batch_id.hex):
        status, document = await client.get(spelling)
        assert (status, document["id"]) == (200, str(batch_id))


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer wrong", "Basic cmY6", "bearer-less"])
async def test_a_wrong_key_gets_401(emulator: Emulator, client: Client, value: str) -> None:
    status, document = await client.get(emulator.create_batch(), Authorization=value)
    assert (status, document["code"]) == (401, "UNAUTHORIZED")


async def test_an_unknown_batch_gets_404(client: Client) -> None:
    status, document = await client.get(OTHER)
    assert (status, document["code"]) == (404, "BATCH_NOT_FOUND")


@pytest.mark.parametrize("text", ["nonsense", "1", f"{OTHER}0"])
async def test_an_id_that_is_not_a_uuid_gets_422_with_its_location(client: Client, text: str) -> None:
    status, document = await client.get(text)
    assert (status, document["code"]) == (422, "VALIDATION_ERROR")
    assert document["errors"][0]["loc"] == ["path", "id"]


@pytest.mark.parametrize("length", [8_191, 100_000])
async def test_a_long_path_or_header_gets_the_same_response_as_a_short_one(client: Client, length: int) -> None:
    status, document = await client.get("x" * length, **{"X-Organization-Id": "x" * length})
    assert (status, document["code"]) == (422, "VALIDATION_ERROR")
    status, document = await client.get(OTHER, **{"X-Organization-Id": "x" * length})
    assert (status, document["code"]) == (404, "BATCH_NOT_FOUND")


@pytest.mark.parametrize("path", ["/", "/v1/batches", "/v1/batches/", f"/v1/batches/{OTHER}/others", "/v2"])
async def test_an_unknown_path_gets_404_with_the_envelope(client: Client, path: str) -> None:
    async with client.http.get(path) as response:
        document = await response.json()
    assert (response.status, document["code"], document["errors"]) == (404, "NOT_FOUND", None)


async def test_only_get_is_answered(client: Client) -> None:
    async with client.http.delete(f"/v1/batches/{OTHER}") as response:
        document = await response.json()
    assert (response.status, document["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert response.headers["Allow"] == "GET"


@pytest.mark.parametrize(("named", "status"), [(str(OTHER).upper(), 200), (str(UUID(int=1)), 403), ("x", 403)])
async def test_another_organisation_is_refused_if_the_emulators_is_given(named: str, status: int) -> None:
    async with Emulator(organization_id=OTHER) as emulator:
        client = Client(emulator)
        async with client.http:
            got, document = await client.get(emulator.create_batch(), **{"X-Organization-Id": named})
    assert got == status
    assert document.get("code") == (None if status == 200 else "ORGANIZATION_MEMBERSHIP_REQUIRED")


async def test_any_organisation_is_accepted_if_the_emulators_is_not_given(emulator: Emulator, client: Client) -> None:
    status, _ = await client.get(emulator.create_batch(), **{"X-Organization-Id": str(OTHER)})
    assert status == 200


async def test_a_batch_of_another_organisation_is_forbidden(emulator: Emulator, client: Client) -> None:
    status, document = await client.get(emulator.create_batch(organization_id=OTHER))
    assert (status, document["code"]) == (403, "PERMISSION_DENIED")


async def test_more_requests_in_a_second_than_allowed_get_429(emulator: Emulator, client: Client, clock: Clock) -> None:
    """Refused requests do not count, and the window slides."""
    emulator.rate_limit = 2
    batch_id = emulator.create_batch()
    got = []
    for step in (0.0, 0.5, 0.25, 0.24, 0.01, 0.49, 0.01):
        clock.now += step
        got.append((await client.get(batch_id))[0])
    assert got == [200, 200, 429, 429, 200, 429, 200]


async def test_429_has_the_apis_code_and_no_retry_after(emulator: Emulator, client: Client) -> None:
    emulator.rate_limit = 0
    async with client.http.get(f"/v1/batches/{emulator.create_batch()}") as response:
        document = await response.json()
    assert (response.status, document["code"]) == (429, "RATE_LIMITED")
    assert "Retry-After" not in response.headers


async def test_latency_delays_every_answer(emulator: Emulator, client: Client) -> None:
    emulator.latency = 0.05
    loop = asyncio.get_running_loop()
    began = loop.time()
    await client.get(emulator.create_batch())
    assert loop.time() - began >= 0.049


async def test_requests_are_recorded_with_what_was_answered(emulator: Emulator, client: Client, clock: Clock) -> None:
    batch_id = emulator.create_batch()
    await client.get(f"{batch_id}?a=1", **{"X-Organization-Id": "x"})
    clock.now += 2.5
    await client.get("nonsense")
    first, second = emulator.requests
    assert (first.method, first.path) == ("GET", f"/v1/batches/{batch_id}?a=1")
    assert first.headers["X-Organization-Id"] == "x"
    assert (first.status, first.batch_id) == (200, batch_id)
    assert (second.status, second.batch_id) == (422, None)
    assert second.received_at - first.received_at == 2.5


@pytest.mark.parametrize("value", ["Bearer rf_live_secret", "rf_live_secret", "Basic rf_live_secret"])
async def test_no_record_shows_a_key(emulator: Emulator, client: Client, value: str) -> None:
    await client.get(OTHER)
    await client.get(OTHER, authorization=value)
    assert emulator.requests[0].headers["Authorization"] == "Bearer ***"
    shown = f"{list(emulator.requests)} {emulator!r}"
    assert emulator.api_key not in shown
    assert "rf_live_secret" not in shown


async def test_closing_does_not_wait_for_connections_or_answers() -> None:
    """One connection is kept alive, and one is in the middle of a late response."""
    async with Emulator() as emulator, aiohttp.ClientSession(emulator.url) as http:
        async with http.get("/") as response:
            await response.read()
        emulator.latency = 3600.0
        late = asyncio.create_task(http.get("/"))
        await until(lambda: len(emulator.requests) == 2)
        await asyncio.wait_for(emulator.close(), 60)
        with pytest.raises(aiohttp.ClientConnectionError):
            await late
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_does_not_wait_for_a_client_that_does_not_read(emulator: Emulator) -> None:
    emulator.faults.append(faults.body(bytes(20_000_000)))
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(emulator), limit=1024)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readline()
    await emulator.close()
    assert len(await reader.read()) < 20_000_000
    writer.close()


async def test_it_starts_again_on_the_same_port_with_its_batches(emulator: Emulator, client: Client) -> None:
    batch_id, url = emulator.create_batch(), emulator.url
    await emulator.close()
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.get(batch_id)
    await emulator.close()
    await emulator.start()
    assert emulator.url == url
    assert (await client.get(batch_id))[0] == 200


async def test_it_cannot_be_started_twice(emulator: Emulator) -> None:
    with pytest.raises(RuntimeError, match="running already"):
        await emulator.start()


async def test_a_taken_port_is_an_oserror_that_leaves_nothing_behind(emulator: Emulator) -> None:
    second = Emulator(port=port_of(emulator))
    for _ in range(2):
        with pytest.raises(OSError, match="address already in use"):
            await second.start()


def test_there_is_no_url_before_the_start() -> None:
    with pytest.raises(RuntimeError, match="start it first"):
        assert Emulator().url
    assert Emulator(host="::1", port=8080).url == "http://[::1]:8080"


async def test_the_loops_time_is_the_default_clock() -> None:
    async with Emulator() as emulator:
        instants = [asyncio.get_running_loop().time(), emulator.now(), asyncio.get_running_loop().time()]
    assert instants == sorted(instants)


async def test_serve_prints_how_to_reach_three_example_batches() -> None:
    """It serves as printed, until it is cancelled."""
    lines: list[str] = []
    printed = asyncio.Event()

    def show(line: str) -> None:
        lines.append(line)
        if len(lines) == 6:
            printed.set()

    serving = asyncio.create_task(serve(0, show=show))
    await printed.wait()
    exported: dict[str, Any] = dict(line.removeprefix("export ").split("=") for line in lines[1:3])
    key, url = exported["RUNFLOW_API_KEY"], exported["RUNFLOW_BASE_URL"]
    async with aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {key}"}) as http:
        for line in lines[3:]:
            async with http.get(f"/v1/batches/{line.split()[0]}") as response:
                assert response.status == 200
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
