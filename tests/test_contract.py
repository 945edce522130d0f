"""The contract as a document of our own: the emulator keeps it, and whatever it allows can be decoded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis_jsonschema import from_schema
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from runflow_async.decoding import decode_batch, decode_error, decode_poll
from runflow_async.emulator import Emulator, faults
from runflow_async.models import Batch, BatchItemHandle, ErrorDetail

DOCUMENT = yaml.safe_load((Path(__file__).parent / "contract" / "openapi.yaml").read_text("utf-8"))
SCHEMAS = DOCUMENT["components"]["schemas"]
RESPONSES = DOCUMENT["paths"]["/v1/batches/{id}"]["get"]["responses"]

OURS = UUID("00000000-0000-4000-8000-000000000001")
OTHERS = UUID("00000000-0000-4000-8000-000000000002")

INT64 = {"minimum": -(2**63), "maximum": 2**63 - 1}
COUNT = {"minimum": 0, "maximum": 2**63 - 1}
SENSIBLE = {
    # The contract says "integer" only. A count below zero is a broken answer, and no batch has 2**63 items:
    # both are refused on purpose, for waiting depends on these values.
    "items_total": COUNT,
    "items_succeeded": COUNT,
    "items_failed": COUNT,
    "items_cancelled": COUNT,
    "sequence_index": INT64,
}


def expanded(node: Any) -> Any:
    """A schema with its references replaced by what they point to."""
    if isinstance(node, list):
        return [expanded(child) for child in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = DOCUMENT
        for key in node["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        return expanded(target)
    return {key: expanded(child) for key, child in node.items()}


def assert_follows_contract(status: int, body: bytes) -> None:
    response = expanded(RESPONSES.get(str(status), RESPONSES["default"]))
    schema = response["content"]["application/json"]["schema"]
    checker = Draft202012Validator.FORMAT_CHECKER
    Draft202012Validator(schema, format_checker=checker).validate(json.loads(body))


UUID_TEXTS = st.uuids().flatmap(lambda value: st.sampled_from([str(value), str(value).upper()]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=5,
)


def documents(schema: dict[str, Any], name: str = "") -> st.SearchStrategy[Any]:
    """Values that a schema allows, unknown properties included.

    Objects and arrays are put together here and only the values come from hypothesis-jsonschema, for its release
    0.23.1 cannot draw objects with releases of hypothesis that have no `many.more`.
    """
    if isinstance(schema["type"], list):
        kind, null = schema["type"]
        assert null == "null"
        return st.none() | documents(schema | {"type": kind}, name)
    if schema["type"] == "array":
        return st.lists(documents(schema["items"]), max_size=4)
    if schema["type"] != "object":
        return from_schema(schema | SENSIBLE.get(name, {}), custom_formats={"uuid": UUID_TEXTS})
    properties = {key: documents(child, key) for key, child in schema.get("properties", {}).items()}
    required = {key: properties.pop(key) for key in schema.get("required", ())}
    known = st.fixed_dictionaries(required, optional=properties)
    unknown = st.dictionaries(st.text().filter(lambda key: key not in required | properties), JSON, max_size=2)
    return st.builds(dict.__or__, unknown, known)


def lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


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


@given(document=documents(expanded(SCHEMAS["Batch"])), ascii_only=st.booleans())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_every_body_that_the_contract_allows_is_decoded(document: dict[str, Any], ascii_only: bool) -> None:
    body = json.dumps(document, ensure_ascii=ascii_only).encode()
    poll, batch = decode_poll(body), decode_batch(body)
    for answer in (poll, batch):
        assert answer.status_code == document.get("status_code")
        assert answer.items_total == document.get("items_total")
        assert (None if answer.id is None else str(answer.id)) == lower(document.get("id"))
        assert len(answer.items or ()) == len(document.get("items") or ())
    assert (poll.completed_at is None) == (document.get("completed_at") is None)


@pytest.mark.parametrize("instant", ["2016-12-31T23:59:60Z", "1990-12-31T15:59:60-08:00", "2026-01-01t00:00:00z"])
def test_instants_that_are_never_drawn_are_decoded(instant: str) -> None:
    """RFC 3339 allows leap seconds (section 5.7) and small letters; the strategy knows of neither."""
    body = json.dumps({"created_at": instant, "completed_at": instant, "status_code": "succeeded"}).encode()
    assert decode_poll(body).completed_at == instant
    assert decode_batch(body).status_code == "succeeded"


@given(document=documents(expanded(SCHEMAS["ErrorResponse"])))
def test_every_refusal_that_the_contract_allows_is_decoded(document: dict[str, Any]) -> None:
    detail = decode_error(json.dumps(document).encode())
    assert detail is not None
    assert (detail.code, detail.message) == (document["code"], document["message"])
