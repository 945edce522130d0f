"""The contract as a document of our own: the emulator keeps it, and whatever it allows can be decoded."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

import aiohttp
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from runflow_async._answers.decoding import decode_batch, decode_error, decode_poll
from runflow_async._http.protocol import error_for_status
from runflow_async.emulator import Emulator, faults
from runflow_async.errors import WaitTimeoutError
from runflow_async.models import Batch, BatchItemHandle, ErrorDetail
from tests.rig.schemas import DOCUMENT, SCHEMAS, documents, expanded, lower, shown, written
from tests.virtual import BATCH_ID, look_at_everything, play

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runflow_async._waits.one import BatchWait

RESPONSES = DOCUMENT["paths"]["/v1/batches/{id}"]["get"]["responses"]

OURS = UUID("00000000-0000-4000-8000-000000000001")
OTHERS = UUID("00000000-0000-4000-8000-000000000002")


def assert_follows_contract(status: int, body: bytes) -> None:
    response = expanded(RESPONSES.get(str(status), RESPONSES["default"]))
    schema = response["content"]["application/json"]["schema"]
    checker = Draft202012Validator.FORMAT_CHECKER
    Draft202012Validator(schema, format_checker=checker).validate(json.loads(body))


def client_of(emulator: Emulator) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(emulator.url, headers={"Authorization": f"Bearer {emulator.api_key}"})


async def get(http: aiohttp.ClientSession, batch_id: UUID | str, **headers: str) -> tuple[int, bytes]:
    async with http.get(f"/v1/batches/{batch_id}", headers=headers) as response:
        return response.status, await response.read()


def test_the_document_is_valid_openapi() -> None:
    validate(DOCUMENT)


@pytest.mark.parametrize(
    ("name", "model"), [("Batch", Batch), ("BatchItemHandle", BatchItemHandle), ("ErrorResponse", ErrorDetail)]
)
def test_models_have_exactly_the_contracts_properties(name: str, model: type[Any]) -> None:
    assert set(model.__struct_fields__) == set(SCHEMAS[name]["properties"])


@pytest.mark.parametrize("format_", ["uuid", "date-time"])
def test_formats_are_checked_and_not_skipped(format_: str) -> None:
    """Guards this file itself: jsonschema ignores a format whose checker is not installed."""
    assert format_ in Draft202012Validator.FORMAT_CHECKER.checkers


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("outcome", [{}, {"fail": 1.0}, {"cancel": 1.0}, {"fail": 0.3, "cancel": 0.3}])
async def test_every_snapshot_of_a_batch_follows_the_contract(outcome: dict[str, float]) -> None:
    clock = Clock()
    async with Emulator(clock=clock) as emulator, client_of(emulator) as http:
        batch_id = emulator.create_batch(12, 10.0, **outcome, metadata={"k": 1}, callback_url="http://127.0.0.1:9/")
        for step in range(23):
            clock.now = step * 0.5
            status, body = await get(http, batch_id)
            assert status == 200
            assert_follows_contract(status, body)
            assert set(json.loads(body)) == set(SCHEMAS["Batch"]["properties"])


async def test_every_refusal_of_the_emulator_follows_the_contract() -> None:
    async with Emulator(organization_id=OURS) as emulator, client_of(emulator) as http:
        ours, theirs = emulator.create_batch(), emulator.create_batch(organization_id=OTHERS)
        answers = [
            await get(http, ours, Authorization="Bearer wrong"),
            await get(http, ours, **{"X-Organization-Id": str(OTHERS)}),
            await get(http, theirs),
            await get(http, OTHERS),
            await get(http, "no-uuid"),
        ]
        emulator.rate_limit = 0
        answers.append(await get(http, ours))
    assert [status for status, _ in answers] == [401, 403, 403, 404, 422, 429]
    for status, body in answers:
        assert_follows_contract(status, body)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503, 504])
async def test_every_injected_status_follows_the_contract(status: int) -> None:
    async with Emulator() as emulator, client_of(emulator) as http:
        emulator.faults.append(faults.status(status, errors=[{"loc": ["path", "id"]}]))
        answered, body = await get(http, emulator.create_batch())
    assert answered == status
    assert_follows_contract(answered, body)


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """Odd values are logged by the thousand."""
    logging.getLogger("runflow_async").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("runflow_async").setLevel(logging.NOTSET)


def count(number: int | None) -> int | None:
    return number if number is not None and 0 <= number < 2**53 else None


@given(document=documents(expanded(SCHEMAS["Batch"])), ascii_only=st.booleans())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_every_body_that_the_contract_allows_is_decoded(document: dict[str, Any], ascii_only: bool) -> None:
    body = written(document, ascii_only)
    poll, batch = decode_poll(body), decode_batch(body)
    for answer in (poll, batch):
        assert answer.status_code == shown(document.get("status_code"))
        for name in ("items_total", "items_succeeded", "items_failed", "items_cancelled"):
            assert getattr(answer, name) == count(document.get(name))
        assert (None if answer.id is None else str(answer.id)) == lower(document.get("id"))
        assert [item.client_ref for item in answer.items or ()] == [
            shown(item.get("client_ref")) for item in document.get("items") or ()
        ]
        assert [item.sequence_index for item in answer.items or ()] == [
            max(1 - 2**63, min(item["sequence_index"], 2**63 - 1)) for item in document.get("items") or ()
        ]
        assert (answer.completed_at is None) == (document.get("completed_at") is None)
    assert poll.completed_at == batch.completed_at
    assert msgspec.json.decode(msgspec.json.encode(batch), type=Batch) == batch


async def test_what_was_delivered_has_the_id_asked_for_before_there_is_an_answer() -> None:
    wait = play(b"{}").wait(since=Batch(items=[]))
    assert wait.delivered.id == BATCH_ID


async def poll_once(body: bytes) -> BatchWait:
    wait = play(body).wait(timeout=0)
    with suppress(WaitTimeoutError):
        await wait
    return wait


@given(document=documents(expanded(SCHEMAS["Batch"])), is_named=st.booleans())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_no_body_that_the_contract_allows_ends_a_wait_with_an_error(document: dict[str, Any], is_named: bool) -> None:
    """Only the end of its time does; and all that can be seen of the wait is there, under the id asked for."""
    wait = asyncio.run(poll_once(written(document | {"id": str(BATCH_ID) if is_named else None})))
    assert wait.batch is not None
    assert wait.batch.id == wait.delivered.id == BATCH_ID
    assert (wait.done(), wait.stats.retries) == (True, 0)
    look_at_everything(wait)


INSTANTS = {
    "2016-12-31T23:59:60Z": "2016-12-31T23:59:59+00:00",
    "1990-12-31T15:59:60-08:00": "1990-12-31T15:59:59-08:00",
    "2026-01-01t00:00:00z": "2026-01-01T00:00:00+00:00",
}


@pytest.mark.parametrize(("instant", "read"), INSTANTS.items())
def test_instants_that_are_never_drawn_are_decoded(instant: str, read: str) -> None:
    """RFC 3339 allows leap seconds (section 5.7) and small letters; the strategy knows of neither."""
    body = json.dumps({"created_at": instant, "completed_at": instant, "status_code": "odd"}).encode()
    for answer in (decode_poll(body), decode_batch(body)):
        assert answer.completed_at is not None
        assert answer.completed_at.isoformat() == read
        assert answer.is_terminal


@given(document=documents(expanded(SCHEMAS["ErrorResponse"])))
def test_every_refusal_that_the_contract_allows_is_decoded(document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()
    detail = decode_error(body)
    assert detail is not None
    assert (detail.code, detail.message) == (shown(document["code"]), shown(document["message"]))
    error = error_for_status(422, {}, body, None)
    (repr(error) + str(error)).encode()
    msgspec.json.encode(error.__dict__)
