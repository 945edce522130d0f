"""The operations beside the poll: emulator and client keep to the contract, and whatever it allows can be decoded."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator, ValidationError

from runflow_async import RetryPolicy, RunflowSession, UnprocessableError
from runflow_async._answers.decoding import decode_batch, decode_deliveries, decode_delivery, decode_item, decode_items
from runflow_async.emulator import Emulator, faults
from runflow_async.models import BatchItem, CallbackAttempt, CallbackDelivery
from tests.rig.schemas import DOCUMENT, SCHEMAS, UUID_TEXTS, documents, expanded, lower, shown, written
from tests.test_contract import OURS, Clock, client_of, quiet

if TYPE_CHECKING:
    from collections.abc import Mapping

    import aiohttp

__all__ = ["quiet"]

CREATE = "/v1/models/owner/slug/batches"
HOOK = "http://127.0.0.1:9/"
ENDED = [(0.0, "succeeded")]
LIFE = [(0.0, "queued"), (1.0, "running"), (2.0, "succeeded")]
DYING = [(0.0, "queued"), (1.0, "running"), (2.0, "failed")]


@dataclass
class Operation:
    """One operation of the document, with its references replaced."""

    method: str
    path: str
    details: dict[str, Any]

    def parameters(self, place: str) -> dict[str, dict[str, Any]]:
        return {one["name"]: one["schema"] for one in self.details["parameters"] if one["in"] == place}

    def check_response(self, status: int, body: bytes) -> None:
        responses = self.details["responses"]
        check(responses.get(str(status), responses["default"])["content"]["application/json"]["schema"], body)

    def check_request(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        for name, values in parse_qs(urlsplit(path).query, keep_blank_values=True).items():
            schema = self.parameters("query")[name]
            (value,) = values
            Draft202012Validator(schema).validate(int(value) if schema["type"] == "integer" else value)
        assert headers["Authorization"].startswith("Bearer ")
        known = self.parameters("header")
        assert ("Idempotency-Key" in headers) == ("Idempotency-Key" in known)
        for name in known.keys() & headers.keys():
            Draft202012Validator(known[name]).validate(headers[name])
        if "requestBody" in self.details:
            assert headers["Content-Type"].partition(";")[0] == "application/json"
            check(self.details["requestBody"]["content"]["application/json"]["schema"], body)
        else:
            assert body == b""


def check(schema: dict[str, Any], body: bytes) -> None:
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(json.loads(body))


OPERATIONS = {
    details["operationId"]: Operation(method.upper(), path, expanded(details))
    for path, methods in DOCUMENT["paths"].items()
    for method, details in methods.items()
}


def operation_of(method: str, path: str) -> Operation:
    found = [
        operation
        for operation in OPERATIONS.values()
        if operation.method == method
        and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", operation.path), path.partition("?")[0])
    ]
    assert len(found) == 1, f"the contract has no {method} {path}"
    return found[0]


async def ask(http: aiohttp.ClientSession, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    """Send a request; check that the response is one that the contract allows."""
    async with http.request(method, path, data=body) as response:
        answer = await response.read()
    operation_of(method, path).check_response(response.status, answer)
    return response.status, json.loads(answer)


def creation(items: int = 2, **details: Any) -> bytes:
    inputs = [{"prompt": "a cat", "client_ref": "cat"}, *[{"prompt": "a dog"}] * (items - 1)]
    return json.dumps({"input": inputs, **details}).encode()


@pytest.mark.parametrize(
    ("name", "model"),
    [("BatchItem", BatchItem), ("CallbackDelivery", CallbackDelivery), ("CallbackAttempt", CallbackAttempt)],
)
def test_models_have_exactly_the_contracts_properties(name: str, model: type[Any]) -> None:
    assert set(model.__struct_fields__) == set(SCHEMAS[name]["properties"])


async def test_the_emulator_has_every_path_of_the_contract() -> None:
    async with Emulator() as emulator, client_of(emulator) as http:
        for operation in OPERATIONS.values():
            path = re.sub(
                r"\{(\w+)\}", lambda name: "x" if name[1] in ("owner", "slug") else str(UUID(int=0)), operation.path
            )
            status, refused = await ask(http, operation.method, path)
            assert (status, refused["code"]) in ((404, "BATCH_NOT_FOUND"), (422, "VALIDATION_ERROR"))


@pytest.mark.parametrize("listing", ["next_pq", "cursor", "query", "url"])
async def test_everything_about_a_batch_follows_the_contract_from_its_creation_to_its_end(listing: Any) -> None:
    clock = Clock()
    async with Emulator(clock=clock, listing=listing) as emulator, client_of(emulator) as http:
        emulator.script_next([LIFE, LIFE, DYING])
        status, created = await ask(http, "POST", CREATE, creation(3, metadata={"order": 1}))
        assert status == 201
        batch = f"/v1/batches/{created['id']}"
        for clock.now in (0.0, 1.0, 2.0):
            _, page = await ask(http, "GET", f"{batch}/items?limit=2")
            for item in page["items"]:
                assert set(item) == set(SCHEMAS["BatchItem"]["properties"])
                assert (await ask(http, "GET", f"{batch}/items/{item['id']}"))[1] == item
            assert {"items"} < set(page) <= set(SCHEMAS["ItemsPage"]["properties"])
        assert [set(item["output"]) for item in page["items"]] == [{"outputs"}, {"image_urls"}]


async def test_the_deliveries_of_a_callback_follow_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runflow_async.emulator.callbacks.RETRY_DELAYS", (0.01,) * 4)
    async with Emulator() as emulator, client_of(emulator) as http:
        batch = f"/v1/batches/{emulator.create_scripted_batch([ENDED], callback_url=HOOK)}"
        counts = set()
        while 5 not in counts:  # nobody listens, so it fails in the end
            _, page = await ask(http, "GET", f"{batch}/callback")
            counts |= {delivery["attempt_count"] for delivery in page["items"]}
        status, delivery = await ask(http, "POST", f"{batch}/callback-redeliveries")
        assert status == 201
        assert set(delivery) == set(SCHEMAS["CallbackDelivery"]["properties"])
        _, page = await ask(http, "GET", f"{batch}/callback")
        assert set(page["items"][0]["attempts"][0]) == set(SCHEMAS["CallbackAttempt"]["properties"])


async def test_every_refusal_follows_the_contract() -> None:
    async with Emulator() as emulator, client_of(emulator) as http:
        batch = f"/v1/batches/{emulator.create_batch()}"
        got = [
            await ask(http, "POST", CREATE, b"{"),
            await ask(http, "POST", "/v1/models/owner/no-template/batches", creation()),
            await ask(http, "GET", f"{batch}/items?limit=0"),
            await ask(http, "GET", f"{batch}/items/{UUID(int=0)}"),
            await ask(http, "POST", f"{batch}/callback-redeliveries"),
            await ask(http, "GET", f"/v1/batches/{UUID(int=0)}/callback"),
        ]
        http.headers["Idempotency-Key"] = "a key"
        got += [await ask(http, "POST", CREATE, creation(metadata=more)) for more in ({}, {"more": 1})]
        emulator.faults.append(faults.status(402, code="INSUFFICIENT_CREDIT", route="create"))
        got.append(await ask(http, "POST", CREATE, creation()))
    assert [status for status, _ in got] == [422, 422, 422, 404, 422, 404, 201, 409, 402]


async def test_every_request_of_a_session_follows_the_contract() -> None:
    """Each operation is used, once with a response that is lost."""
    retry = RetryPolicy(wait_initial=0.001)
    async with (
        Emulator(organization_id=OURS) as emulator,
        RunflowSession(emulator.api_key, base_url=emulator.url, retry=retry, organization_id=OURS) as session,
    ):
        for _ in range(2):
            emulator.script_next([ENDED, [(0.0, "failed")]])
        emulator.faults.append(faults.reset(route="create"))
        inputs = [{"prompt": "a cat"}, {"prompt": "é"}]
        wait = await session.create_batch(
            "owner/slug", inputs, client_refs=["cat", None], metadata={"a": 1}, callback_url=HOOK
        )
        batch = await wait
        await session.resubmit("owner/slug", batch)
        items = [item async for item in session.iter_batch_items(wait.batch_id, page_size=1)]
        await session.get_batch_item(wait.batch_id, items[0].id)
        await session.get_batch(wait.batch_id)
        await session.callback_deliveries(wait.batch_id)
        with pytest.raises(UnprocessableError):  # its first delivery is in flight
            await session.redeliver_callback(wait.batch_id)
    used = set()
    for received in emulator.requests:
        operation = operation_of(received.method, received.path)
        operation.check_request(received.path, received.headers, received.body)
        assert received.headers["X-Organization-Id"] == str(OURS)
        used.add(operation.details["operationId"])
    assert used == set(OPERATIONS)
    keys = [received.headers["Idempotency-Key"] for received in emulator.requests if received.path == CREATE]
    assert len(keys) == 3
    assert len(set(keys)) == 2


def warn(*_: object) -> None:
    """Odd values are expected here."""


def urls_in(output: dict[str, Any]) -> list[str]:
    """The URLs in both shapes of an output, each once and none empty."""
    described = [file.get("url") for file in output.get("outputs") or ()]
    return [*dict.fromkeys(text for url in [*described, *(output.get("image_urls") or ())] if (text := shown(url)))]


@given(document=documents(expanded(SCHEMAS["Batch"])), batch_id=UUID_TEXTS)
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_every_new_batch_that_the_contract_allows_has_an_id(document: dict[str, Any], batch_id: str) -> None:
    body = written(document | {"id": batch_id})
    OPERATIONS["createBatch"].check_response(201, body)
    assert str(decode_batch(body, warn).id) == batch_id.lower()
    with pytest.raises(ValidationError):
        OPERATIONS["createBatch"].check_response(201, written(document | {"id": None}))


@given(document=documents(expanded(SCHEMAS["BatchItem"])))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_every_item_that_the_contract_allows_is_decoded(document: dict[str, Any]) -> None:
    item = decode_item(written(document), warn)
    assert str(item.id) == lower(document["id"])
    assert (item.status_code, item.client_ref) == tuple(shown(document.get(it)) for it in ("status_code", "client_ref"))
    assert list(item.urls) == urls_in(document.get("output") or {})


@given(document=documents(expanded(SCHEMAS["ItemsPage"])))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_every_page_of_items_that_the_contract_allows_is_decoded(document: dict[str, Any]) -> None:
    page = decode_items(written(document), warn)
    assert [str(item.id) for item in page.items] == [lower(item["id"]) for item in document["items"]]
    assert (page.next_pq, page.next) == tuple(shown(document.get(name)) for name in ("next_pq", "next"))


@given(document=documents(expanded(SCHEMAS["DeliveriesPage"])))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_every_page_of_deliveries_that_the_contract_allows_is_decoded(document: dict[str, Any]) -> None:
    page = decode_deliveries(written(document), warn)
    assert [str(delivery.id) for delivery in page.items] == [lower(delivery["id"]) for delivery in document["items"]]
    for given_one, delivery in zip(document["items"], page.items, strict=True):
        assert decode_delivery(written(given_one), warn) == delivery
        assert len(delivery.attempts or []) == len(given_one.get("attempts") or [])
