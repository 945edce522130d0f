"""Models as plain data, as JSON, and as what FastAPI and pydantic take and give."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest

from runflow_async import (
    Batch,
    BatchItem,
    BatchItemHandle,
    CallbackAttempt,
    CallbackDelivery,
    ItemTransition,
    WaitStats,
)

ID = UUID(int=1)
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HANDLE = BatchItemHandle(ID, 0, ID, "running", "ref")
BATCH = Batch(id=ID, status_code="running", cost=Decimal("1.50"), created_at=WHEN, items=[HANDLE], metadata={"a": [1]})
MODELS = [
    HANDLE,
    BATCH,
    BatchItem(id=ID, output={"url": "https://h/a"}),
    ItemTransition(ID, HANDLE, None, WHEN),
    CallbackDelivery(id=ID, attempts=[CallbackAttempt(attempt_number=1)]),
    WaitStats(polls=3, elapsed=1.5),
]
each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)


@each_model
def test_json_and_plain_data_are_the_same_and_lead_back(model):
    kind: type[Any] = type(model)
    assert model.to_json() == msgspec.json.encode(model).decode()
    assert msgspec.json.decode(model.to_json()) == model.to_dict() == dict(model)
    assert msgspec.json.decode(model.to_json(), type=kind) == msgspec.convert(model.to_dict(), kind) == model


def test_plain_data_is_plain():
    plain = BATCH.to_dict()
    assert plain["id"] == str(ID)
    assert plain["cost"] == "1.50"
    assert plain["created_at"] == "2026-01-02T03:04:05Z"
    assert plain["items"] == [HANDLE.to_dict()]
    assert plain["output"] is None


@pytest.mark.slow
def test_nothing_of_it_imports_pydantic():
    script = "import sys, runflow_async; runflow_async.Batch().to_json(); sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


@each_model
def test_pydantic_takes_a_model_or_its_data_and_writes_its_json(model):
    pydantic = pytest.importorskip("pydantic")
    adapter = pydantic.TypeAdapter(type(model))
    assert adapter.validate_python(model) is model
    assert adapter.validate_python(model.to_dict()) == adapter.validate_json(model.to_json()) == model
    assert adapter.dump_python(model) == model.to_dict()
    assert msgspec.json.decode(adapter.dump_json(model)) == model.to_dict()
    with pytest.raises(pydantic.ValidationError, match="object"):
        adapter.validate_python(1)


def test_a_pydantic_model_can_have_one_as_a_field():
    pydantic = pytest.importorskip("pydantic")
    answer = pydantic.create_model("Answer", batch=(Batch, ...), others=(list[Batch], ...))(batch=BATCH, others=[BATCH])
    assert answer.model_dump(mode="json") == {"batch": BATCH.to_dict(), "others": [BATCH.to_dict()]}
    schema = answer.model_json_schema()
    assert list(schema["$defs"]) == ["Batch"]


class TestFastAPI:
    @pytest.fixture
    def client(self) -> Any:
        fastapi = pytest.importorskip("fastapi")
        testclient = pytest.importorskip("fastapi.testclient")
        application = fastapi.FastAPI()

        @application.get("/bare")
        async def bare():
            return BATCH

        @application.get("/nested")
        async def nested():
            return {"batch": BATCH, "stats": [WaitStats(polls=3)]}

        async def declared():
            return BATCH

        async def inferred():
            return BATCH

        async def several():
            return MODELS[3:4]

        async def echo(batch):
            return batch

        inferred.__annotations__["return"] = Batch
        echo.__annotations__["batch"] = Annotated[Batch, fastapi.Body()]
        application.get("/declared", response_model=Batch)(declared)
        application.get("/inferred")(inferred)
        application.get("/several", response_model=list[ItemTransition])(several)
        application.post("/echo", response_model=Batch)(echo)
        return testclient.TestClient(application)

    @pytest.mark.parametrize("path", ["/bare", "/declared", "/inferred"])
    def test_a_returned_batch_is_an_answer(self, client, path):
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.json() == BATCH.to_dict()

    def test_so_are_models_in_other_data(self, client):
        assert client.get("/nested").json() == {"batch": BATCH.to_dict(), "stats": [WaitStats(polls=3).to_dict()]}
        assert client.get("/several").json() == [MODELS[3].to_dict()]

    def test_a_batch_can_be_a_request(self, client):
        assert client.post("/echo", json=BATCH.to_dict()).json() == BATCH.to_dict()
        answer = client.post("/echo", json={"id": "no id"})
        assert answer.status_code == 422
        assert "UUID" in answer.text

    def test_the_schema_describes_it_once(self, client):
        schema = client.get("/openapi.json").json()
        shown = schema["paths"]["/declared"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert shown == {"$ref": "#/components/schemas/Batch"}
        described = schema["components"]["schemas"]["Batch"]
        assert described["properties"]["items"]["anyOf"][0]["items"]["properties"]["id"]["format"] == "uuid"
        assert "$defs" not in str(schema)
