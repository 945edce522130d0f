"""Downloads that go wrong, over a real socket."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp
import msgspec
import pytest

from runflow_async.emulator import faults
from runflow_async.emulator.answers import Answer
from tests.emulator.conftest import until
from tests.emulator.test_outputs import ENDED, fetch, url, urls_of, web

__all__ = ["url", "web"]


async def test_an_announced_length_may_be_too_long(emulator, web, url):
    emulator.faults.append(faults.wrong_length(5, route="output"))
    whole = emulator.outputs.content_of(url)
    async with web.get(url) as response:
        assert response.content_length == len(whole) + 5
        assert await response.content.readexactly(len(whole)) == whole
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.read()
    assert (await fetch(web, url))[0] == 200


async def test_an_announced_length_may_be_too_short(emulator, url):
    emulator.faults.append(faults.wrong_length(-5, route="output"))
    split = urlsplit(url)
    reader, writer = await asyncio.open_connection(split.hostname, split.port)
    writer.write(f"GET {split.path}?{split.query} HTTP/1.1\r\nHost: {split.netloc}\r\n\r\n".encode())
    head, _, content = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    whole = emulator.outputs.content_of(url)
    assert f"Content-Length: {len(whole) - 5}".encode() in head
    assert content == whole


async def test_a_body_may_never_end(emulator, web, url):
    emulator.faults.append(faults.endless_body(route="output"))
    async with web.get(url) as response:
        read = [len(await response.content.readexactly(100_000)) for _ in range(20)]
    assert "Content-Length" not in response.headers
    assert sum(read) == 2_000_000


async def test_ranges_may_be_ignored(emulator, web, url):
    emulator.faults.append(faults.no_ranges())
    status, headers, content = await fetch(web, url, Range="bytes=10-")
    assert status == 200
    assert "Accept-Ranges" not in headers
    assert content == emulator.outputs.content_of(url)
    assert (await fetch(web, url, Range="bytes=10-"))[0] == 206


async def test_a_fault_hits_downloads_only_if_it_names_them(emulator, client, web, url):
    emulator.faults += [faults.status(500), faults.status(403, route="output"), faults.status(502)]
    assert [(await fetch(web, url))[0] for _ in range(2)] == [403, 200]
    assert [(await client.get(emulator.create_batch()))[0] for _ in range(2)] == [500, 502]


async def test_a_batchs_fault_hits_its_downloads_alone(emulator, client, web, url):
    ((other,),) = await urls_of(client, emulator.create_scripted_batch([ENDED]))
    emulator.faults.append(faults.status(500, route="output", batch_id=UUID(url.split("/")[4])))
    assert [(await fetch(web, name))[0] for name in (other, url, url)] == [200, 500, 200]


async def test_a_download_may_be_cut_in_the_middle(emulator, web, url):
    emulator.faults.append(faults.truncated_body(route="output"))
    with pytest.raises(aiohttp.ClientPayloadError):
        await fetch(web, url)


async def test_a_download_may_lead_to_another_host(emulator, web, url):
    elsewhere = "http://localhost:9/elsewhere"
    emulator.faults.append(faults.status(302, headers={"Location": elsewhere}, route="output"))
    async with web.get(url, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, elsewhere)


async def test_an_endless_body_ends_with_its_client(emulator, web, url):
    emulator.faults.append(faults.endless_body(route="output"))
    before = asyncio.all_tasks()
    response = await web.get(url)
    response.close()
    await until(lambda: asyncio.all_tasks() == before)


async def test_an_empty_body_may_be_endless_too(emulator, web, url):
    emulator.faults.append(faults.endless_body(route="output"))
    emulator.faults[0] = msgspec.structs.replace(emulator.faults[0], instead=Answer(200, b""))
    async with web.get(url) as response:
        assert len(await response.content.readexactly(100_000)) == 100_000
