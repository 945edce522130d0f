"""The fault rig does what it says, so that a test which uses it fails for the client's sake alone."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import aiohttp
import pytest

from runflow_async._answers.decoding import decode_batch
from tests.rig import (
    Certificates,
    Ending,
    FaultyProxy,
    ScriptedServer,
    Toxic,
    assert_no_leaks,
    cancel_at_every_suspension,
    close,
    deaf_port,
    drip,
    endless,
    eventually,
    hang,
    http,
    item,
    json_batch,
    lateness,
    on_accept,
    pause,
    push,
    refused_port,
    reset,
    send,
)
from tests.rig.clock import STATISTICS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.rig import Reply

BATCH_ID = UUID("11111111-2222-4333-8444-555555555555")
GET = b"GET / HTTP/1.1\r\nHost: rig\r\n\r\n"
CHEAP = http(body=b"0123456789")


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return Certificates()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as client:
        yield client


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer(CHEAP) as server:
        yield server


async def get(client: aiohttp.ClientSession, url: str, **options: Any) -> bytes:
    async with client.get(url, **options) as response:
        return await response.read()


class Caller:
    """A raw client: sends a request and reads what comes."""

    def __init__(self, port: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()

    async def ask(self) -> None:
        await self._loop.sock_sendall(self._socket, GET)

    async def read(self) -> bytes:
        async with asyncio.timeout(60):
            return await self._loop.sock_recv(self._socket, 1 << 16)

    async def read_to_end(self) -> bytes:
        received = b""
        while data := await self.read():
            received += data
        return received


# The scripted server


async def test_requests_are_answered_in_order_and_the_last_reply_repeats(client: aiohttp.ClientSession) -> None:
    async with ScriptedServer([http(body=b"1"), http(body="2")]) as server:
        assert [await get(client, server.url) for _ in range(3)] == [b"1", b"2", b"2"]
        assert [head.split(b"\r\n")[0] for head in server.requests] == [b"GET / HTTP/1.1"] * 3
        assert (server.connections, server.open_connections, server.requests_per_connection) == (1, 1, [3])


async def test_a_function_answers_by_number_and_request(client: aiohttp.ClientSession) -> None:
    def answer(number: int) -> Reply:
        return http(body=b"%d %b" % (number, server.requests[number - 1].split()[1]))

    async with ScriptedServer(answer) as server:
        assert await get(client, server.url + "/a") == b"1 /a"
        assert await get(client, server.url + "/b") == b"2 /b"


async def test_a_generator_is_asked_no_earlier_than_needed(client: aiohttp.ClientSession) -> None:
    def answers() -> Iterator[Reply]:
        yield http(body=b"first")
        assert server.requests, "asked too early"
        yield http(body=b"second")

    async with ScriptedServer(answers()) as server:
        assert [await get(client, server.url) for _ in range(3)] == [b"first", b"second", b"second"]


async def test_what_a_script_does_wrong_is_raised_on_leaving(client: aiohttp.ClientSession) -> None:
    server = ScriptedServer([])
    await server.__aenter__()
    with pytest.raises(aiohttp.ClientError):
        await get(client, server.url)
    with pytest.raises(ExceptionGroup) as caught:
        await server.__aexit__(None, None, None)
    assert caught.group_contains(ValueError, match="at least one reply")


async def test_the_body_may_be_chunked(client: aiohttp.ClientSession) -> None:
    answer = http(206, b"0123456789", [("X-A", "1"), ("X-A", "2")], chunked=True, chunk_size=3)
    async with ScriptedServer(answer) as server, client.get(server.url) as response:
        assert (response.status, response.headers.getall("X-A")) == (206, ["1", "2"])
        assert await response.read() == b"0123456789"


def test_a_content_length_can_lie_or_be_missing() -> None:
    assert b"Content-Length: 99\r\n" in http(body=b"x", length=99).data
    assert b"Content-Length" not in http(body=b"x", length=None).data


def test_a_cut_keeps_the_first_bytes() -> None:
    assert (send(b"abc") + pause(1) + b"def").cut(-2).data == b"abcd"


async def test_a_fin_ends_an_answer_early() -> None:
    async with ScriptedServer(CHEAP.cut(20) + close()) as server:
        with Caller(server.port) as caller:
            await caller.ask()
            assert await caller.read_to_end() == CHEAP.data[:20]
            assert server.open_connections == 1
        await eventually(lambda: server.open_connections == 0)


async def test_a_reset_breaks_an_answer_off() -> None:
    async with ScriptedServer(CHEAP.cut(-1) + reset()) as server:
        with Caller(server.port) as caller:
            await caller.ask()
            with pytest.raises(ConnectionResetError):
                await caller.read_to_end()


async def test_a_hanging_server_lets_go_once_the_client_has_gone(client: aiohttp.ClientSession) -> None:
    async with ScriptedServer(hang()) as server:
        with pytest.raises(TimeoutError):
            await get(client, server.url, timeout=aiohttp.ClientTimeout(total=0.02))
        await eventually(lambda: server.open_connections == 0)


async def test_leaving_a_server_ends_what_hangs() -> None:
    async with ScriptedServer(hang()) as server:
        with Caller(server.port) as caller:
            await caller.ask()
            await eventually(lambda: server.requests)
            await asyncio.wait_for(server.close(), 60)
            assert await caller.read_to_end() == b""


async def test_a_drip_sends_piece_after_piece() -> None:
    async with ScriptedServer(drip(b"abcde", 2, 0.01)) as server:
        with Caller(server.port) as caller:
            await caller.ask()
            assert [await caller.read() for _ in range(3)] == [b"ab", b"cd", b"e"]


async def test_a_drip_ends_when_the_client_goes() -> None:
    async with ScriptedServer(drip(b"ab", 1, 60)) as server:
        with Caller(server.port) as caller:
            await caller.ask()
            await caller.read()
        await eventually(lambda: server.open_connections == 0)


async def test_an_endless_body_ends_when_the_client_goes() -> None:
    async with ScriptedServer(http(length=10**12) + endless(b"x" * 1000)) as server:
        with Caller(server.port) as caller:
            await caller.ask()
            for _ in range(10):
                await caller.read()
        await eventually(lambda: server.open_connections == 0)


async def test_a_push_comes_on_the_idle_connection_and_holds_nothing_up() -> None:
    async with ScriptedServer([send(b"one") + push(b"!", after=0.03), send(b"two")]) as server:
        with Caller(server.port) as caller:
            await caller.ask()
            assert await caller.read() == b"one"
            await caller.ask()
            assert await caller.read() == b"two"
            assert await caller.read() == b"!"


async def test_a_push_on_demand_reaches_idle_connections_only() -> None:
    async with ScriptedServer([send(b"one"), hang()]) as server:
        with Caller(server.port) as idle, Caller(server.port) as busy:
            await idle.ask()
            assert await idle.read() == b"one"
            await busy.ask()
            await eventually(lambda: len(server.requests) == 2)
            assert await server.push(b"!") == 1
            assert await idle.read() == b"!"


@pytest.mark.parametrize("ending", [close(), reset(), hang()], ids=["close", "reset", "hang"])
async def test_a_connection_can_be_ended_before_anything_is_read(client: aiohttp.ClientSession, ending: Reply) -> None:
    async with ScriptedServer([on_accept(ending), CHEAP]) as server:
        with Caller(server.port) as caller:
            if ending == reset():
                with pytest.raises(ConnectionResetError):
                    await caller.read()
            elif ending == close():
                assert await caller.read() == b""
            await eventually(lambda: server.connections == 1)
        assert server.requests == []
        assert await get(client, server.url) == b"0123456789"
        assert server.requests_per_connection == [0, 1]


def test_a_batch_is_what_the_contract_says() -> None:
    handles = ("succeeded", item(BATCH_ID, 7, "failed", client_ref=None))
    batch = decode_batch(json_batch(BATCH_ID, handles, "partial_succeeded", duration_ms=5))
    assert (batch.id, batch.status_code, batch.duration_ms) == (BATCH_ID, "partial_succeeded", 5)
    assert (batch.items_total, batch.items_succeeded, batch.items_failed) == (2, 1, 1)
    assert [(handle.sequence_index, handle.client_ref) for handle in batch.items or ()] == [(0, "ref-0"), (7, None)]
    assert decode_batch(json_batch(BATCH_ID, None)).items is None


# Certificates


async def test_a_good_certificate_is_accepted_by_name_and_by_address(certificates: Certificates) -> None:
    connector = aiohttp.TCPConnector(ssl=certificates.client)
    body = b"x" * 300_000
    async with ScriptedServer(http(body=body), ssl=certificates.good, host="localhost") as server:
        async with aiohttp.ClientSession(connector=connector) as client:
            assert await get(client, server.url) == body
            assert await get(client, f"https://127.0.0.1:{server.port}") == body
        await eventually(lambda: server.open_connections == 0)
        assert server.connections == 2


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("wrong_host", "mismatch"),
        ("expired", "expired"),
        ("untrusted", "unable to get local issuer"),
        ("self_signed", "self-signed"),
    ],
)
async def test_a_bad_certificate_is_refused_for_its_reason(
    client: aiohttp.ClientSession, certificates: Certificates, kind: str, reason: str
) -> None:
    async with ScriptedServer(CHEAP, ssl=getattr(certificates, kind)) as server:
        with pytest.raises(aiohttp.ClientConnectorCertificateError, match=reason):
            await get(client, server.url, ssl=certificates.client)
        await eventually(lambda: server.open_connections == 0)
        assert (server.connections, server.requests) == (1, [])


async def test_an_answer_ends_early_over_tls_as_well(client: aiohttp.ClientSession, certificates: Certificates) -> None:
    async with ScriptedServer([CHEAP.cut(-1) + close(), CHEAP.cut(-1) + reset(), CHEAP], certificates.good) as server:
        for _ in range(2):
            with pytest.raises(aiohttp.ClientError):
                await get(client, server.url, ssl=certificates.client)
        assert await get(client, server.url, ssl=certificates.client) == b"0123456789"
        assert server.requests_per_connection == [1, 1, 1]


async def test_a_handshake_may_never_come(client: aiohttp.ClientSession, certificates: Certificates) -> None:
    async with ScriptedServer(on_accept(hang()), ssl=certificates.good) as server:
        with pytest.raises(TimeoutError):
            await get(
                client, server.url, ssl=certificates.client, timeout=aiohttp.ClientTimeout(total=0.03, ceil_threshold=9)
            )
        await eventually(lambda: server.open_connections == 0)


# Ports


def test_a_refused_port_refuses() -> None:
    with refused_port() as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=60)


def test_a_deaf_port_does_not_answer() -> None:
    with deaf_port() as port, pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", port), timeout=0.05)


# The proxy


async def test_without_a_toxic_bytes_pass_unchanged(client: aiohttp.ClientSession, server: ScriptedServer) -> None:
    async with FaultyProxy(server.host, server.port) as proxy:
        assert [await get(client, proxy.url) for _ in range(2)] == [b"0123456789"] * 2
        assert (proxy.connections, proxy.open_connections, server.requests_per_connection) == (1, 1, [2])


async def test_a_target_that_refuses_resets_the_client() -> None:
    with refused_port() as port:
        async with FaultyProxy("127.0.0.1", port) as proxy:
            caller = Caller(proxy.port)
            with caller, pytest.raises(ConnectionResetError):
                await caller.read()


async def test_latency_counts_each_way(client: aiohttp.ClientSession, server: ScriptedServer) -> None:
    async with FaultyProxy(server.host, server.port) as proxy:
        await get(client, proxy.url)
        proxy.toxic = Toxic(latency=0.03)
        started = asyncio.get_running_loop().time()
        await get(client, proxy.url)
        assert asyncio.get_running_loop().time() - started > 0.055
        assert proxy.connections == 1


async def test_bandwidth_is_limited(client: aiohttp.ClientSession) -> None:
    slow = Toxic(bandwidth=50_000)
    async with (
        ScriptedServer(http(body=b"x" * 5_000)) as server,
        FaultyProxy(server.host, server.port, toxic=slow) as proxy,
    ):
        started = asyncio.get_running_loop().time()
        assert len(await get(client, proxy.url)) == 5_000
        assert asyncio.get_running_loop().time() - started > 0.09


async def test_an_answer_in_slices_of_one_byte_is_the_same(
    client: aiohttp.ClientSession, server: ScriptedServer
) -> None:
    async with FaultyProxy(server.host, server.port, toxic=Toxic(slice_size=1)) as proxy:
        assert await get(client, proxy.url) == b"0123456789"


async def test_slices_may_drip() -> None:
    dripping = Toxic(slice_size=2, every=0.02)
    async with (
        ScriptedServer(send(b"abc")) as server,
        FaultyProxy(server.host, server.port, toxic=dripping) as proxy,
    ):
        with Caller(proxy.port) as caller:
            await caller.ask()
            assert [await caller.read(), await caller.read()] == [b"ab", b"c"]


@pytest.mark.parametrize("after", [0, 7, len(CHEAP.data) - 1])
async def test_an_answer_is_cut_by_a_fin_after_so_many_bytes(server: ScriptedServer, after: int) -> None:
    async with FaultyProxy(server.host, server.port, toxic=Toxic(after=after)) as proxy:
        with Caller(proxy.port) as caller:
            await caller.ask()
            assert await caller.read_to_end() == CHEAP.data[:after]
        await eventually(lambda: proxy.open_connections == server.open_connections == 0)


async def test_an_answer_is_cut_by_a_reset_after_so_many_bytes(server: ScriptedServer) -> None:
    async with FaultyProxy(server.host, server.port, toxic=Toxic(after=7, ending=Ending.RST)) as proxy:
        with Caller(proxy.port) as caller:
            await caller.ask()
            with pytest.raises(ConnectionResetError):
                await caller.read_to_end()
        await eventually(lambda: proxy.open_connections == server.open_connections == 0)


async def test_an_answer_vanishes_in_a_hole_after_so_many_bytes(server: ScriptedServer) -> None:
    async with FaultyProxy(server.host, server.port, toxic=Toxic(after=7, ending=Ending.HOLE)) as proxy:
        with Caller(proxy.port) as caller:
            await caller.ask()
            assert await caller.read() == CHEAP.data[:7]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(caller.read(), 0.03)
        await eventually(lambda: proxy.open_connections == 0)


@pytest.mark.parametrize("ending", Ending)
async def test_a_connection_is_ended_on_accept_and_the_target_hears_nothing(
    server: ScriptedServer, ending: Ending
) -> None:
    async with FaultyProxy(server.host, server.port, toxic=Toxic(on_accept=ending)) as proxy:
        with Caller(proxy.port) as caller:
            if ending is Ending.FIN:
                assert await caller.read() == b""
            else:
                with pytest.raises(TimeoutError if ending is Ending.HOLE else ConnectionResetError):
                    await asyncio.wait_for(caller.read(), 0.03)
        await eventually(lambda: proxy.open_connections == 0)
        assert (proxy.connections, server.connections) == (1, 0)


async def corrupted(server: ScriptedServer, seed: int) -> bytes:
    toxic = Toxic(corrupt=range(len(CHEAP.data) - 10, len(CHEAP.data)))
    async with FaultyProxy(server.host, server.port, toxic=toxic, seed=seed) as proxy:
        with Caller(proxy.port) as caller:
            await caller.ask()
            return await caller.read()


async def test_one_byte_is_corrupted_as_the_seed_says(server: ScriptedServer) -> None:
    spoilt = await corrupted(server, 1)
    wrong = [at for at, byte in enumerate(spoilt) if byte != CHEAP.data[at]]
    assert len(wrong) == 1
    assert len(CHEAP.data) - 10 <= wrong[0] < len(spoilt) == len(CHEAP.data)
    assert spoilt == await corrupted(server, 1)
    assert len({await corrupted(server, seed) for seed in range(5)}) > 1


async def test_a_chooser_decides_for_each_connection(server: ScriptedServer) -> None:
    drawn: list[float] = []

    async with FaultyProxy(server.host, server.port, seed=3) as proxy:
        proxy.toxic = lambda chance: drawn.append(chance.random()) or Toxic()
        for _ in range(2):
            with Caller(proxy.port) as caller:
                await caller.ask()
                await caller.read()
    assert len(set(drawn)) == 2


@pytest.mark.parametrize("ending", [Ending.FIN, Ending.RST])
async def test_idle_connections_are_cut_and_busy_ones_are_not(ending: Ending) -> None:
    async with ScriptedServer([CHEAP, hang()]) as server, FaultyProxy(server.host, server.port) as proxy:
        with Caller(proxy.port) as idle, Caller(proxy.port) as busy:
            await idle.ask()
            await idle.read()
            await busy.ask()
            await eventually(lambda: len(server.requests) == 2)
            assert await proxy.cut_idle(ending) == 1
            if ending is Ending.FIN:
                assert await idle.read() == b""
            else:
                with pytest.raises(ConnectionResetError):
                    await idle.read()
            await eventually(lambda: proxy.open_connections == server.open_connections == 1)


async def test_an_idle_connection_can_go_dark(server: ScriptedServer) -> None:
    async with FaultyProxy(server.host, server.port) as proxy:
        with Caller(proxy.port) as caller:
            await caller.ask()
            await caller.read()
            assert await proxy.cut_idle(Ending.HOLE) == 1
            await caller.ask()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(caller.read(), 0.03)
            assert len(server.requests) == 1


# Cancelling


async def test_every_suspension_is_cancelled_once() -> None:
    entered: list[int] = []

    async def three_steps() -> str:
        entered.append(0)
        for _ in range(3):
            await asyncio.sleep(0)
            entered[-1] += 1
        return "done"

    cuts = await cancel_at_every_suspension(three_steps)
    assert entered == [0, 1, 2, 3]
    assert [cut.cancelled for cut in cuts] == [True, True, True, False]
    assert cuts[-1].result == "done"


async def test_a_swallowed_cancellation_is_told() -> None:
    async def stubborn() -> int:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            return 7
        return 8

    with pytest.raises(AssertionError, match="suspension 1, it returned 7"):
        await cancel_at_every_suspension(stubborn)


async def test_a_cancellation_turned_into_an_error_is_told() -> None:
    async def translated() -> None:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            raise KeyError from None

    with pytest.raises(AssertionError, match="raised KeyError"):
        await cancel_at_every_suspension(translated)


async def test_the_uncancelled_run_raises_its_own_error() -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError

    with pytest.raises(KeyError):
        await cancel_at_every_suspension(fails)


async def test_a_late_cancellation_comes_between_the_result_and_its_use() -> None:
    given: list[asyncio.Future[str]] = []
    taken: list[str] = []

    async def take() -> None:
        future = asyncio.get_running_loop().create_future()
        given.append(future)
        asyncio.get_running_loop().call_soon(future.set_result, "precious")
        taken.append(await future)

    await cancel_at_every_suspension(take, late=True)
    assert [future.result() for future in given] == ["precious", "precious"]
    assert taken == ["precious"]


@pytest.mark.looptime
async def test_suspensions_are_counted_on_a_loop_whose_time_jumps() -> None:
    async def hours() -> None:
        async with asyncio.timeout(7200):
            await asyncio.sleep(3600)
        await asyncio.sleep(3600)

    started = time.monotonic()
    assert len(await cancel_at_every_suspension(hours)) == 3
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("late", [False, True])
async def test_real_requests_are_cancelled_everywhere(late: bool) -> None:
    async with ScriptedServer(CHEAP.cut(20) + pause(0.001) + CHEAP.data[20:]) as server:

        async def request() -> bytes:
            async with aiohttp.ClientSession() as client:
                return await get(client, server.url)

        async def settle(_: object) -> None:
            await eventually(lambda: server.open_connections == 0)

        async with assert_no_leaks():
            cuts = await cancel_at_every_suspension(request, settle=settle, late=late)
        assert len(cuts) > 3
        assert cuts[-1].result == b"0123456789"


@pytest.mark.looptime
async def test_server_and_client_share_a_loop_whose_time_jumps() -> None:
    patient = aiohttp.ClientTimeout(total=None)
    async with (
        ScriptedServer(drip(http(body=b"abc"), 16, 600)) as server,
        aiohttp.ClientSession(timeout=patient) as client,
    ):
        started, began = time.monotonic(), asyncio.get_running_loop().time()
        assert await get(client, server.url) == b"abc"
        assert time.monotonic() - started < 60
        assert asyncio.get_running_loop().time() - began >= 600


@pytest.mark.looptime
async def test_requests_are_cancelled_everywhere_while_time_jumps() -> None:
    async with ScriptedServer(CHEAP) as server:

        async def request_twice() -> bytes:
            async with aiohttp.ClientSession() as client:
                await get(client, server.url)
                await asyncio.sleep(10)
                return await get(client, server.url)

        async with assert_no_leaks():
            cuts = await cancel_at_every_suspension(request_twice)
        assert cuts[-1].result == b"0123456789"


async def test_a_cancelled_driver_ends_what_it_drives() -> None:
    async with assert_no_leaks():
        driver = asyncio.create_task(cancel_at_every_suspension(lambda: asyncio.sleep(60), late=True))
        await asyncio.sleep(0)
        driver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await driver


# Leaks


async def test_a_task_left_behind_is_a_leak() -> None:
    with pytest.raises(AssertionError, match="tasks left behind"):
        async with assert_no_leaks(grace=0.01):
            task = asyncio.create_task(asyncio.sleep(60))
    task.cancel()


async def test_a_task_that_ends_by_itself_is_none() -> None:
    async with assert_no_leaks():
        task = asyncio.create_task(asyncio.sleep(0.02))
    assert task.done()


async def test_a_held_connection_is_a_leak(client: aiohttp.ClientSession) -> None:
    async with ScriptedServer(CHEAP.cut(-1) + hang()) as server:
        with pytest.raises(AssertionError, match="connections still held"):
            async with assert_no_leaks(client, grace=0.01):
                response = await client.get(server.url)
        response.close()


async def test_a_released_connection_and_an_open_server_are_none() -> None:
    async with aiohttp.ClientSession() as client, ScriptedServer(CHEAP) as server:
        async with assert_no_leaks(lambda: client.connector):
            await get(client, server.url)
        assert server.open_connections == 1


async def test_an_error_that_nobody_retrieved_is_a_leak() -> None:
    with pytest.raises(AssertionError, match="never retrieved"):
        async with assert_no_leaks():
            asyncio.get_running_loop().create_future().set_exception(KeyError("lost"))


async def test_a_block_that_raises_raises_that() -> None:
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    with pytest.raises(KeyError):
        async with assert_no_leaks():
            await _fail()
    assert loop.get_exception_handler() is before


async def _fail() -> None:
    raise KeyError


# The clock


BUSY = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
while True:
    pass
"""
MEASURED = """
import os, time
from tests.rig import given_time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
began, given = time.monotonic(), given_time()
while time.monotonic() < began + 0.5:
    pass
print((given_time() - given) / (time.monotonic() - began))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path(STATISTICS).exists(), reason="this system does not count what threads wait")
def test_what_others_take_of_the_processor_does_not_count(unmeasured: None) -> None:
    """It shares a processor with three that are busy."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(3)]
    try:
        share = subprocess.check_output([sys.executable, "-c", MEASURED])
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert float(share) < 0.6


@pytest.mark.parametrize(("takes", "least", "most"), [(0.3, -0.1, 0.2), (0.0, -0.35, -0.1), (0.7, 0.2, 60.0)])
async def test_lateness_is_what_a_bare_timeout_has_not(takes: float, least: float, most: float) -> None:
    assert least <= await lateness(asyncio.sleep(takes), 0.3) <= most
