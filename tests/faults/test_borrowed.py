"""Rows 157 and 159: a caller's own aiohttp session, and the code in it."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from runflow_async import ConfigurationError, RunflowSession, TransportError
from tests.faults.tables import BATCH_ID, GOOD, QUICK, connect
from tests.rig import ScriptedServer, close, http, refused_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BODY = GOOD.data.split(b"\r\n\r\n", 1)[1]


class Imitation:
    """Has what a request needs, and is none of aiohttp's, as the clients that wrap a session are."""

    connector = None

    def get(self, *_: Any, **__: Any) -> None: ...


@pytest.mark.parametrize(
    "given",
    [False, 0, "http://proxy", object(), Imitation(), aiohttp.ClientSession, aiohttp.ClientTimeout()],
    ids=lambda given: type(given).__name__,
)
def test_row_157_what_is_no_aiohttp_session_is_refused_at_the_call(given):
    with pytest.raises(ConfigurationError, match=r"http must be an aiohttp\.ClientSession, .*not (a|the class) \w+"):
        RunflowSession("k", http=given)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:aiohttp")
async def test_row_159_a_session_with_credentials_of_its_own_is_refused_at_the_call():
    with pytest.warns(DeprecationWarning, match="auth"):
        own = aiohttp.ClientSession(auth=aiohttp.BasicAuth("me", "secret"))
    async with own:
        with pytest.raises(ConfigurationError, match="auth=") as caught:
            RunflowSession("k", http=own)
    assert "secret" not in str(caught.value)


async def test_row_159_our_key_goes_out_also_where_netrc_has_another(tmp_path: Path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with ScriptedServer(GOOD) as server, aiohttp.ClientSession(trust_env=True) as own:
        await connect(server, http=own).get_batch(BATCH_ID)
    assert b"Authorization: Bearer rf_test_key\r\n" in server.requests[0]


async def test_a_middleware_sees_and_may_replace_the_headers_of_a_request(monkeypatch):
    """Also of a session that trusts the environment, where they are added later."""
    for trusting in (False, True):

        async def swap(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
            assert request.headers["Authorization"] == "Bearer rf_test_key"
            request.headers["Authorization"] = "Bearer of the gateway"
            return await handler(request)

        async with (
            ScriptedServer(GOOD) as server,
            aiohttp.ClientSession(middlewares=(swap,), trust_env=trusting) as own,
        ):
            await connect(server, http=own).get_batch(BATCH_ID)
        assert b"Authorization: Bearer of the gateway\r\n" in server.requests[0]


async def test_a_session_that_does_not_decompress_is_as_good_as_any():
    zipped = http(200, gzip.compress(BODY), {"Content-Encoding": "gzip"})
    async with ScriptedServer(zipped) as server, aiohttp.ClientSession(auto_decompress=False) as own:
        assert (await connect(server, http=own).get_batch(BATCH_ID)).is_terminal


async def test_a_body_that_a_middleware_has_read_already_is_taken_from_there():
    async def look(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
        response: aiohttp.ClientResponse = await handler(request)
        await response.read()
        return response

    async with ScriptedServer(GOOD) as server, aiohttp.ClientSession(middlewares=(look,)) as own:
        assert (await connect(server, http=own).get_batch(BATCH_ID)).is_terminal
    assert len(server.requests) == 1


def in_a_middleware(error: BaseException) -> aiohttp.ClientSession:
    async def fail(_: Any, __: Any) -> aiohttp.ClientResponse:
        raise error

    return aiohttp.ClientSession(middlewares=(fail,))


def in_a_middleware_after_the_answer(error: Exception) -> aiohttp.ClientSession:
    async def fail(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
        (await handler(request)).close()
        raise error

    return aiohttp.ClientSession(middlewares=(fail,))


def in_a_trace_of(event: str) -> Callable[[Exception], aiohttp.ClientSession]:
    def make(error: Exception) -> aiohttp.ClientSession:
        async def fail(*_: Any) -> None:
            raise error

        config = aiohttp.TraceConfig()
        getattr(config, event).append(fail)
        return aiohttp.ClientSession(trace_configs=[config])

    return make


@pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")
def in_a_subclass(error: Exception) -> aiohttp.ClientSession:
    class Own(aiohttp.ClientSession):
        async def _request(self, *_: Any, **__: Any) -> aiohttp.ClientResponse:
            raise error

    return Own()


HOOKS = {
    "a middleware": in_a_middleware,
    "a middleware after the answer": in_a_middleware_after_the_answer,
    "a trace of the start": in_a_trace_of("on_request_start"),
    "a trace of the connecting": in_a_trace_of("on_connection_create_start"),
    "a trace of the end": in_a_trace_of("on_request_end"),
    "a subclass": in_a_subclass,
}
ERRORS = [
    KeyError("tenant"),
    ValueError("no tenant"),
    RuntimeError("no tenant"),
    FileNotFoundError(2, "no token"),
    ConnectionResetError("mine"),
    aiohttp.ClientPayloadError("mine"),
]


@pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")
@pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS)
@pytest.mark.parametrize("error", ERRORS, ids=repr)
async def test_row_159_what_the_code_in_a_session_raises_comes_out_once_and_as_it_is(hook, error):
    async with ScriptedServer(GOOD) as server, hook(error) as own:
        for call in (lambda s: s.get_batch(BATCH_ID), lambda s: s.wait_for_batch(BATCH_ID)):
            asked = len(server.requests)
            with pytest.raises(type(error)) as caught:
                await call(connect(server, http=own))
            assert caught.value is error
            assert len(server.requests) <= asked + 1


@pytest.mark.parametrize("error", [StopAsyncIteration("mine"), asyncio.CancelledError("mine")], ids=repr)
async def test_row_159_what_would_look_like_the_end_of_a_loop_or_a_task_becomes_a_cause(error):
    async def iterate(session: RunflowSession) -> None:
        async for _ in session.wait_for_batch(BATCH_ID):
            pass

    async with ScriptedServer(GOOD) as server, in_a_middleware(error) as own:
        for call in (lambda s: s.get_batch(BATCH_ID), lambda s: s.wait_for_batch(BATCH_ID), iterate):
            with pytest.raises(RuntimeError, match="the aiohttp session raised") as caught:
                await asyncio.create_task(call(connect(server, http=own)))
            assert caught.value.__cause__ is error


async def test_row_159_what_the_network_does_beneath_a_middleware_is_the_networks():
    async def pass_on(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
        return await handler(request)

    async with aiohttp.ClientSession(middlewares=(pass_on,)) as own:
        with refused_port() as port:
            session = RunflowSession("k", base_url=f"http://127.0.0.1:{port}", http=own, retry=QUICK)
            with pytest.raises(TransportError, match="cannot connect"):
                await session.get_batch(BATCH_ID)
        async with ScriptedServer([close(), GOOD]) as server:
            assert (await connect(server, http=own).wait_for_batch(BATCH_ID)).is_terminal


async def test_row_159_a_middleware_that_takes_too_long_is_a_request_that_does():
    async def hang(_: Any, __: Any) -> aiohttp.ClientResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with ScriptedServer(GOOD) as server, aiohttp.ClientSession(middlewares=(hang,)) as own:
        with pytest.raises(TransportError, match="in time"):
            await connect(server, http=own, request_timeout=0.01).get_batch(BATCH_ID)


async def test_row_159_what_aiohttp_refuses_to_send_is_a_matter_of_configuration(tmp_path: Path, monkeypatch):
    """Of netrc and a default header, aiohttp takes neither."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with (
        ScriptedServer(GOOD) as server,
        aiohttp.ClientSession(trust_env=True, headers={"Authorization": "Bearer other"}) as own,
    ):
        with pytest.raises(ConfigurationError, match="AUTHORIZATION"):
            await connect(server, http=own).wait_for_batch(BATCH_ID)
    assert server.requests == []


async def test_a_scheme_that_the_connector_does_not_allow_is_a_matter_of_configuration():
    class OnlyTls(aiohttp.TCPConnector):
        allowed_protocol_schema_set = frozenset({"https"})

    async with ScriptedServer(GOOD) as server, aiohttp.ClientSession(connector=OnlyTls()) as own:
        with pytest.raises(ConfigurationError, match=r"cannot make a request .*: http://"):
            await connect(server, http=own).get_batch(BATCH_ID)
    assert server.connections == 0


async def test_a_proxy_that_is_down_is_what_the_error_speaks_of():
    with refused_port() as port:
        async with aiohttp.ClientSession(proxy=f"http://127.0.0.1:{port}") as own:
            session = RunflowSession("k", base_url="http://127.0.0.1:1", http=own, retry=QUICK)
            with pytest.raises(TransportError, match="cannot connect to the proxy"):
                await session.get_batch(BATCH_ID)
