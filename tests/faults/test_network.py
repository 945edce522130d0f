"""Section A of the fault matrix: what networks and broken servers do, on real sockets."""

from __future__ import annotations

import asyncio
import ssl
import warnings
from uuid import UUID

import aiohttp
import pytest

from runflow_async import (
    CertificateError,
    MalformedResponseError,
    RetryPolicy,
    RunflowSession,
    TransportError,
)
from tests.faults.tables import ATTEMPTS, BATCH_ID, GOOD, QUICK, RUNNING, Row, connect, passes, stays, table
from tests.rig import (
    Certificates,
    FaultyProxy,
    Reply,
    ScriptedServer,
    Toxic,
    asked_in,
    close,
    deaf_port,
    drip,
    eventually,
    hang,
    http,
    json_batch,
    on_accept,
    push,
    refused_port,
    reset,
    send,
)

pytestmark = pytest.mark.usefixtures("both_lanes")

BODY = GOOD.data.split(b"\r\n\r\n", 1)[1]
FOREIGN = GOOD.data.replace(b"0f0e0d0c", b"ffffffff")


def head(*lines: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode()


ROWS = [
    Row(5, "reads the request, closes without answer", close(), "R", TransportError, "closed the connection"),
    Row(6, "RST after the request", reset(), "R", TransportError, "closed the connection"),
    Row(6, "RST mid-header", GOOD.cut(30) + reset(), "R", TransportError, "closed the connection"),
    Row(7, "FIN mid-header", GOOD.cut(60) + close(), "R", TransportError, "closed", "Content-Type"),
    Row(8, "FIN mid-body", GOOD.cut(-20) + close(), "R", TransportError, "before the answer was complete"),
    Row(8, "RST mid-body", GOOD.cut(-20) + reset(), "R", TransportError, "before the answer was complete"),
    Row(9, "truncated chunked body", http(body=BODY, chunked=True).cut(-40) + close(), "R", TransportError, "complete"),
    Row(
        10, "no length, early FIN", http(body=BODY, length=None).cut(-40) + close(), "R", MalformedResponseError, "cut"
    ),
    Row(11, "black hole after connect", hang(), "R", TransportError, "in time"),
    Row(12, "header drip", drip(GOOD, 1, 0.05), "R", TransportError, "in time"),
    Row(12, "body drip", GOOD.cut(-40) + drip(GOOD.data[-40:], 1, 0.05), "R", TransportError, "in time"),
    Row(16, "garbage", send(b"garbage\r\n\r\n") + close(), "R", TransportError, "HTTP/1.1", "garbage"),
    Row(16, "HTTP/2 preface", send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") + close(), "R", TransportError, "HTTP/1.1"),
    Row(16, "TLS alert", send(b"\x15\x03\x01\x00\x02\x02\x28\r\n") + close(), "R", TransportError, "HTTP/1.1"),
    Row(17, "header over 8190 bytes", http(body=BODY, headers={"X": "a" * 9000}), "M", TransportError, "not HTTP"),
    Row(
        17,
        "200 headers",
        http(body=BODY, headers=[(f"X{n}", "a") for n in range(200)]),
        "M",
        TransportError,
        "not HTTP",
    ),
    Row(17, "NUL in a header", http(body=BODY, headers={"X": "a\0b"}), "M", TransportError, "not HTTP"),
    Row(18, "Content-Length no number", send(head("Content-Length: abc") + BODY), "M", TransportError, "not HTTP"),
    Row(
        18,
        "two Content-Lengths",
        send(head("Content-Length: 2", "Content-Length: 3") + BODY),
        "M",
        TransportError,
        "not HTTP",
    ),
    Row(
        18,
        "length and chunked",
        send(head("Content-Length: 2", "Transfer-Encoding: chunked") + b"0\r\n\r\n"),
        "M",
        TransportError,
        "not HTTP",
    ),
    Row(18, "bad chunk size", send(head("Transfer-Encoding: chunked") + b"zz\r\n{}"), "M", TransportError, "not HTTP"),
    Row(19, "gzip that is none", http(body=BODY, headers={"Content-Encoding": "gzip"}), "M", MalformedResponseError),
    Row(20, "unknown encoding", http(body=BODY, headers={"Content-Encoding": "x-own"}), "M", MalformedResponseError),
    Row(21, "103 then close", send(b"HTTP/1.1 103 Early Hints\r\n\r\n") + close(), "R", TransportError, "closed"),
    Row(21, "100 then close", send(b"HTTP/1.1 100 Continue\r\n\r\n") + close(), "R", TransportError, "closed"),
]


@table(ROWS)
async def test_a_fault_that_stays_is_raised_after_exactly_the_promised_requests(row):
    error, server = await stays(row, request_timeout=0.15)
    assert type(error) is row.error
    assert row.says in str(error)
    assert row.hides not in str(error)
    assert len(server.requests) == ATTEMPTS[row.kind]
    assert server.connections == ATTEMPTS[row.kind] or row.number in (19, 20)


@table(ROWS)
async def test_a_fault_that_passes_costs_one_more_request_and_nobody_notices(row):
    server = await passes(row, request_timeout=0.15)
    assert len(server.requests) == 2


class TestConnecting:
    async def test_row_1_refused(self):
        with refused_port() as port:
            session = RunflowSession("k", base_url=f"http://127.0.0.1:{port}", retry=QUICK)
            with pytest.raises(TransportError, match=r"cannot connect to 127\.0\.0\.1"):
                await session.get_batch(BATCH_ID)
            await session.close()

    async def test_row_2_a_name_that_does_not_exist_is_named(self):
        session = RunflowSession("k", base_url="https://nowhere.invalid", retry=RetryPolicy(attempts=2, wait_max=0.01))
        with pytest.raises(TransportError, match=r"nowhere\.invalid"):
            await session.get_batch(BATCH_ID)
        await session.close()

    async def test_row_3_a_connect_that_nobody_answers(self):
        with deaf_port() as port:
            session = RunflowSession(
                "k", base_url=f"http://127.0.0.1:{port}", request_timeout=0.1, retry=RetryPolicy(attempts=1)
            )
            with pytest.raises(TransportError, match="in time"):
                await session.get_batch(BATCH_ID)
            await session.close()

    @pytest.mark.looptime
    async def test_row_3_is_given_up_after_ten_seconds_where_a_request_may_take_longer(self):
        with deaf_port() as port:
            session = RunflowSession(
                "k", base_url=f"http://127.0.0.1:{port}", request_timeout=300, retry=RetryPolicy(attempts=1)
            )
            clock = asyncio.get_running_loop().time
            started = clock()
            with pytest.raises(TransportError, match="in time"):
                await session.get_batch(BATCH_ID)
            assert clock() - started == pytest.approx(10, abs=0.01)
            await session.close()

    async def test_row_4_rst_on_accept_is_one_connection_for_each_attempt(self):
        async with ScriptedServer(on_accept(reset())) as server, connect(server) as session:
            with pytest.raises(TransportError):
                await session.get_batch(BATCH_ID)
        assert (server.connections, len(server.requests)) == (5, 0)


class TestSlowness:
    async def test_row_13_latency_and_a_thin_line_are_borne(self):
        async with (
            ScriptedServer(GOOD) as server,
            FaultyProxy("127.0.0.1", server.port, toxic=Toxic(latency=0.03, bandwidth=20_000)) as proxy,
            RunflowSession("k", base_url=proxy.url) as session,
        ):
            assert (await session.wait_for_batch(BATCH_ID)).is_terminal
        assert len(server.requests) == 1

    async def test_row_13_slow_answers_do_not_shorten_the_interval(self):
        async with (
            ScriptedServer([RUNNING, RUNNING, GOOD]) as server,
            FaultyProxy("127.0.0.1", server.port, toxic=Toxic(latency=0.05)) as proxy,
            RunflowSession("k", base_url=proxy.url) as session,
        ):
            wait = session.wait_for_batch(BATCH_ID, interval=0.05)
            await wait
        assert wait.stats.elapsed >= 3 * 0.1 + 2 * 0.05

    async def test_row_14_single_bytes_make_the_same_batch(self):
        async with ScriptedServer(drip(GOOD, 1, 0)) as server, connect(server) as session:
            assert (await session.wait_for_batch(BATCH_ID)).items[0].status_code == "succeeded"

    async def test_row_15_a_corrupted_byte_is_found_and_asked_for_again(self):
        broken = http(body=BODY.replace(b'{"id"', b'{"\xfed"', 1))
        async with ScriptedServer([broken, GOOD]) as server, connect(server) as session:
            assert (await session.wait_for_batch(BATCH_ID)).is_terminal
        assert len(server.requests) == 2


class TestReusedConnections:
    async def test_row_22_a_server_that_closes_after_every_answer_is_not_noticed(self):
        async with ScriptedServer([RUNNING + close()] * 19 + [GOOD]) as server, connect(server) as session:
            wait = session.wait_for_batch(BATCH_ID, interval=0.001)
            await wait
        assert (wait.stats.polls, wait.stats.retries) == (20, 0)

    @pytest.mark.parametrize("ending", [close(), reset()], ids=["FIN", "RST"])
    async def test_row_5_and_23_a_reused_connection_found_closed_is_one_free_repeat(self, ending):
        """The server takes the second request on the connection and closes it: only then is it known to be dead."""
        async with ScriptedServer([RUNNING, ending, GOOD]) as server, connect(server) as session:
            wait = session.wait_for_batch(BATCH_ID, interval=0.01)
            await wait
        assert (wait.stats.polls, wait.stats.requests, wait.stats.retries) == (2, 3, 0)
        assert len(server.requests) == 3

    @pytest.mark.looptime
    async def test_a_connection_outlives_a_pause_of_a_minute_but_not_of_two(self, monkeypatch):
        """So that no poll at such an interval pays for a new one."""
        monkeypatch.setattr("aiohttp.connector.monotonic", asyncio.get_running_loop().time)
        async with ScriptedServer([RUNNING, RUNNING, GOOD]) as server, connect(server) as session:
            wait = session.wait_for_batch(BATCH_ID, interval=60)
            await anext(wait)
            await asyncio.sleep(59)
            assert server.open_connections == 1
            await wait
            assert (server.connections, len(server.requests)) == (1, 3)
            await asyncio.sleep(120)
            await eventually(lambda: server.open_connections == 0)

    async def test_row_23_a_connection_cut_while_idle_is_not_noticed(self):
        async with (
            ScriptedServer([RUNNING, GOOD]) as server,
            FaultyProxy("127.0.0.1", server.port) as proxy,
            RunflowSession("k", base_url=proxy.url) as session,
        ):
            wait = session.wait_for_batch(BATCH_ID, interval=0.1)
            await anext(wait)
            assert await proxy.cut_idle() == 1
            await wait
        assert wait.stats.retries == 0

    @pytest.mark.parametrize("after", [0.0, 0.02], ids=["at once", "later"])
    async def test_row_24_an_answer_nobody_asked_for_is_never_shown(self, after):
        """The next request on that connection gets it; its id gives it away, and the connection is closed."""
        script = [RUNNING + push(FOREIGN, after), GOOD, GOOD]
        async with ScriptedServer(script) as server, connect(server) as session:
            wait = session.wait_for_batch(BATCH_ID, interval=0.05)
            told = [(t.batch_id, t.current) async for t in wait]
        assert told == [(BATCH_ID, "running"), (BATCH_ID, "succeeded")]
        assert server.connections == 2

    async def test_row_28_a_connection_that_died_is_replaced_by_one_to_where_the_name_points_now(self):
        async with ScriptedServer([RUNNING, GOOD], host="localhost") as server, connect(server) as session:
            wait = session.wait_for_batch(BATCH_ID, interval=0.05)
            await anext(wait)
            assert session._transport._connections._connector._cached_hosts._ttl <= 10
            await wait


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return Certificates()


class TestTls:
    @pytest.mark.parametrize("fault", ["wrong_host", "expired", "untrusted", "self_signed"])
    async def test_row_26_a_server_that_cannot_prove_itself_gets_no_key(self, certificates, fault):
        async with (
            ScriptedServer(GOOD, ssl=getattr(certificates, fault), host="localhost") as server,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=certificates.client)) as http_session,
            connect(server, http=http_session) as session,
        ):
            with pytest.raises(CertificateError, match="prove"):
                await session.wait_for_batch(BATCH_ID)
        assert (server.connections, server.requests) == (1, [])

    async def test_row_26_also_with_the_environments_own_trust(self, certificates):
        async with ScriptedServer(GOOD, ssl=certificates.good, host="localhost") as server, connect(server) as session:
            with pytest.raises(CertificateError):
                await session.get_batch(BATCH_ID)
        assert (server.connections, server.requests) == (1, [])

    async def test_row_26_a_fingerprint_that_differs(self, certificates):
        pinned = aiohttp.TCPConnector(ssl=aiohttp.Fingerprint(b"\0" * 32))
        async with (
            ScriptedServer(GOOD, ssl=certificates.good, host="localhost") as server,
            aiohttp.ClientSession(connector=pinned) as http_session,
            connect(server, http=http_session) as session,
        ):
            with pytest.raises(CertificateError):
                await session.get_batch(BATCH_ID)
        assert server.requests == []

    async def test_a_good_certificate_is_good(self, certificates):
        async with (
            ScriptedServer([RUNNING, GOOD], ssl=certificates.good, host="localhost") as server,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=certificates.client)) as http_session,
            connect(server, http=http_session) as session,
        ):
            assert (await session.wait_for_batch(BATCH_ID, interval=0.01)).is_terminal
        assert server.connections == 1

    async def test_row_27_https_to_a_plain_port(self):
        async with ScriptedServer(on_accept(send(b"HTTP/1.1 400 Bad Request\r\n\r\n") + close())) as server:
            url = server.url.replace("http://", "https://")
            session = RunflowSession("k", base_url=url, retry=RetryPolicy(attempts=2, wait_max=0.01))
            with pytest.raises(TransportError) as caught:
                await session.get_batch(BATCH_ID)
            await session.close()
        assert not isinstance(caught.value, CertificateError)

    async def test_row_27_a_handshake_that_is_never_answered(self):
        async with ScriptedServer(on_accept(hang())) as server:
            url = server.url.replace("http://", "https://")
            session = RunflowSession("k", base_url=url, request_timeout=0.1, retry=RetryPolicy(attempts=1))
            with pytest.raises(TransportError, match="in time"):
                await session.get_batch(BATCH_ID)
            await session.close()

    async def test_tls_below_1_2_is_not_spoken(self):
        """The handshake ends before there is a certificate to look at, which would be refused."""
        outdated = Certificates().good
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            outdated.minimum_version = ssl.TLSVersion.TLSv1
            outdated.maximum_version = ssl.TLSVersion.TLSv1_1
        outdated.set_ciphers("ALL:@SECLEVEL=0")
        async with ScriptedServer(GOOD, ssl=outdated, host="localhost") as server, connect(server) as session:
            with pytest.raises(TransportError) as caught:
                await session.get_batch(BATCH_ID)
        assert not isinstance(caught.value, CertificateError)
        assert server.requests == []


class TestProxies:
    @pytest.mark.parametrize("status", [407, 403, 502])
    async def test_row_25_a_proxy_that_refuses_is_final(self, status):
        refusal = http(status, b"no", reason="No") + close()
        async with ScriptedServer(refusal) as proxy, aiohttp.ClientSession(proxy=proxy.url) as http_session:
            session = RunflowSession("rf_canary", base_url="https://api.runflow.io", http=http_session)
            with pytest.raises(TransportError, match="proxy refused") as caught:
                await session.wait_for_batch(BATCH_ID)
            assert caught.value.verdict == "final"
            await session.close()
        assert len(proxy.requests) == 1
        assert b"canary" not in proxy.requests[0]

    async def test_row_138_the_environments_proxy_and_netrc_are_not_used(self, monkeypatch, tmp_path):
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
        monkeypatch.setenv("NETRC", str(netrc))
        async with ScriptedServer(http(502)) as proxy, ScriptedServer(GOOD) as server:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            monkeypatch.setenv("http_proxy", proxy.url)
            async with connect(server) as session:
                await session.get_batch(BATCH_ID)
        assert proxy.connections == 0
        assert b"Authorization: Bearer rf_test_key" in server.requests[0]


async def test_a_hundred_waits_share_the_bounded_pool():
    def answer(number: int) -> Reply:
        return http(200, json_batch(asked_in(server.requests[number - 1]), ["succeeded"], "succeeded"))

    async with ScriptedServer(answer) as server, connect(server, max_connections=7) as session:
        await asyncio.gather(*(session.wait_for_batch(UUID(int=number)) for number in range(100)))
    assert server.connections <= 7
    assert len(server.requests) == 100
