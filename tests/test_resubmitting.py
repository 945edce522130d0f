"""Sending again what failed, over a loopback socket."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

import pytest
from msgspec.structs import replace

from runflow_async import ConfigurationError, NotFoundError, NothingToResubmitError, ResubmitError
from runflow_async.emulator import faults

MODEL = "acme/upscale"
ENDS = ["succeeded", "failed", "canceled", "cancelled", "partial_succeeded", "curious"]


def created(emulator, statuses=ENDS, **details):
    inputs = [{"number": number} for number in range(len(statuses))]
    script = [[(0.0, status)] for status in statuses]
    return emulator.create_scripted_batch(script, status_timeline=[(0.0, "failed")], inputs=inputs, **details)


def posts(emulator):
    return [json.loads(request.body) for request in emulator.requests if request.method == "POST"]


async def test_items_that_failed_or_were_cancelled_are_sent_again_as_they_were(emulator, session):
    refs = [None, "one", "two", None, None, None]
    first = created(emulator, client_refs=refs, metadata={"order": 7}, callback_url="http://127.0.0.1:9/")
    wait = await session.resubmit(MODEL, first, metadata={"try": 2, "resubmitted_from": "elsewhere"})
    assert wait.batch_id == emulator.created[0]
    assert posts(emulator) == [
        {
            "input": [
                {"number": 1, "client_ref": "one"},
                {"number": 2, "client_ref": "two"},
                {"number": 3},
            ],
            "metadata": {"order": 7, "try": 2, "resubmitted_from": str(first)},
        }
    ]


async def test_a_batch_in_hand_is_not_read_again(emulator, session):
    batch = await session.get_batch(created(emulator))
    emulator.requests.clear()
    await session.resubmit(MODEL, batch)
    assert [request.path.partition("?")[0].rpartition("/")[2] for request in emulator.requests] == ["items", "batches"]


async def test_if_nothing_failed_that_is_said_and_nothing_is_sent(emulator, session):
    with pytest.raises(NothingToResubmitError, match="none of its items failed or was cancelled"):
        await session.resubmit(MODEL, created(emulator, ["succeeded"] * 3))
    assert posts(emulator) == []


async def test_a_batch_that_runs_has_to_be_awaited_first(emulator, session):
    running = emulator.create_scripted_batch([[(0.0, "failed")], [(0.0, "running")]])
    with pytest.raises(ResubmitError, match="it is 'running'; wait for its end first"):
        await session.resubmit(MODEL, running)
    assert posts(emulator) == []


async def test_an_old_snapshot_is_read_again(emulator, session):
    batch = await session.get_batch(created(emulator))
    wait = await session.resubmit(MODEL, replace(batch, status_code="running", completed_at=None))
    assert wait.batch_id == emulator.created[0]


async def test_more_than_a_hundred_are_not_split_in_secret(emulator, session):
    with pytest.raises(ResubmitError, match="250 items failed, and a batch takes 100; pass their inputs to create_b"):
        await session.resubmit(MODEL, created(emulator, ["failed"] * 250))
    assert posts(emulator) == []


async def test_an_input_that_is_not_shown_is_missed(emulator, session):
    batch = created(emulator, ["failed"])
    item = {"id": str(emulator.snapshot(batch)["items"][0]["id"]), "status_code": "failed"}
    emulator.faults.append(faults.body(json.dumps({"items": [item]}).encode(), route="items"))
    with pytest.raises(ResubmitError, match="does not show the input of item"):
        await session.resubmit(MODEL, batch)
    assert posts(emulator) == []


async def test_an_item_that_the_list_lacks_is_missed(emulator, session):
    batch = created(emulator, ["failed", "failed"])
    emulator.faults.append(faults.body(b'{"items": []}', route="items"))
    with pytest.raises(ResubmitError, match="lacks 2 of those that failed; try again later"):
        await session.resubmit(MODEL, batch)
    assert posts(emulator) == []


async def test_its_wait_is_that_of_a_new_batch(emulator, session):
    emulator.script_next([[(0.0, "queued"), (0.05, "succeeded")]])
    wait = await session.resubmit(MODEL, created(emulator), interval=0.1)
    assert (await wait).status_code == "succeeded"


@pytest.mark.parametrize(
    "arguments",
    [{"model": "upscale"}, {"metadata": 7}, {"callback_url": "x"}, {"idempotency_key": ""}, {"batch": "x"}],
    ids=str,
)
async def test_bad_arguments_are_refused_before_any_request(emulator, session, arguments):
    with pytest.raises(ConfigurationError):
        await session.resubmit(**{"model": MODEL, "batch": uuid4()} | arguments)
    assert not emulator.requests


async def test_an_unknown_batch_is_not_found(session):
    with pytest.raises(NotFoundError):
        await session.resubmit(MODEL, uuid4())


async def test_with_one_key_two_calls_make_one_batch(emulator, session):
    first = created(emulator)
    waits = await asyncio.gather(*(session.resubmit(MODEL, first, idempotency_key="again") for _ in range(2)))
    assert {wait.batch_id for wait in waits} == set(emulator.created)
    assert len(emulator.created) == 1
