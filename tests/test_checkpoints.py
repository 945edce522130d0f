"""Checkpoints in a file: what was recorded is there, whoever dies."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime
from uuid import UUID, uuid5

import pytest

from runflow_async import BatchItemHandle, CheckpointError, ConfigurationError, ItemTransition
from runflow_async.checkpoints import SQLiteCheckpoints

BATCH = UUID(int=1)
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def transition(index: int, status: str = "queued", batch_id: UUID = BATCH) -> ItemTransition:
    handle = BatchItemHandle(uuid5(batch_id, str(index)), index, UUID(int=9), status, f"ref-{index}")
    return ItemTransition(batch_id, handle, None, NOW)


def rows_in(path) -> int:
    database = sqlite3.connect(path)
    try:
        return database.execute("SELECT count(*) FROM items").fetchone()[0]
    finally:
        database.close()


async def test_what_was_recorded_is_loaded_in_sequence_order_at_its_last_status(tmp_path):
    async with SQLiteCheckpoints(tmp_path / "c.db") as checkpoints:
        for index in (2, 0, 1):
            checkpoints.record(transition(index))
        checkpoints.record(transition(1, "running"))
        batch = await checkpoints.load(BATCH)
    assert batch.id == BATCH
    assert [(i.sequence_index, i.status_code, i.client_ref) for i in batch.items] == [
        (0, "queued", "ref-0"),
        (1, "running", "ref-1"),
        (2, "queued", "ref-2"),
    ]


async def test_a_later_process_finds_it(tmp_path):
    async with SQLiteCheckpoints(tmp_path / "c.db") as checkpoints:
        checkpoints.record(transition(0, "succeeded"))
    async with SQLiteCheckpoints(str(tmp_path / "c.db")) as checkpoints:
        assert (await checkpoints.load(BATCH)).items == [transition(0, "succeeded").item]
        assert await checkpoints.load(UUID(int=2)) is None


async def test_it_is_on_disk_within_100_ms_though_the_loop_is_blocked(tmp_path):
    path = tmp_path / "c.db"
    async with SQLiteCheckpoints(path) as checkpoints:
        checkpoints.record(transition(0))
        time.sleep(0.1)  # noqa: ASYNC251  # a consumer that computes
        assert rows_in(path) == 1


async def test_a_forgotten_batch_leaves_the_others(tmp_path):
    async with SQLiteCheckpoints(tmp_path / "c.db") as checkpoints:
        checkpoints.record(transition(0))
        checkpoints.record(transition(0, batch_id=UUID(int=2)))
        await checkpoints.forget(BATCH)
        assert await checkpoints.load(BATCH) is None
        assert await checkpoints.load(UUID(int=2)) is not None


async def test_two_share_a_file(tmp_path):
    path = tmp_path / "c.db"
    async with SQLiteCheckpoints(path) as one, SQLiteCheckpoints(path) as two:
        for index in range(500):
            one.record(transition(index))
            two.record(transition(index, batch_id=UUID(int=2)))
        await asyncio.gather(one.flush(), two.flush())
        assert len((await one.load(UUID(int=2))).items) == len((await two.load(BATCH)).items) == 500


async def test_what_cannot_be_written_is_told_and_written_later(tmp_path, monkeypatch):
    monkeypatch.setattr("runflow_async.checkpoints.writer.BUSY", 0.01)
    path = tmp_path / "c.db"
    async with SQLiteCheckpoints(path) as checkpoints:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        checkpoints.record(transition(0))
        with pytest.raises(CheckpointError, match="locked"):
            await checkpoints.flush()
        other.execute("ROLLBACK")
        other.close()
        await checkpoints.flush()
        assert rows_in(path) == 1


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.write_bytes(b"no database" * 100), "not a database"),
        (lambda path: path.mkdir(), "a folder or a device"),
        (lambda path: sqlite3.connect(path).execute("PRAGMA user_version = 7").connection.close(), "version 7"),
    ],
    ids=["garbage", "a folder", "another version"],
)
async def test_a_file_that_is_none_of_ours_is_refused_by_name(tmp_path, make, says):
    path = tmp_path / "c.db"
    make(path)
    with pytest.raises(CheckpointError, match=says) as caught:
        async with SQLiteCheckpoints(path):
            pass
    assert str(path) in str(caught.value)


async def test_unopened_and_closed_ones_say_so(tmp_path):
    checkpoints = SQLiteCheckpoints(tmp_path / "c.db")
    with pytest.raises(CheckpointError, match="not open"):
        checkpoints.record(transition(0))
    async with checkpoints:
        pass
    await checkpoints.close()
    with pytest.raises(CheckpointError, match="not open"):
        await checkpoints.load(BATCH)
    with pytest.raises(ConfigurationError, match="path"):
        SQLiteCheckpoints(7)


async def test_a_cancelled_load_leaves_it_usable(tmp_path):
    async with SQLiteCheckpoints(tmp_path / "c.db") as checkpoints:
        task = asyncio.create_task(checkpoints.load(BATCH))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        checkpoints.record(transition(0))
        assert await checkpoints.load(BATCH) is not None


async def test_more_than_the_disk_keeps_up_with_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("runflow_async.checkpoints.MOST_PENDING", 10)
    async with SQLiteCheckpoints(tmp_path / "c.db") as checkpoints:
        with pytest.raises(CheckpointError, match="keep up"):
            _ = [checkpoints.record(transition(index)) for index in range(100_000)]


KILLED = """
import asyncio, sys, time
from tests.test_checkpoints import transition, SQLiteCheckpoints
async def main():
    async with SQLiteCheckpoints(sys.argv[1]) as checkpoints:
        index = 0
        while True:
            checkpoints.record(transition(index))
            print(index, time.monotonic(), flush=True)
            index += 1
            time.sleep(0.0005)
asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 0.45, 0.6])
def test_killed_it_has_kept_all_but_the_last_100_ms(tmp_path, seconds):
    path = tmp_path / "c.db"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True)
    lines = [process.stdout.readline()]
    time.sleep(seconds)
    process.kill()
    killed_at = time.monotonic()
    lines += process.stdout.read().splitlines()
    process.wait()
    process.stdout.close()
    taken = [(int(index), float(at)) for index, at in (line.split() for line in lines if len(line.split()) == 2)]
    kept = rows_in(path)
    lost = [at for index, at in taken if index >= kept]
    assert all(at > killed_at - 0.1 for at in lost)


async def test_a_stream_goes_on_in_another_session(tmp_path, emulator, session):
    script = [[(0.0, "queued"), (0.1, "running"), (0.3, "succeeded")]] * 3
    batch_id = emulator.create_scripted_batch(script)
    async with SQLiteCheckpoints(tmp_path / "c.db") as checkpoints:
        stream = session.wait_for_batch(batch_id, interval=0.02, checkpoint=checkpoints)
        first = [await anext(stream) for _ in range(5)]
    async with SQLiteCheckpoints(tmp_path / "c.db") as checkpoints:
        rest = [t async for t in session.wait_for_batches([batch_id], interval=0.02, checkpoint=checkpoints)]
    told = [(t.item.id, t.current) for t in [*first, *rest]]
    assert len(set(told)) == 9
    assert len(told) == 10
