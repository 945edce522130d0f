"""Downloads that go wrong, over a real socket."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import aiohttp
import pytest

from runflow_async.emulator import faults
from tests.emulator.test_outputs import fetch, url, web

__all__ = ["url", "web"]


async def test_an_announced_length_may_be_too_long(emulator, web, url):
    emulator.faults.append(faults.wrong_length(5, route="output"))
    with pytest.raises(aiohttp.ClientPayloadError):
        await fetch(web, url)
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


def test_a_wrong_length_differs_from_the_right_one():
    with pytest.raises(ValueError, match="other than 0"):
        faults.wrong_length(0)
