"""What the lane does that aiohttp's client session does not, and when it is not used."""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import client_proto

from runflow_async import CertificateError, RunflowSession
from runflow_async._http.lane import Lane
from runflow_async._observing import Call
from tests.faults.tables import BATCH_ID, GOOD, RUNNING, connect
from tests.rig import Certificates, ScriptedServer, connections_in_use, eventually, hang, http, pause, push, send

if TYPE_CHECKING:
    from collections.abc import Callable

BODY = GOOD.data.split(b"\r\n\r\n", 1)[1]


def uses_the_lane(session: RunflowSession) -> bool:
    return isinstance(session._transport._connections.way, Lane)


async def request_of(prefix: str) -> tuple[str, list[str]]:
    """The request line, and the other lines in order, of a request below a prefix."""
    async with (
        ScriptedServer(GOOD, host="localhost") as server,
        RunflowSession("rf_key", base_url=f"{server.url}{prefix}", organization_id="an-organization") as session,
    ):
        await session.get_batch(BATCH_ID)
    line, *fields = server.requests[0].decode().replace(f":{server.port}\r\n", ":port\r\n").split("\r\n")
    return line, sorted(fields)


class TestRequests:
    @pytest.mark.parametrize("prefix", ["", "/", "/a/prefix", "/%7e//a%2Fb/"])
    async def test_are_the_same_as_those_of_a_client_session(self, monkeypatch, prefix):
        by_lane = await request_of(prefix)
        monkeypatch.setattr("runflow_async._http.connections.open_lane", lambda *_: None)
        assert by_lane == await request_of(prefix)


class TestConnections:
    async def test_carry_one_request_after_the_other_and_the_one_used_last_the_next(self):
        async with ScriptedServer(pause(0.01) + GOOD) as server, connect(server) as session:
            await asyncio.gather(*(session.get_batch(BATCH_ID) for _ in range(3)))
            for _ in range(4):
                await session.get_batch(BATCH_ID)
            assert uses_the_lane(session)
        assert sorted(server.requests_per_connection) == [1, 1, 5]

    @pytest.mark.parametrize(
        ("answer", "connections"),
        [
            pytest.param(http(200, BODY, {"Connection": "close"}), 2, id="closed by its header"),
            pytest.param(send(GOOD.data.replace(b"HTTP/1.1", b"HTTP/1.0")), 2, id="HTTP 1.0"),
            pytest.param(
                send(GOOD.data.replace(b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK\r\nConnection: keep-alive")),
                1,
                id="HTTP 1.0 kept alive",
            ),
            pytest.param(http(200, BODY, chunked=True), 1, id="chunked"),
            pytest.param(http(404, b"{}"), 1, id="a refusal"),
            pytest.param(http(404, b"x" * 200_000), 2, id="a refusal with a body that is not read to its end"),
            pytest.param(send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n") + GOOD.data, 1, id="early hints"),
            pytest.param(
                send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
                2,
                id="an upgrade",
            ),
            pytest.param(GOOD + push(GOOD.data), 2, id="an answer and another one"),
            pytest.param(GOOD + push(b"garbage"), 2, id="an answer and garbage"),
        ],
    )
    async def test_are_used_again_only_after_a_clean_end(self, answer, connections):
        async with ScriptedServer([answer, GOOD]) as server, connect(server) as session:
            await asyncio.gather(session.get_batch(BATCH_ID), return_exceptions=True)
            await asyncio.sleep(0.01)
            await session.get_batch(BATCH_ID)
        assert (server.connections, len(server.requests)) == (connections, 2)

    @pytest.mark.looptime
    async def test_are_dropped_once_they_have_been_idle_for_long(self):
        async with ScriptedServer(pause(0.01) + GOOD) as server, connect(server) as session:
            await asyncio.gather(*(session.get_batch(BATCH_ID) for _ in range(3)))
            for _ in range(3):
                await asyncio.sleep(60)
                await session.get_batch(BATCH_ID)
            assert server.requests_per_connection in ([4, 1, 1], [1, 4, 1], [1, 1, 4])
            lane = session._transport._connections.way
            assert lane._lines == set(lane._idle)
            assert len(lane._idle) == 1
            await eventually(lambda: server.open_connections == 1)

    async def test_have_one_parser_for_all_of_their_responses(self):
        async with ScriptedServer(GOOD) as server, connect(server) as session:
            await session.get_batch(BATCH_ID)
            (line,) = session._transport._connections.way._lines
            parser = line.protocol._parser
            await session.get_batch(BATCH_ID)
            assert line.protocol._parser is parser
        assert server.requests_per_connection == [2]

    async def test_receive_into_buffers_that_the_allocator_keeps(self):
        """Those of 128 KiB or more are got from the kernel, and returned to it, for each response."""
        async with ScriptedServer(GOOD) as server, connect(server) as session:
            await session.get_batch(BATCH_ID)
            (line,) = session._transport._connections.way._lines
            assert getattr(line.wire, "max_size", 0) < 128 * 1024

    async def test_on_which_something_arrived_that_nobody_asked_for_carry_no_further_request(self):
        async with ScriptedServer([RUNNING, GOOD]) as server, connect(server) as session:
            wait = session.wait_for_batch(BATCH_ID, interval=0.05)
            await anext(wait)
            assert await server.push(GOOD) == 1
            await wait
        assert (wait.stats.requests, wait.stats.retries, server.requests_per_connection) == (2, 0, [1, 1])


class TestDeadlines:
    async def test_of_requests_side_by_side_are_each_their_own(self):
        async with ScriptedServer(hang()) as server, connect(server, request_timeout=60) as session:
            clock, ends = asyncio.get_running_loop().time, dict[float, float]()

            async def get(seconds: float) -> None:
                with pytest.raises(Exception, match="in time"):
                    await session._transport.get("/", Call(None), sent=lambda: None, longest=seconds)
                ends[seconds] = clock()

            began = clock()
            await asyncio.gather(*map(get, (0.15, 0.05, 0.1)))
        assert list(ends) == [0.05, 0.1, 0.15]
        assert [end - began >= seconds - 0.001 for seconds, end in ends.items()] == [True] * 3

    @pytest.mark.looptime
    async def test_of_earlier_requests_do_no_harm_to_later_ones_on_the_same_connection(self):
        """The timer that was set for the first one goes off in the middle of the second one."""
        async with (
            ScriptedServer([RUNNING, pause(0.2) + GOOD]) as server,
            connect(server, request_timeout=0.3) as session,
        ):
            await session.get_batch(BATCH_ID)
            await asyncio.sleep(0.2)
            assert (await session.get_batch(BATCH_ID)).is_terminal
        assert server.connections == 1

    async def test_leave_no_timer_behind_when_the_session_is_closed(self):
        async with ScriptedServer(GOOD) as server:
            async with connect(server) as session:
                await session.get_batch(BATCH_ID)
                timer = session._transport._connections.way._timer
            assert timer.cancelled()


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return Certificates()


class TestTls:
    """With the trust of the environment."""

    @pytest.fixture(autouse=True)
    def trusted(self, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", certificates.client)

    async def test_is_set_up_once_for_all_polls(self, certificates):
        async with (
            ScriptedServer([RUNNING, RUNNING, GOOD], ssl=certificates.good, host="localhost") as server,
            connect(server) as session,
        ):
            await session.wait_for_batch(BATCH_ID, interval=0.01)
            assert uses_the_lane(session)
        assert server.requests_per_connection == [3]

    @pytest.mark.parametrize("fault", ["wrong_host", "expired", "untrusted", "self_signed"])
    async def test_is_refused_with_a_server_that_cannot_prove_itself(self, certificates, fault):
        """Row 26."""
        async with (
            ScriptedServer(GOOD, ssl=getattr(certificates, fault), host="localhost") as server,
            connect(server) as session,
        ):
            with pytest.raises(CertificateError, match="prove"):
                await session.get_batch(BATCH_ID)
            assert not connections_in_use(session)
        assert (server.connections, server.requests) == (1, [])

    @pytest.mark.looptime
    @pytest.mark.parametrize("answer", [hang(), GOOD.cut(-10) + hang()], ids=["request", "body"])
    async def test_is_closed_without_asking_the_server_when_its_response_is_not_wanted_any_more(
        self, certificates, answer
    ):
        """A server that does not answer may not answer a close either."""
        async with (
            ScriptedServer(answer, ssl=certificates.good, host="localhost") as server,
            connect(server) as session,
        ):
            task = asyncio.create_task(session.get_batch(BATCH_ID))
            await eventually(lambda: server.requests)
            (line,) = session._transport._connections.way._lines
            socket = line.wire.get_extra_info("socket")
            task.cancel()
            await asyncio.wait({task})
            await asyncio.sleep(0)
            assert socket.fileno() == -1


def other_signature(self: object, *, some_argument: int) -> None: ...


class Wrapper:
    """Claims to be what it wraps, as those of tracers do."""

    def __init__(self, wrapped: Callable[..., Any]) -> None:
        self._wrapped = wrapped
        self.calls = 0

    @property
    def __class__(self) -> Any:
        return type(self._wrapped)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def __get__(self, instance: object, _: object) -> Callable[..., Any]:
        self.calls += 1
        return functools.partial(self._wrapped, instance)


def reason(caplog: pytest.LogCaptureFixture) -> str:
    (record,) = (record for record in caplog.records if "aiohttp.ClientSession" in record.msg)
    assert record.levelno == logging.DEBUG
    return record.getMessage()


class TestWhereItIsNotUsed:
    @pytest.mark.parametrize("name", ["__init__", "_request"])
    async def test_what_replaces_methods_of_aiohttps_client_session_sees_the_requests(self, caplog, monkeypatch, name):
        caplog.set_level(logging.DEBUG, "runflow_async")
        original = vars(aiohttp.ClientSession)[name]
        calls = []

        @functools.wraps(original)
        def replacement(self, *arguments, **keywords):
            calls.append(self)
            return original(self, *arguments, **keywords)

        monkeypatch.setattr(aiohttp.ClientSession, name, replacement)
        async with ScriptedServer(GOOD) as server, connect(server) as session:
            await session.get_batch(BATCH_ID)
        assert len(calls) == 1
        assert f"{name} was replaced" in reason(caplog)

    async def test_so_does_what_claims_to_be_the_method(self, caplog, monkeypatch):
        caplog.set_level(logging.DEBUG, "runflow_async")
        wrapper = Wrapper(vars(aiohttp.ClientSession)["_request"])
        monkeypatch.setattr(aiohttp.ClientSession, "_request", wrapper)
        async with ScriptedServer(GOOD) as server, connect(server) as session:
            await session.get_batch(BATCH_ID)
        assert wrapper.calls == 1
        assert "_request was replaced" in reason(caplog)

    @pytest.mark.parametrize(
        ("owner", "name", "value"),
        [
            (aiohttp.TCPConnector, "connect", other_signature),
            (aiohttp.ClientRequest, "__init__", other_signature),
            (aiohttp.StreamReader, "read_nowait", other_signature),
            (client_proto.ResponseHandler, "set_response_params", other_signature),
            (client_proto.ResponseHandler, "should_close", None),
        ],
    )
    async def test_an_aiohttp_that_has_changed_is_noticed(self, caplog, monkeypatch, owner, name, value):
        caplog.set_level(logging.DEBUG, "runflow_async")
        async with ScriptedServer(GOOD) as server, connect(server) as session:
            with monkeypatch.context() as patch:
                if value is None:
                    patch.delattr(owner, name)
                else:
                    patch.setattr(owner, name, value)
                await session._transport._connections.open()
            await session.get_batch(BATCH_ID)
            assert not uses_the_lane(session)
        assert reason(caplog)

    async def test_a_session_of_the_callers_own_is_used_as_ever(self):
        async with (
            ScriptedServer(GOOD) as server,
            aiohttp.ClientSession() as http,
            connect(server, http=http) as session,
        ):
            await session.get_batch(BATCH_ID)
            assert not uses_the_lane(session)
