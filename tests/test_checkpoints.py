"""Checkpoints in a file: every record survives the process."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from uuid import UUID, uuid5

import msgspec
import pytest

from runflow_async import BatchItemHandle, CheckpointError, ConfigurationError, ItemTransition
from runflow_async.checkpoints import SQLiteCheckpoints
from runflow_async.checkpoints.file import CheckpointFile

BATCH = UUID(int=1)
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def transition(index: int, status: str = "queued", batch_id: UUID = BATCH) -> ItemTransition:
    handle = BatchItemHandle(uuid5(batch_id, str(index)), index, UUID(int=9), status, f"ref-{index}")
    return ItemTransition(batch_id, handle, None, NOW)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "runflow checkpoints"]


async def until_refused(call, *arguments) -> CheckpointError:
    """Call again and again until it raises."""
    while True:
        try:
            result = call(*arguments)
            if asyncio.iscoroutine(result):
                await result
        except CheckpointError as error:
            return error
        await asyncio.sleep(0.001)


def rows_in(path) -> int:
    database = sqlite3.connect(path)
    try:
        return database.execute("SELECT count(*) FROM items").fetchone()[0]
    finally:
        database.close()


async def test_load_returns_the_items_in_sequence_order_at_their_last_recorded_status(tmp_path):
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


async def test_records_are_still_there_when_the_file_is_opened_again(tmp_path):
    async with SQLiteCheckpoints(tmp_path / "c.db") as checkpoints:
        checkpoints.record(transition(0, "succeeded"))
    async with SQLiteCheckpoints(str(tmp_path / "c.db")) as checkpoints:
        assert (await checkpoints.load(BATCH)).items == [transition(0, "succeeded").item]
        assert await checkpoints.load(UUID(int=2)) is None


async def test_a_blocked_event_loop_does_not_delay_the_write(tmp_path):
    path = tmp_path / "c.db"
    async with SQLiteCheckpoints(path) as checkpoints:
        checkpoints.record(transition(0))
        ends = time.monotonic() + 60
        while not rows_in(path) and time.monotonic() < ends:
            time.sleep(0.01)  # noqa: ASYNC251  # a consumer that computes
        assert rows_in(path) == 1


async def test_forgetting_a_batch_keeps_the_others(tmp_path):
    async with SQLiteCheckpoints(tmp_path / "c.db") as checkpoints:
        checkpoints.record(transition(0))
        checkpoints.record(transition(0, batch_id=UUID(int=2)))
        await checkpoints.forget(BATCH)
        assert await checkpoints.load(BATCH) is None
        assert await checkpoints.load(UUID(int=2)) is not None


async def test_two_connections_share_a_file(tmp_path):
    path = tmp_path / "c.db"
    async with SQLiteCheckpoints(path) as one, SQLiteCheckpoints(path) as two:
        for index in range(500):
            one.record(transition(index))
            two.record(transition(index, batch_id=UUID(int=2)))
        await asyncio.gather(one.flush(), two.flush())
        assert len((await one.load(UUID(int=2))).items) == len((await two.load(BATCH)).items) == 500


async def test_a_failed_write_is_raised_and_retried(tmp_path, monkeypatch):
    monkeypatch.setattr("runflow_async.checkpoints.writer.BUSY_SECONDS", 0.01)
    path = tmp_path / "c.db"
    async with SQLiteCheckpoints(path) as checkpoints:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        checkpoints.record(transition(0))
        with pytest.raises(CheckpointError, match=r"1 transitions to .*c\.db.*locked"):
            await checkpoints.flush()
        other.execute("ROLLBACK")
        other.close()
        await checkpoints.flush()
        assert rows_in(path) == 1


async def test_using_it_before_it_is_open_or_after_closing_raises(tmp_path):
    checkpoints = SQLiteCheckpoints(tmp_path / "c.db")
    with pytest.raises(CheckpointError, match="not open"):
        checkpoints.record(transition(0))
    async with checkpoints:
        pass
    await checkpoints.close()
    with pytest.raises(CheckpointError, match="not open"):
        await checkpoints.load(BATCH)


async def test_it_stays_usable_after_a_cancelled_load(tmp_path):
    async with SQLiteCheckpoints(tmp_path / "c.db") as checkpoints:
        task = asyncio.create_task(checkpoints.load(BATCH))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        checkpoints.record(transition(0))
        assert await checkpoints.load(BATCH) is not None


async def test_record_raises_when_the_disk_does_not_keep_up(tmp_path, monkeypatch):
    monkeypatch.setattr("runflow_async.checkpoints.MOST_PENDING", 10)
    async with SQLiteCheckpoints(tmp_path / "c.db") as checkpoints:
        with pytest.raises(CheckpointError, match="keep up"):
            _ = [checkpoints.record(transition(index)) for index in range(100_000)]


@pytest.mark.slow
async def test_a_burst_as_large_as_the_largest_answer_is_recorded_whole(tmp_path):
    """An `await` records all items of its batch at once."""
    path = tmp_path / "c.db"
    burst = [transition(index) for index in range(200_000)]
    async with SQLiteCheckpoints(path) as checkpoints:
        for one in burst:
            checkpoints.record(one)
    assert rows_in(path) == len(burst)


ODD = {
    "an index beyond 64 bits": {"sequence_index": 2**70},
    "a lone surrogate": {"client_ref": "a\ud800b"},
    "no status": {"status_code": None},
    "a status that is no text": {"status_code": {}},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
async def test_a_transition_that_cannot_be_stored_is_named_and_the_others_are_written(tmp_path, odd):
    path = tmp_path / "c.db"
    bad = transition(1)
    bad = msgspec.structs.replace(bad, item=msgspec.structs.replace(bad.item, **odd))
    async with SQLiteCheckpoints(path) as checkpoints:
        for each in (transition(0), bad, transition(2)):
            checkpoints.record(each)
        with pytest.raises(CheckpointError, match=f"item {bad.item.id} of batch {BATCH} in .*c.db"):
            await checkpoints.flush()
        await checkpoints.flush()
        assert rows_in(path) == 2


@pytest.mark.parametrize("odd", [None, 7, ("a", "b"), ItemTransition(BATCH, None, None, NOW)], ids=repr)
async def test_recording_something_else_than_a_transition_raises_and_it_stays_usable(tmp_path, odd):
    path = tmp_path / "c.db"
    async with SQLiteCheckpoints(path) as checkpoints:
        checkpoints.record(odd)
        with pytest.raises(CheckpointError, match=r"cannot keep .* in .*c\.db"):
            await checkpoints.flush()
        checkpoints.record(transition(0))
        await checkpoints.flush()
        assert rows_in(path) == 1


async def test_many_rejected_transitions_raise_one_error_that_names_the_first_few(tmp_path):
    checkpoints = await SQLiteCheckpoints(tmp_path / "c.db").__aenter__()
    bad = [
        msgspec.structs.replace(t, item=msgspec.structs.replace(t.item, sequence_index=2**70))
        for t in (transition(index) for index in range(7))
    ]
    for each in bad:
        checkpoints.record(each)
    with pytest.raises(CheckpointError, match=f"{bad[0].item.id}.*; .*{bad[4].item.id}.*and 2 more"):
        await checkpoints.close()


async def test_a_call_that_raises_for_an_earlier_transition_still_records_its_own(tmp_path):
    path = tmp_path / "c.db"
    async with SQLiteCheckpoints(path) as checkpoints:
        bad = transition(1)
        checkpoints.record(msgspec.structs.replace(bad, item=msgspec.structs.replace(bad.item, sequence_index=2**70)))
        assert await checkpoints.load(BATCH) is None  # the group is over, and no load fails for another's record
        with pytest.raises(CheckpointError, match=str(bad.item.id)):
            checkpoints.record(transition(0))
    assert rows_in(path) == 1


@pytest.mark.parametrize("where", ["file.CheckpointFile.write", "backlog.Backlog.clear"])
async def test_any_other_error_of_the_thread_is_raised_by_the_calls_until_it_is_over(tmp_path, monkeypatch, where):
    def fail(*arguments):
        raise RuntimeError("out of luck")

    path = tmp_path / "c.db"
    async with SQLiteCheckpoints(path) as checkpoints:
        with monkeypatch.context() as patch:
            patch.setattr(f"runflow_async.checkpoints.{where}", fail)
            checkpoints.record(transition(0))
            for call in (checkpoints.flush, lambda: checkpoints.record(transition(1))):
                error = await until_refused(call)
                assert "c.db" in str(error)
                assert "out of luck" in str(error)
                assert isinstance(error.__cause__, RuntimeError)
        assert len((await checkpoints.load(BATCH)).items) == 2
    assert rows_in(path) == 2


@pytest.mark.parametrize("verb", ["open", "close"])
async def test_any_error_while_opening_or_closing_is_raised_and_leaves_no_thread(tmp_path, monkeypatch, verb):
    def fail(*arguments):
        raise RuntimeError("out of luck")

    method = {"open": "_set_up", "close": "_check_in_place"}[verb]
    checkpoints = SQLiteCheckpoints(tmp_path / "c.db")
    monkeypatch.setattr(f"runflow_async.checkpoints.file.CheckpointFile.{method}", fail)
    with pytest.raises(CheckpointError, match=r"c\.db.*out of luck"):
        async with checkpoints:
            checkpoints.record(transition(0))
    assert threads() == []
    with pytest.raises(CheckpointError, match="not open"):
        checkpoints.record(transition(0))


async def test_closing_says_how_much_was_not_written_and_still_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("runflow_async.checkpoints.writer.BUSY_SECONDS", 0.05)
    path = tmp_path / "c.db"
    checkpoints = await SQLiteCheckpoints(path).__aenter__()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for index in range(3):
            checkpoints.record(transition(index))
        with pytest.raises(CheckpointError, match=r"3 transitions to .*locked"):
            await checkpoints.close()
    assert threads() == []


@pytest.mark.slow
async def test_closing_waits_its_full_time_for_a_lock_that_has_lasted_long(tmp_path, monkeypatch):
    """It is the last chance for what is left."""
    monkeypatch.setattr("runflow_async.checkpoints.writer.BUSY_SECONDS", 2.0)
    path = tmp_path / "c.db"
    checkpoints = await SQLiteCheckpoints(path).__aenter__()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        checkpoints.record(transition(0))
        with pytest.raises(CheckpointError, match="locked"):
            await checkpoints.flush()
        closing_down = asyncio.create_task(checkpoints.close())
        await asyncio.wait([closing_down], timeout=0.1)
        other.execute("ROLLBACK")
    await closing_down
    assert rows_in(path) == 1


async def test_a_short_lock_delays_the_write_and_raises_nothing(tmp_path):
    path = tmp_path / "c.db"
    async with SQLiteCheckpoints(path) as checkpoints:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            checkpoints.record(transition(0))
            flushing = asyncio.create_task(checkpoints.flush())
            await asyncio.sleep(0.1)  # far longer than one try
            checkpoints.record(transition(1))
            assert not flushing.done()
            other.execute("ROLLBACK")
        await flushing
    assert rows_in(path) == 2


async def test_record_raises_for_a_long_lock_and_the_rows_are_retried_without_another_call(tmp_path, monkeypatch):
    monkeypatch.setattr("runflow_async.checkpoints.writer.BUSY_SECONDS", 0.05)
    path = tmp_path / "c.db"
    async with SQLiteCheckpoints(path) as checkpoints:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert "locked" in str(await until_refused(checkpoints.record, transition(0)))
            other.execute("ROLLBACK")
        while rows_in(path) == 0:  # noqa: ASYNC110  # a file tells nobody
            await asyncio.sleep(0.001)


async def test_load_does_not_wait_for_a_writer_and_includes_unwritten_transitions(tmp_path):
    path = tmp_path / "c.db"
    async with SQLiteCheckpoints(path) as checkpoints:
        checkpoints.record(transition(0))
        checkpoints.record(transition(1))
        await checkpoints.flush()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            checkpoints.record(transition(1, "running"))
            checkpoints.record(transition(2))
            batch = await checkpoints.load(BATCH)
        assert [item.status_code for item in batch.items] == ["queued", "running", "queued"]


async def test_load_does_not_wait_for_a_group_to_fill(tmp_path, monkeypatch):
    monkeypatch.setattr("runflow_async.checkpoints.writer.GROUPING_SECONDS", 3600)
    async with SQLiteCheckpoints(tmp_path / "c.db") as checkpoints:
        checkpoints.record(transition(0))
        assert len((await checkpoints.load(BATCH)).items) == 1


async def test_load_waits_for_a_lock_on_readers_as_long_as_its_caller_does(tmp_path, monkeypatch):
    """Without WAL, as on some network file systems, a writer locks readers out. Whoever loads says how long to wait."""
    monkeypatch.setattr("runflow_async.checkpoints.file.JOURNAL", "DELETE")
    monkeypatch.setattr("runflow_async.checkpoints.writer.BUSY_SECONDS", 0.01)
    path = tmp_path / "c.db"
    async with SQLiteCheckpoints(path) as checkpoints:
        checkpoints.record(transition(0))
        await checkpoints.flush()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await checkpoints.load(BATCH)
            loading = asyncio.create_task(checkpoints.load(BATCH))
            checkpoints.record(transition(1))
            with pytest.raises(CheckpointError, match="locked"):
                await checkpoints.flush()  # bounded by BUSY_SECONDS, and not stuck behind the load
            assert not loading.done()
            other.execute("ROLLBACK")
        assert len((await loading).items) in {1, 2}


async def test_closing_ends_a_load_that_waits_for_a_lock(tmp_path, monkeypatch):
    monkeypatch.setattr("runflow_async.checkpoints.file.JOURNAL", "DELETE")
    path = tmp_path / "c.db"
    checkpoints = await SQLiteCheckpoints(path).__aenter__()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        loading = asyncio.create_task(checkpoints.load(BATCH))
        await asyncio.sleep(0)
        await checkpoints.close()
        with pytest.raises(CheckpointError, match=r"c\.db"):
            await loading


async def test_transitions_recorded_after_forgetting_are_kept(tmp_path):
    path = tmp_path / "c.db"
    async with SQLiteCheckpoints(path) as checkpoints:
        checkpoints.record(transition(0))
        await checkpoints.flush()
        checkpoints.record(transition(1))
        forgetting = asyncio.create_task(checkpoints.forget(BATCH))
        await asyncio.sleep(0)  # until it has called
        checkpoints.record(transition(2))
        await forgetting
        assert [item.sequence_index for item in (await checkpoints.load(BATCH)).items] == [2]
    assert rows_in(path) == 1


@pytest.mark.parametrize(
    "row",
    [
        "'no uuid', 0, '{0}', 'queued', NULL",
        "7, 0, '{0}', 'queued', NULL",
        "'{0}', 'x', '{0}', 'queued', NULL",
        "'{0}', 0, '{0}', x'ff', NULL",
        "'{0}', 0, '{0}', CAST(x'ff' AS TEXT), NULL",
    ],
)
async def test_an_invalid_row_is_an_error_that_names_the_file_and_the_batch(tmp_path, row):
    path = tmp_path / "c.db"
    async with SQLiteCheckpoints(path) as checkpoints:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute(f"INSERT INTO items VALUES ('{BATCH.hex}', {row.format(BATCH.hex)})")
        with pytest.raises(CheckpointError, match=rf"{BATCH} from .*c\.db"):
            await checkpoints.load(BATCH)
        assert await checkpoints.load(UUID(int=2)) is None


async def test_one_object_can_be_opened_once_at_a_time_and_again_after_closing(tmp_path):
    checkpoints = SQLiteCheckpoints(tmp_path / "c.db")
    entered = await asyncio.gather(checkpoints.__aenter__(), checkpoints.__aenter__(), return_exceptions=True)
    assert entered[0] is checkpoints
    assert isinstance(entered[1], CheckpointError)
    assert "c.db' is open already" in str(entered[1])
    await checkpoints.close()
    assert threads() == []
    async with checkpoints:
        checkpoints.record(transition(0))
    assert threads() == []


@pytest.mark.parametrize("is_locked", [False, True])
async def test_cancelling_the_opening_leaves_no_thread_and_no_open_file(tmp_path, monkeypatch, is_locked):
    is_cancelled = threading.Event()

    def open_once_cancelled(path: str) -> CheckpointFile:
        is_cancelled.wait()
        return CheckpointFile(path)

    monkeypatch.setattr("runflow_async.checkpoints.writer.BUSY_SECONDS", 3600)
    monkeypatch.setattr("runflow_async.checkpoints.writer.CheckpointFile", open_once_cancelled)
    path = tmp_path / "c.db"
    with closing(sqlite3.connect(tmp_path / "c.db", isolation_level=None)) as other:
        if is_locked:
            other.execute("BEGIN EXCLUSIVE")
        checkpoints = SQLiteCheckpoints(path)
        entering = asyncio.create_task(checkpoints.__aenter__())
        await asyncio.sleep(0)
        entering.cancel()
        is_cancelled.set()
        with pytest.raises(asyncio.CancelledError):
            await entering
        assert threads() == []
        other.execute("ROLLBACK" if is_locked else "SELECT 1")
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")  # nobody else has it open
        other.execute("ROLLBACK")
    async with checkpoints:
        pass


async def test_closing_writes_and_closes_before_it_raises_any_cancellation(tmp_path):
    path = tmp_path / "c.db"
    checkpoints = await SQLiteCheckpoints(path).__aenter__()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        checkpoints.record(transition(0))
        task = asyncio.create_task(checkpoints.close())
        for _ in range(3):
            await asyncio.sleep(0.01)
            task.cancel()
        other.execute("ROLLBACK")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert threads() == []
    assert rows_in(path) == 1


async def test_cancelled_closing_logs_what_it_could_not_write(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("runflow_async.checkpoints.writer.BUSY_SECONDS", 0.05)
    path = tmp_path / "c.db"
    checkpoints = await SQLiteCheckpoints(path).__aenter__()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        checkpoints.record(transition(0))
        task = asyncio.create_task(checkpoints.close())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert "1 transitions" in caplog.text
    assert str(path) in caplog.text


async def test_a_forgotten_batch_is_not_loaded_even_while_a_lock_delays_the_deletion(tmp_path):
    path = tmp_path / "c.db"
    async with SQLiteCheckpoints(path) as checkpoints:
        checkpoints.record(transition(0))
        await checkpoints.flush()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            forgetting = asyncio.create_task(checkpoints.forget(BATCH))
            await asyncio.sleep(0)  # until it has called
            assert await checkpoints.load(BATCH) is None
            assert not forgetting.done()
        await forgetting
    assert rows_in(path) == 0


async def test_check_open_raises_unless_it_is_open(tmp_path):
    checkpoints = SQLiteCheckpoints(tmp_path / "c.db")
    with pytest.raises(CheckpointError, match="not open"):
        checkpoints.check_open()
    async with checkpoints:
        checkpoints.check_open()


async def test_an_invalid_batch_id_is_refused_at_the_call(tmp_path):
    async with SQLiteCheckpoints(tmp_path / "c.db") as checkpoints:
        for call in (checkpoints.load, checkpoints.forget):
            with pytest.raises(ConfigurationError, match="batch_id must be a UUID"):
                await call("no id")


KILLED = """
import asyncio, os, sys, threading, time
from tests.test_checkpoints import transition, SQLiteCheckpoints
def control():
    with open(sys.argv[2], "wb", buffering=0) as file:
        while True:
            file.write(b"%f\\n" % time.monotonic())
            os.fsync(file)
            time.sleep(0.05)
threading.Thread(target=control, daemon=True).start()
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
def test_a_killed_process_loses_at_most_the_last_100_ms(tmp_path, seconds, unmeasured):
    """Or as much as a bare thread beside it that writes every 50 ms, where the machine is busy."""
    path, control = tmp_path / "c.db", tmp_path / "control"
    command = [sys.executable, "-c", KILLED, str(path), str(control)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
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
    controlled = float(control.read_text().splitlines()[-1])
    assert all(at > min(killed_at, controlled + 0.05) - 0.1 for at in lost)


async def test_a_stream_resumes_from_the_file(tmp_path, emulator, session):
    script = [[(0.0, "queued"), (0.1, "running"), (0.3, "succeeded")]] * 3
    batch_id = emulator.create_scripted_batch(script)
    async with SQLiteCheckpoints(tmp_path / "c.db") as checkpoints:
        stream = session.wait_for_batch(batch_id, interval=0.02, checkpoint=checkpoints)
        first = [await anext(stream) for _ in range(5)]
    async with SQLiteCheckpoints(tmp_path / "c.db") as checkpoints:
        rest = [t async for t in session.wait_for_batches([batch_id], interval=0.02, checkpoint=checkpoints)]
    known: dict[UUID, str] = {}
    for each in [*first[:-1], *rest]:  # the loop did not come back after the fifth
        assert known.get(each.item.id) == each.previous
        known[each.item.id] = each.current
    assert list(known.values()) == ["succeeded"] * 3
