"""Creating a batch and waiting for it, over a loopback socket."""

from __future__ import annotations

import asyncio
import json
import logging
import math

import pytest

from runflow_async import (
    BatchesWait,
    ConfigurationError,
    ConflictError,
    PartlyCreatedError,
    PaymentRequiredError,
    RetryPolicy,
    RunflowError,
    RunflowSession,
    ServerError,
    TransportError,
    UnprocessableError,
)
from runflow_async._jobs.creating import CREATIONS_AT_ONCE
from runflow_async.emulator import Emulator, faults
from tests.rig import eventually

MODEL = "acme/upscale"
INPUTS = [{"prompt": "a cat"}, {"prompt": "a dog"}]
DONE = [[(0.0, "succeeded")]]


@pytest.fixture
async def session(emulator):
    retry = RetryPolicy(wait_initial=0.01)
    async with RunflowSession(emulator.api_key, base_url=emulator.url, request_timeout=5.0, retry=retry) as session:
        yield session


def sent(emulator: Emulator) -> list[dict]:
    return [json.loads(request.body) for request in emulator.requests if request.method == "POST"]


def keys(emulator: Emulator) -> list[str]:
    return [request.headers["Idempotency-Key"] for request in emulator.requests if request.method == "POST"]


class TestABatch:
    async def test_is_created_of_what_was_passed(self, emulator, session):
        await session.create_batch(
            MODEL, INPUTS, client_refs=["cat", None], metadata={"order": 7}, callback_url="http://127.0.0.1:9/x?a=b"
        )
        assert sent(emulator) == [
            {
                "input": [{"prompt": "a cat", "client_ref": "cat"}, {"prompt": "a dog"}],
                "metadata": {"order": 7},
                "callback_url": "http://127.0.0.1:9/x?a=b",
            }
        ]
        assert emulator.requests[0].path == "/v1/models/acme/upscale/batches"
        assert emulator.requests[0].headers["Content-Type"] == "application/json"

    async def test_is_the_first_snapshot_of_its_wait(self, emulator, session):
        emulator.script_next([[(0.0, "queued"), (1e6, "succeeded")]])
        wait = await session.create_batch(MODEL, INPUTS, client_refs=["cat", "dog"])
        assert wait.batch_id == emulator.created[0]
        assert wait.batch.status_code == "queued"
        assert [(await anext(wait)).item.client_ref for _ in INPUTS] == ["cat", "dog"]
        assert len(emulator.requests) == 1

    @pytest.mark.looptime
    async def test_is_polled_when_the_schedule_says_so(self, emulator, session):
        emulator.script_next([[(0.0, "queued"), (50.0, "succeeded")]])
        wait = await session.create_batch(MODEL, INPUTS, interval=100)
        assert (await wait).status_code == "succeeded"
        created, polled, *_ = emulator.requests
        assert polled.received_at - created.received_at == pytest.approx(100, abs=1)

    async def test_may_have_ended_at_once(self, emulator, session):
        emulator.script_next(DONE)
        wait = await session.create_batch(MODEL, INPUTS)
        assert (await wait).items_succeeded == 2
        assert wait.stats.polls > 0

    @pytest.mark.filterwarnings("error")
    async def test_may_be_left_to_itself(self, session):
        await session.create_batch(MODEL, INPUTS)

    async def test_is_delivered_to_other_waits_for_it_too(self, emulator, session):
        emulator.script_next([[(0.0, "queued"), (0.05, "succeeded")]])
        wait = await session.create_batch(MODEL, INPUTS, interval=0.1)
        other = session.wait_for_batch(wait.batch_id, interval=0.1)
        ended = await asyncio.gather(wait, other)
        assert [batch.status_code for batch in ended] == ["succeeded"] * 2

    async def test_with_a_checkpoint_delivers_what_is_new_since_then(self, emulator, session, tmp_path):
        from runflow_async.checkpoints import SQLiteCheckpoints

        emulator.script_next([[(0.0, "queued"), (0.05, "succeeded")]])
        async with SQLiteCheckpoints(tmp_path / "file") as checkpoint:
            wait = await session.create_batch(
                MODEL, INPUTS, idempotency_key="job-7", interval=0.1, checkpoint=checkpoint
            )
            assert [transition.current async for transition in wait].count("succeeded") == 2
            again = await session.create_batch(
                MODEL, INPUTS, idempotency_key="job-7", interval=0.1, checkpoint=checkpoint
            )
            assert again.batch_id == wait.batch_id
            assert [transition async for transition in again] == []
        assert len(emulator.created) == 1


@pytest.mark.usefixtures("both_lanes")
class TestOneBatch:
    """There is one batch, whatever happened to the response. Row 162."""

    @pytest.mark.parametrize(
        "fault", [faults.reset, faults.truncated_body, faults.hang], ids=["reset", "truncated", "no response"]
    )
    @pytest.mark.looptime
    async def test_is_created_though_the_response_was_lost(self, emulator, fault):
        emulator.faults.append(fault(route="create"))
        retry = RetryPolicy(wait_initial=0.01)
        async with RunflowSession(emulator.api_key, base_url=emulator.url, request_timeout=0.5, retry=retry) as session:
            wait = await session.create_batch(MODEL, INPUTS)
        assert emulator.created == [wait.batch_id]
        assert len(set(keys(emulator))) == 1
        assert len(keys(emulator)) == 2

    @pytest.mark.looptime
    @pytest.mark.parametrize("status", [429, 500, 502, 503])
    async def test_is_created_after_transient_failures(self, emulator, session, status):
        emulator.faults.append(faults.status(status, times=3, route="create"))
        wait = await session.create_batch(MODEL, INPUTS)
        assert emulator.created == [wait.batch_id]
        assert len(keys(emulator)) == 4
        assert len(set(keys(emulator))) == 1
        assert sent(emulator) == sent(emulator)[:1] * 4

    async def test_is_made_by_each_call(self, emulator, session):
        waits = [await session.create_batch(MODEL, INPUTS) for _ in range(2)]
        assert emulator.created == [wait.batch_id for wait in waits]
        assert len(set(keys(emulator))) == 2

    async def test_is_made_by_all_calls_with_one_key(self, emulator, session):
        waits = [await session.create_batch(MODEL, INPUTS, idempotency_key="mine") for _ in range(2)]
        assert {wait.batch_id for wait in waits} == set(emulator.created)
        assert len(emulator.created) == 1

    async def test_is_what_a_conflict_with_an_attempt_in_progress_comes_to(self, emulator, session):
        """The first response was lost, and the server still works on it when the next request arrives. Row 163."""
        emulator.faults += [faults.reset(route="create"), faults.status(409, code="CONFLICT", route="create")]
        wait = await session.create_batch(MODEL, INPUTS)
        assert emulator.created == [wait.batch_id]

    async def test_can_be_had_after_every_attempt_was_in_vain(self, emulator, session):
        emulator.faults.append(faults.reset(route="create", times=5))
        with pytest.raises(TransportError) as caught:
            await session.create_batch(MODEL, INPUTS)
        wait = await session.create_batch(MODEL, INPUTS, idempotency_key=caught.value.idempotency_key)
        assert emulator.created == [wait.batch_id]

    async def test_is_created_by_a_call_that_is_cancelled_or_none(self, emulator, session):
        emulator.faults.append(faults.hang(route="create"))
        task = asyncio.create_task(session.create_batch(MODEL, INPUTS, idempotency_key="mine"))
        await eventually(lambda: len(emulator.requests) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        wait = await session.create_batch(MODEL, INPUTS, idempotency_key="mine")
        assert emulator.created == [wait.batch_id]


class TestARefusal:
    @pytest.mark.parametrize(
        ("status", "kind", "advice"),
        [
            (402, PaymentRequiredError, "add credit"),
            (409, ConflictError, "another key"),
            (422, UnprocessableError, "check the inputs against the model's template"),
        ],
    )
    async def test_is_raised_at_once_and_says_what_to_do(self, emulator, session, status, kind, advice):
        details = [{"loc": ["body", "input", 0, "prompt"], "msg": "too long", "type": "value_error"}]
        emulator.faults.append(faults.status(status, code="WHY", errors=details, route="create"))
        with pytest.raises(kind, match=advice) as caught:
            await session.create_batch(MODEL, INPUTS, idempotency_key="mine")
        assert caught.value.errors == details
        assert "too long" in str(caught.value)
        assert caught.value.idempotency_key == "mine"
        assert len(emulator.requests) == 1

    async def test_of_a_model_without_a_template_names_the_reason(self, session):
        with pytest.raises(UnprocessableError, match="no template"):
            await session.create_batch("acme/no-template", INPUTS)

    async def test_of_a_key_with_other_arguments_is_a_conflict(self, session):
        await session.create_batch(MODEL, INPUTS, idempotency_key="mine")
        with pytest.raises(ConflictError, match="used for other arguments"):
            await session.create_batch(MODEL, INPUTS[:1], idempotency_key="mine")

    async def test_shows_no_secret(self, emulator, session, caplog):
        caplog.set_level(logging.DEBUG)
        emulator.faults.append(faults.status(500, times=9, route="create"))
        with pytest.raises(ServerError) as caught:
            await session.create_batch(MODEL, [{"prompt": "private"}], callback_url="http://127.0.0.1:9/?token=private")
        assert emulator.api_key not in caplog.text + str(caught.value)
        assert "private" not in caplog.text + str(caught.value)


CIRCULAR: dict = {}
CIRCULAR["self"] = CIRCULAR


class DataFrame:
    """To our eyes a table of pandas, which iterates its columns."""

    def __iter__(self):
        return iter(["prompt"])


class NAType:
    """What pandas has where a value is missing."""

    def __repr__(self):
        return "<NA>"


DEEP: dict = {}
for _ in range(100_000):
    DEEP = {"deeper": DEEP}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"inputs": {"prompt": "x"}}, "inputs must be a list of mappings"),
        ({"inputs": "text"}, "inputs must be a list of mappings"),
        ({"inputs": iter(INPUTS)}, "inputs must be a list of mappings"),
        ({"inputs": []}, "must not be empty"),
        ({"inputs": [{}] * 101}, "create_batches makes several"),
        ({"inputs": [{}, 7]}, r"inputs\[1\] must be a mapping, not"),
        ({"inputs": DataFrame()}, r"inputs must be a list of mappings, not a DataFrame: pass df\.to_dict\('records'\)"),
        (
            {"inputs": [{"x": math.nan}]},
            r"inputs\[0\]\['x'\] cannot be sent as JSON: it is nan: pass None, or leave it out",
        ),
        ({"inputs": [{"x": [b"bytes"]}]}, r"inputs\[0\]\['x'\]\[0\] cannot be sent as JSON: it is a bytes: convert it"),
        (
            {"inputs": [{"x": NAType()}]},
            r"inputs\[0\]\['x'\] cannot be sent as JSON: it is <NA>: pass None, or leave it out",
        ),
        ({"inputs": [{"x": 10**5000}]}, r"inputs\[0\] cannot be sent as JSON: .*digits"),
        ({"inputs": [{"x": "\ud800"}]}, "lone surrogate"),
        ({"inputs": [CIRCULAR]}, r"inputs\[0\] cannot be sent as JSON"),
        ({"inputs": [DEEP]}, "nested too deeply"),
        ({"inputs": [{"client_ref": 7}]}, r"inputs\[0\]\['client_ref'\] must be a text"),
        ({"inputs": [{"client_ref": "x" * 256}]}, "at most 255 characters, not 256"),
        ({"client_refs": ["one"]}, "client_refs must be as many as inputs, 2, not 1"),
        ({"client_refs": "ab"}, "client_refs must be several texts"),
        ({"client_refs": ["x" * 256, None]}, r"client_refs\[0\] must have at most 255"),
        ({"inputs": [{"client_ref": "a"}], "client_refs": ["b"]}, "pass only one of them"),
        ({"metadata": ["x"]}, "metadata must be a mapping"),
        ({"metadata": {"x": math.inf}}, r"metadata\['x'\] cannot be sent as JSON"),
        ({"callback_url": "ftp://example.com"}, "callback_url must be an http"),
        ({"callback_url": "http://example.com/" + "x" * 2048}, "at most 2048 characters"),
        ({"callback_url": "http://exa mple.com/"}, "callback_url must be"),
        ({"model": "upscale"}, "model must be 'owner/slug'"),
        ({"model": "acme/up/scale"}, "model must be 'owner/slug'"),
        ({"model": "../batches"}, "model must be 'owner/slug'"),
        ({"model": "acme/.."}, "model must be 'owner/slug'"),
        ({"model": "acme/up?scale"}, "model must be 'owner/slug'"),
        ({"model": None}, "model must be 'owner/slug'"),
        ({"idempotency_key": ""}, "idempotency_key must be"),
        ({"idempotency_key": "a\r\nX: y"}, "idempotency_key must be"),
        ({"timeout": -1}, "timeout"),
        ({"checkpoint": 7}, "checkpoint"),
    ],
)
async def test_bad_arguments_are_refused_before_any_request(emulator, session, arguments, text):
    with pytest.raises(ConfigurationError, match=text):
        await session.create_batch(**{"model": MODEL, "inputs": INPUTS} | arguments)
    assert not emulator.requests


async def test_a_closed_session_creates_nothing(emulator, session):
    await session.close()
    with pytest.raises(RunflowError, match="closed"):
        await session.create_batch(MODEL, INPUTS)
    assert not emulator.requests


class TestManyBatches:
    INPUTS = tuple({"number": number} for number in range(250))

    async def test_are_created_for_a_hundred_inputs_each_and_waited_for_together(self, emulator, session):
        for _ in range(3):
            emulator.script_next(DONE)
        waits = await session.create_batches(MODEL, iter(self.INPUTS), client_refs=[str(n) for n in range(250)])
        assert isinstance(waits, BatchesWait)
        batches = await waits
        assert [batch.items_total for batch in batches] == [100, 100, 50]
        numbers = {body["input"][0]["number"] for body in sent(emulator)}
        assert numbers == {0, 100, 200}
        assert [batch.items[0].client_ref for batch in batches] == ["0", "100", "200"]

    async def test_that_were_cut_short_are_completed_by_a_call_with_the_same_key(self, emulator, session):
        emulator.faults.append(faults.status(402, code="INSUFFICIENT_CREDIT", route="create"))
        with pytest.raises(PartlyCreatedError, match="of 3 batches were created") as caught:
            await session.create_batches(MODEL, self.INPUTS)
        assert isinstance(caught.value.__cause__, PaymentRequiredError)
        assert set(caught.value.created) == set(emulator.created)
        waits = await session.create_batches(MODEL, self.INPUTS, idempotency_key=caught.value.idempotency_key)
        assert set(waits.waits) == set(emulator.created)
        assert len(emulator.created) == 3

    async def test_with_a_key_that_was_used_for_others_are_not_to_be_created_by_the_same_call(self, session):
        await session.create_batches(MODEL, self.INPUTS, idempotency_key="one")
        with pytest.raises(PartlyCreatedError, match="or another key") as caught:
            await session.create_batches(MODEL, self.INPUTS[1:], idempotency_key="one")
        assert "call again" not in str(caught.value)

    async def test_are_all_checked_before_the_first_request(self, emulator, session):
        with pytest.raises(ConfigurationError, match=r"inputs\[250\] must be a mapping"):
            await session.create_batches(MODEL, [*self.INPUTS, 7])
        assert not emulator.requests

    async def test_are_at_least_one(self, session):
        with pytest.raises(ConfigurationError, match="must not be empty"):
            await session.create_batches(MODEL, [])

    async def test_are_begun_no_more_after_a_failure(self, emulator, session):
        emulator.faults.append(faults.status(402, times=math.inf, route="create"))
        with pytest.raises(PartlyCreatedError):
            await session.create_batches(MODEL, self.INPUTS * 8)
        assert len(sent(emulator)) <= CREATIONS_AT_ONCE < 20

    @pytest.mark.parametrize(("status", "verdict"), [(402, "final"), (503, "transient")])
    async def test_that_were_cut_short_say_whether_another_call_is_worth_it(self, emulator, session, status, verdict):
        emulator.faults.append(faults.status(status, times=math.inf, route="create"))
        with pytest.raises(PartlyCreatedError) as caught:
            await session.create_batches(MODEL, self.INPUTS)
        assert caught.value.verdict == verdict
