"""Section F of the fault matrix: what must not get out, whatever comes in."""

from __future__ import annotations

import asyncio
import gc
import logging
import pickle
import traceback
import warnings

import pytest

from runflow_async import RetryPolicy, RunflowError, RunflowSession, ServerError
from runflow_async.emulator import Emulator, faults
from tests.faults import test_bodies, test_network, test_statuses
from tests.faults.tables import BATCH_ID, GOOD, RUNNING, connect, table
from tests.rig import Certificates, ScriptedServer, hang, http, refused_port

pytestmark = [pytest.mark.untraced, pytest.mark.usefixtures("both_lanes", "own_pickling")]

CANARY = "rf_live_canary_9c1f7d"


def traces_of(error: BaseException) -> str:
    """Everything that could be shown of an error: texts, arguments, causes, contexts, frames with locals, pickle."""
    shown = traceback.format_exception(error)
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        shown += [str(current), repr(current), repr(current.args), repr(vars(current))]
        frames = traceback.walk_tb(current.__traceback__)
        shown += traceback.StackSummary.extract(frames, capture_locals=True).format()
        pending += [current.__cause__, current.__context__]
    shown.append(repr(pickle.dumps(error)))
    return "\n".join(shown)


@table([*test_network.ROWS, *test_statuses.ROWS, *test_bodies.ROWS])
@pytest.mark.looptime
async def test_row_148_the_key_is_in_nothing_that_is_shown(caplog, row):
    """At DEBUG level and with asyncio's debug mode, which keeps the frames of everything."""
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        async with ScriptedServer([RUNNING, row.fault]) as server:
            cap = 1500 if row.number in (108, 110) else 10**6
            policy = RetryPolicy(wait_initial=20, wait_max=20)
            session = RunflowSession(
                CANARY, base_url=server.url, retry=policy, request_timeout=0.3, max_response_bytes=cap
            )
            wait = session.wait_for_batch(BATCH_ID, max_outage=60)
            with pytest.raises(RunflowError) as caught:
                await wait
            shown = [traces_of(caught.value), repr(wait), repr(session), repr(vars(session._transport))]
            await session.close()
        gc.collect()
    shown += [f"{record.getMessage()} {record.__dict__}" for record in caplog.records] + [
        str(w.message) for w in warned
    ]
    assert CANARY in server.requests[0].decode()
    assert CANARY not in "\n".join(shown)


@pytest.mark.parametrize("fault", ["refused", "certificate", "hang", "wrong key"])
async def test_row_148_nor_where_no_answer_comes(fault):
    certificates = Certificates()
    script = hang() if fault == "hang" else http(401, b"{}")
    context = certificates.untrusted if fault == "certificate" else None
    async with ScriptedServer(script, ssl=context, host="localhost") as server:
        with refused_port() as port:
            url = f"http://127.0.0.1:{port}" if fault == "refused" else server.url
            policy = RetryPolicy(attempts=1)
            async with RunflowSession(CANARY, base_url=url, retry=policy, request_timeout=0.1) as session:
                with pytest.raises(RunflowError) as caught:
                    await session.get_batch(BATCH_ID)
    assert CANARY not in traces_of(caught.value)


async def test_row_148_nor_in_the_emulators_record_of_requests():
    async with Emulator() as emulator, RunflowSession(CANARY, base_url=emulator.url) as session:
        with pytest.raises(RunflowError):
            await session.get_batch(BATCH_ID)
        assert CANARY not in repr(emulator.requests)


async def test_row_142_an_error_crosses_processes():
    async with ScriptedServer([RUNNING, test_statuses.refusal(401)]) as server, connect(server) as session:
        with pytest.raises(RunflowError) as caught:
            await session.wait_for_batch(BATCH_ID, interval=0.001)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy), copy.batch, copy.stats) == (
        type(caught.value),
        str(caught.value),
        caught.value.batch,
        caught.value.stats,
    )


async def test_row_139_cookies_are_neither_kept_nor_replayed():
    cookie = http(200, RUNNING.data.split(b"\r\n\r\n", 1)[1], {"Set-Cookie": "session=1; Path=/"})
    async with ScriptedServer([cookie, GOOD]) as server, connect(server) as session:
        await session.wait_for_batch(BATCH_ID, interval=0.001)
    assert b"Cookie" not in server.requests[1]


async def test_row_140_text_of_the_server_is_shown_escaped_and_cut():
    nasty = test_statuses.refusal(400, "A\x1b[31m", "b\u202ec\x00" + "d" * 5000)
    async with ScriptedServer(nasty) as server, connect(server) as session:
        with pytest.raises(RunflowError) as caught:
            await session.get_batch(BATCH_ID)
    assert caught.value.code == "A\\x1b[31m"
    assert caught.value.message.startswith("b\\u202ec\\x00ddd")
    assert len(caught.value.message) == 200
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("spelling", [str, lambda i: str(i).upper(), lambda i: i.hex], ids=["usual", "upper", "hex"])
async def test_row_135_the_request_line_has_one_segment_for_the_batch(spelling):
    async with ScriptedServer(GOOD) as server, connect(server) as session:
        await session.get_batch(spelling(BATCH_ID))
    assert server.requests[0].split(b"\r\n")[0] == f"GET /v1/batches/{BATCH_ID} HTTP/1.1".encode()


def test_row_141_verification_cannot_be_switched_off():
    with pytest.raises(TypeError):
        RunflowSession("k", verify=False)
    with pytest.raises(TypeError):
        RunflowSession("k", ssl=False)


async def test_row_147_retries_of_others_do_not_multiply_ours(emulator):
    """Whoever wraps a call in three tries of their own gets three times our attempts, and nothing hidden on top."""
    batch_id = emulator.create_batch()
    emulator.faults.append(faults.reset(times=100))
    async with RunflowSession(
        emulator.api_key, base_url=emulator.url, retry=RetryPolicy(attempts=2, wait_initial=0.001)
    ) as session:
        for _ in range(3):
            with pytest.raises(RunflowError) as caught:
                await session.get_batch(batch_id)
            assert not isinstance(caught.value, ServerError)
    assert len(emulator.requests) == 6
