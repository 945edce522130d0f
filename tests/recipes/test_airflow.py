"""The Airflow recipe, as the triggerer and the worker run it: from what was serialised. `make recipes` has Airflow."""

from __future__ import annotations

import asyncio
import importlib
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.rig import eventually

if TYPE_CHECKING:
    from uuid import UUID

pytest.importorskip("airflow", reason="Airflow is not installed: make recipes", exc_type=ImportError)

SCRIPT = [[(0.0, "running"), (end, "succeeded")] for end in (1.0, 1.0, 5.0)]


def trigger_from(serialized: tuple[str, dict[str, object]]):
    path, arguments = serialized
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)(**arguments)


async def event_of(serialized: tuple[str, dict[str, object]]) -> str:
    """What a triggerer hands back to the task."""
    return (await anext(trigger_from(serialized).run())).payload


@pytest.fixture
def batch_id(stepping_emulator) -> UUID:
    return stepping_emulator.create_scripted_batch(SCRIPT)


async def test_a_task_takes_every_end_once_though_it_leaves_the_worker_in_between(batch_id, recipe):
    from airflow.sdk.exceptions import TaskDeferred

    module = recipe("airflow_trigger")
    taken: list[tuple[str, str]] = []
    deferrals = 0

    def operator():  # each run of the task has one of its own, as in another process
        made = module.BatchOperator(task_id="wait", batch_id=str(batch_id))
        made.take = lambda item: taken.append((item.client_ref, item.status_code))
        return made

    resume = operator().execute
    arguments: dict[str, object] = {}
    while True:
        try:
            status = resume({}, **arguments)
            break
        except TaskDeferred as deferred:
            deferrals += 1
            event = await event_of(deferred.trigger.serialize())
            resume, arguments = getattr(operator(), deferred.method_name), {**deferred.kwargs, "event": event}
    assert status == "succeeded"
    assert sorted(taken) == [(f"item-{index}", "succeeded") for index in range(3)]
    assert deferrals == 2


async def test_a_triggerer_that_restarts_misses_no_end(stepping_emulator, batch_id, recipe):
    module = recipe("airflow_trigger")
    serialized = module.BatchTrigger(str(batch_id)).serialize()
    killed = asyncio.create_task(event_of(serialized))
    await eventually(lambda: len(stepping_emulator.requests) >= 1)
    killed.cancel()
    with suppress(asyncio.CancelledError):
        await killed
    ended = module.ended_in(module.msgspec.json.decode(await event_of(serialized), type=module.Batch))
    assert len(ended) >= 2
