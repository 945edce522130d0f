"""Which arguments of `wait_for_batches` on Dask are errors at the call, and that the key does not travel."""

from __future__ import annotations

import asyncio
import functools
import gc
import pickle
import threading
from uuid import UUID, uuid4

import msgspec
import pytest
from distributed import Client

from runflow_async import Batch, ConfigurationError, RetryPolicy, ShardError
from runflow_async.distributed import SessionConfig, wait_for_batches
from runflow_async.distributed.config import open_session
from tests.distributed.keys import read_key

CANARY = "rf_live_canary"


class Keys:
    def __init__(self) -> None:
        self.key = CANARY

    def __call__(self) -> str:
        return self.key

    def read(self) -> str:
        return self.key


def local_function():
    key = CANARY

    def read() -> str:
        return key

    return read


@pytest.mark.parametrize(
    "api_key", [CANARY, lambda: CANARY, local_function(), functools.partial(str, CANARY), Keys(), Keys().read]
)
def test_a_key_that_would_travel_to_the_workers_is_an_error(api_key):
    with pytest.raises(ConfigurationError, match="RUNFLOW_API_KEY") as caught:
        SessionConfig(api_key=api_key)
    assert CANARY not in str(caught.value)


def test_a_key_function_of_the_main_script_is_an_error(monkeypatch):
    monkeypatch.setattr(read_key, "__module__", "__main__")
    with pytest.raises(ConfigurationError):
        SessionConfig(api_key=read_key)


def test_a_config_pickles_as_names_and_plain_values():
    config = SessionConfig(api_key=read_key, retry=RetryPolicy(attempts=2), organization_id=UUID(int=1))
    assert pickle.loads(pickle.dumps(config)) == config


def test_a_config_opens_a_session_as_it_says(monkeypatch):
    monkeypatch.setenv("KEY_OF_THE_WORKERS", CANARY)
    session = open_session(SessionConfig(api_key=read_key, base_url="https://example.com"))
    assert "https://example.com" in repr(session)
    assert CANARY not in repr(session)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"shards": 0}, "shards"),
        ({"shards": True}, "shards"),
        ({"shards": 2.0}, "shards"),
        ({"shards": 16, "max_rate": 10.0}, "max_rate"),
        ({"max_rate": 0}, "max_rate"),
        ({"max_rate": "fast"}, "max_rate"),
        ({"timeout": -1}, "timeout"),
        ({"interval": 0}, "interval"),
        ({"max_outage": float("nan")}, "max_outage"),
        ({"until": True}, "until"),
        ({"until": threading.Lock().acquire}, "until cannot be sent to workers"),
        ({"since": [{"id": None}]}, "since"),
        ({"since": [Batch()]}, "since"),
        ({"session": {"base_url": None}}, "session"),
    ],
)
async def test_invalid_arguments_are_an_error_at_the_call(client, arguments, named):
    with pytest.raises(ConfigurationError, match=named):
        wait_for_batches(client, [uuid4()], **arguments)


async def test_an_invalid_id_is_an_error_at_the_call(client):
    with pytest.raises(ConfigurationError, match="batch_id"):
        wait_for_batches(client, ["../../v1/admin"])


def test_something_other_than_an_asynchronous_client_is_an_error():
    with pytest.raises(ConfigurationError, match="asynchronous=True"):
        wait_for_batches(object(), [uuid4()])


async def test_a_closed_client_is_an_error(cluster):
    async with Client(cluster, asynchronous=True) as client:
        pass
    with pytest.raises(ConfigurationError, match="closed"):
        wait_for_batches(client, [uuid4()])


async def test_another_event_loop_than_the_clients_is_an_error(client):
    async with wait_for_batches(client, [uuid4()]) as waiting:
        with pytest.raises(RuntimeError, match="another event loop"):
            await asyncio.to_thread(lambda: asyncio.run(anext(waiting)))


async def test_the_key_is_nowhere_in_the_scheduler(client, cluster, emulator, monkeypatch):
    monkeypatch.delenv("RUNFLOW_API_KEY")
    monkeypatch.setenv("KEY_OF_THE_WORKERS", emulator.api_key)
    waits = wait_for_batches(
        client,
        [emulator.create_scripted_batch([[(0.0, "running"), (0.5, "succeeded")]])],
        session=SessionConfig(api_key=read_key),
        interval=0.1,
    )
    await anext(waits)
    scheduler = cluster.scheduler
    tasks = [pickle.dumps(task.run_spec) for task in scheduler.tasks.values()]
    assert len(tasks) == 1
    seen = b"".join(tasks) + repr([*scheduler.transition_log, *scheduler.get_events().values()]).encode()
    assert b"runflow" in seen
    assert emulator.api_key.encode() not in seen
    assert [batch.status_code for batch in await waits] == ["succeeded"]


async def test_without_a_key_on_the_workers_the_error_says_where_it_is_missing(client, monkeypatch):
    monkeypatch.delenv("RUNFLOW_API_KEY")
    with pytest.raises(ShardError, match="RUNFLOW_API_KEY") as caught:
        await wait_for_batches(client, [uuid4()])
    assert caught.value.shard == 0
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


async def test_waits_have_a_repr_without_secrets(client, emulator):
    async with wait_for_batches(client, [batch_id := uuid4()]) as waits:
        assert repr(waits) == "<DistributedWait of 1 batches, 1 unfinished>"
        assert repr(waits.waits[batch_id]) == f"<RemoteWait {batch_id} waiting>"
        assert msgspec.json.encode(waits.waits[batch_id].delivered)


async def test_a_forgotten_await_is_a_warning_unless_the_client_is_closed(client, cluster):
    with pytest.warns(RuntimeWarning, match=r"^wait_for_batches\(\) was never awaited or iterated$"):
        wait_for_batches(client, [uuid4()])
    async with Client(cluster.scheduler_address, asynchronous=True) as other:
        waits = wait_for_batches(other, [uuid4()])
    del waits
    gc.collect()
