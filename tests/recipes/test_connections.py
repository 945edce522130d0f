"""A proxy and a client certificate, through an aiohttp session of one's own."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import trustme

from tests.recipes.conftest import RECIPES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

DONE = [[(0.0, "succeeded")]]


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
    """Pass everything on in both directions until one side is closed."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()

    behind, onward = await asyncio.open_connection(host, port)
    passing = [asyncio.create_task(pass_on(reader, onward)), asyncio.create_task(pass_on(behind, writer))]
    await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
    onward.close()
    writer.close()
    await asyncio.wait(passing)


@asynccontextmanager
async def serving(serve: Callable[..., Coroutine[Any, Any, None]], **options: Any) -> AsyncIterator[int]:
    """Serve connections on the port that is yielded, until their tasks have ended."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        with suppress(OSError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", **options)
    async with server:
        yield server.sockets[0].getsockname()[1]
    async with asyncio.timeout(60):
        await asyncio.gather(*tasks)


@asynccontextmanager
async def behind_tls(url: str, context: ssl.SSLContext) -> AsyncIterator[str]:
    """A gateway that speaks TLS and passes everything on to a server that does not."""
    target = urlsplit(url)
    async with serving(partial(relay, host=target.hostname, port=target.port), ssl=context) as port:
        yield f"https://localhost:{port}"


class Proxy:
    """A proxy that demands a password; it tunnels TLS and does nothing else.

    Attributes:
        heads: what clients asked it for.
    """

    def __init__(self) -> None:
        self.heads: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        if "Proxy-Authorization: Basic " + b64encode(b"user:word").decode() not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        host, _, port = head.split()[1].rpartition(":")
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await relay(reader, writer, host, int(port))


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority, tmp_path) -> Path:
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    return path


def certified(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


async def test_a_gateway_that_demands_a_client_certificate_gets_it(emulator, recipe, authority, trusted, monkeypatch):
    own = trusted.with_name("own.pem")
    authority.issue_cert("client@example.com").private_key_and_cert_chain_pem.write_to_path(own)
    context = certified(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    batch_id = str(emulator.create_scripted_batch(DONE))
    async with behind_tls(emulator.url, context) as url:
        without = ssl.create_default_context(cafile=trusted)
        async with aiohttp.ClientSession() as http:
            with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
                await http.get(url, ssl=without)
        assert not emulator.requests
        monkeypatch.setenv("RUNFLOW_BASE_URL", url)
        assert (await recipe("client_certificate").main(batch_id, str(own), str(trusted))).status_code == "succeeded"


@pytest.mark.slow
async def test_requests_go_through_a_proxy_which_sees_neither_key_nor_batch(emulator, process, authority, trusted):
    batch_id = str(emulator.create_scripted_batch(DONE))
    proxy, reached = Proxy(), len(emulator.requests)
    async with behind_tls(emulator.url, certified(authority)) as url, serving(proxy.serve) as port:

        def follow(password: str):
            address = f"http://user:{password}@127.0.0.1:{port}"
            trust = {"SSL_CERT_FILE": str(trusted), "RUNFLOW_BASE_URL": url, "HTTPS_PROXY": address}
            return process(RECIPES / "through_a_proxy.py", batch_id, **trust)

        async with follow("other") as refused:
            assert await refused.ended() == 1
        assert "the proxy refused" in refused.lines[-1]
        assert len(emulator.requests) == reached
        async with follow("word") as passed:
            assert await passed.ended() == 0
        assert passed.lines == ["succeeded"]
    assert {head.split()[0] for head in proxy.heads} == {"CONNECT"}
    assert not any(secret in head for secret in (emulator.api_key, batch_id) for head in proxy.heads)
