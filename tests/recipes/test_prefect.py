"""The Prefect recipe, with a Prefect server of its own. `make recipes` has Prefect."""

from __future__ import annotations

import asyncio
import os

import pytest

pytest.importorskip("prefect", reason="Prefect is not installed: make recipes", exc_type=ImportError)
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

DONE = [[(0.0, "succeeded")]] * 3


@pytest.fixture(scope="module", autouse=True)
def server(tmp_path_factory):
    from prefect.testing.utilities import prefect_test_harness

    os.environ["PREFECT_HOME"] = str(tmp_path_factory.mktemp("prefect"))
    with prefect_test_harness(server_startup_timeout=120):
        yield


async def test_a_flow_tells_the_statuses_and_a_retried_task_goes_on_where_it_failed(emulator, recipe, monkeypatch):
    """The first attempt fails with the second end; the next one gets that end and the third."""
    module = recipe("prefect_wait")
    ends: list[str] = []

    async def handle(transition):
        ends.append(transition.item.client_ref)
        if len(ends) == 2:
            raise ArithmeticError

    monkeypatch.setattr(module, "handle", handle)
    monkeypatch.setattr(module.follow_batch, "retry_delay_seconds", 0)
    batch_id = str(emulator.create_scripted_batch(DONE))
    async with asyncio.timeout(120):
        assert await module.follow_batches([batch_id]) == ["succeeded"]
    assert ends == ["item-0", "item-1", "item-1", "item-2"]
