"""The checkpoint file belongs to someone else, vanishes, is locked, or its disk is full: row 160."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from runflow_async import CheckpointError, ConfigurationError
from runflow_async.checkpoints import SQLiteCheckpoints
from runflow_async.checkpoints.file import APPLICATION_ID, SCHEMA
from tests.test_checkpoints import BATCH, rows_in, threads, transition

ROOT = Path(__file__).parent.parent
TEA = "CREATE TABLE items (sku TEXT, name TEXT, qty INTEGER, place TEXT, state TEXT, note TEXT)"


def run_python(code: str, *arguments: object) -> str:
    """What a process of its own prints; it may end as it likes."""
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT, timeout=60).stdout


def make_database(*statements: str, crash: bool = False):
    """Write a database in a process of its own, which is killed before it tidies up if asked."""
    code = "import sqlite3, sys, os, signal; db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    code += "for statement in sys.argv[2:]: db.execute(statement)\n"
    code += "os.kill(os.getpid(), signal.SIGKILL)" if crash else "db.close()"
    return lambda path: run_python(code, path, *statements)


def contents(folder: Path) -> dict[str, bytes]:
    """All files but SQLite's index of the -wal, which holds no data and which readers write as well."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.suffix != ".db-shm"}


MANY = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000) INSERT INTO t SELECT hex(i) FROM n"
OTHERS = {
    "a table": make_database("CREATE TABLE users (id INTEGER)", "INSERT INTO users VALUES (1)"),
    "a table items": make_database(TEA, "INSERT INTO items VALUES ('a', 'tea', 3, 'x', 'ok', 'n')"),
    "our version by chance": make_database(TEA, "PRAGMA user_version = 1"),
    "our table and another": make_database(SCHEMA, "CREATE TABLE t (x)", "PRAGMA user_version = 1"),
    "a view": make_database("CREATE VIEW v AS SELECT 1"),
    "only an application_id": make_database("PRAGMA application_id = 7"),
    "only a version": make_database("PRAGMA user_version = 7"),
    "WAL": make_database("PRAGMA journal_mode = WAL", TEA),
    "WAL, killed": make_database("PRAGMA journal_mode = WAL", TEA, crash=True),
    "killed in a transaction": make_database("PRAGMA cache_size = 1", "CREATE TABLE t (x)", "BEGIN", MANY, crash=True),
    "our later version": make_database(SCHEMA, f"PRAGMA application_id = {APPLICATION_ID}", "PRAGMA user_version = 2"),
    "text": lambda path: path.write_bytes(b"no database" * 100),
    "one byte": lambda path: path.write_bytes(b"x"),
    "zeros": lambda path: path.write_bytes(bytes(4096)),
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/null"),
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
async def test_a_foreign_file_is_refused_by_name_and_left_unchanged(tmp_path, make):
    path = tmp_path / "c.db"
    make(path)
    before = contents(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        async with SQLiteCheckpoints(path):
            pass
    assert str(path) in str(caught.value)
    assert contents(tmp_path) == before
    assert threads() == []


OURS = {
    "nothing": lambda path: None,
    "an empty file": lambda path: path.touch(),
    "an empty database": make_database("PRAGMA journal_mode = WAL"),
    "a file of ours that is not signed": make_database("PRAGMA journal_mode = WAL", SCHEMA, "PRAGMA user_version = 1"),
    "that, killed": make_database("PRAGMA journal_mode = WAL", SCHEMA, "PRAGMA user_version = 1", crash=True),
    "ours, killed in a transaction": make_database(
        SCHEMA,
        f"PRAGMA application_id = {APPLICATION_ID}",
        "PRAGMA user_version = 1",
        "PRAGMA cache_size = 1",
        "BEGIN",
        MANY.replace("t SELECT hex(i)", "items SELECT hex(i), '', 0, '', '', ''"),
        crash=True,
    ),
}


@pytest.mark.parametrize("make", OURS.values(), ids=OURS)
async def test_an_empty_file_or_one_of_ours_is_marked_and_used(tmp_path, make):
    path = tmp_path / "c.db"
    make(path)
    async with SQLiteCheckpoints(path) as checkpoints:
        checkpoints.record(transition(0))
    with closing(sqlite3.connect(path)) as database:
        marks = [database.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")]
    assert marks == [(APPLICATION_ID,), (1,)]
    assert rows_in(path) == 1


async def test_records_in_an_unmarked_file_of_ours_are_kept(tmp_path):
    path = tmp_path / "c.db"
    row = f"INSERT INTO items VALUES ('{BATCH.hex}', '{transition(0).item.id.hex}', 0, '{BATCH.hex}', 'queued', NULL)"
    make_database("PRAGMA journal_mode = WAL", SCHEMA, "PRAGMA user_version = 1", row)(path)
    async with SQLiteCheckpoints(path) as checkpoints:
        assert (await checkpoints.load(BATCH)).items[0].id == transition(0).item.id


@pytest.mark.parametrize(
    "path", ["", ":memory:", "file:c.db", "file:c.db?mode=memory", "a\0b", "\ud800", b"c.db", 7, None]
)
def test_a_path_that_cannot_be_a_file_is_refused_at_the_call(path):
    with pytest.raises(ConfigurationError, match="path"):
        SQLiteCheckpoints(path)


async def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"there is no folder .*absent"):
        async with SQLiteCheckpoints(tmp_path / "absent" / "c.db"):
            pass


@pytest.mark.skipif(sys.platform != "linux", reason="other systems want names in Unicode")
async def test_any_file_name_that_the_system_allows_is_used_unchanged(tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/%41?x#\xff .db")
    async with SQLiteCheckpoints(name) as checkpoints:
        checkpoints.record(transition(0))
    assert [os.fsencode(path.name) for path in tmp_path.iterdir()] == [b"%41?x#\xff .db"]


async def test_a_relative_path_means_the_same_file_after_chdir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with SQLiteCheckpoints("c.db") as checkpoints:
        monkeypatch.chdir("/")
        checkpoints.record(transition(0))
        await checkpoints.flush()
    assert rows_in(tmp_path / "c.db") == 1


def replace(path: Path) -> None:
    path.rename(path.with_name("old.db"))
    path.touch()


LOSSES = {
    "removed": Path.unlink,
    "moved": lambda path: path.rename(path.with_name("old.db")),
    "replaced": replace,
    "its folder moved": lambda path: path.parent.rename(path.parent.with_name("elsewhere")),
    "its -wal removed": lambda path: path.with_name("c.db-wal").unlink(),
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
async def test_the_next_write_notices_that_the_open_file_was_removed_moved_or_replaced(tmp_path, lose):
    path = tmp_path / "folder" / "c.db"
    path.parent.mkdir()
    checkpoints = await SQLiteCheckpoints(path).__aenter__()
    checkpoints.record(transition(0))
    await checkpoints.flush()
    lose(path)
    checkpoints.record(transition(1))
    with pytest.raises(CheckpointError, match=r"c\.db.*removed, moved or replaced"):
        await checkpoints.flush()
    with pytest.raises(CheckpointError, match="removed, moved or replaced"):
        await checkpoints.load(BATCH)
    with pytest.raises(CheckpointError, match="removed, moved or replaced"):
        await checkpoints.close()


async def test_a_link_that_is_changed_while_the_file_is_open_is_noticed(tmp_path):
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "c.db")
    checkpoints = await SQLiteCheckpoints(link).__aenter__()
    link.unlink()
    link.symlink_to(tmp_path / "other.db")
    checkpoints.record(transition(0))
    with pytest.raises(CheckpointError, match=r"link\.db.*replaced"):
        await checkpoints.close()


async def test_a_file_that_was_moved_back_is_written_again(tmp_path):
    path = tmp_path / "c.db"
    async with SQLiteCheckpoints(path) as checkpoints:
        path.rename(tmp_path / "away.db")
        checkpoints.record(transition(0))
        with pytest.raises(CheckpointError):
            await checkpoints.flush()
        (tmp_path / "away.db").rename(path)
        await checkpoints.flush()
    assert rows_in(path) == 1


FORKED = """
import asyncio, os, sys
from tests.test_checkpoints import BATCH, SQLiteCheckpoints, transition
from runflow_async import CheckpointError
async def refused(name, call):
    try:
        result = call()
        if asyncio.iscoroutine(result):
            await asyncio.wait_for(result, 20)
        print(name, "said nothing")
    except CheckpointError as error:
        print(name, "CheckpointError", "forked" in str(error) and sys.argv[1] in str(error))
async def child(checkpoints):
    await refused("record", lambda: checkpoints.record(transition(1)))
    await refused("load", lambda: checkpoints.load(BATCH))
    await refused("flush", checkpoints.flush)
    await refused("enter", checkpoints.__aenter__)
    await refused("another", SQLiteCheckpoints(sys.argv[1]).__aenter__)
    await checkpoints.close()
    async with SQLiteCheckpoints(sys.argv[1] + "2") as own:
        own.record(transition(0))
    print("its own file is fine")
async def main():
    async with SQLiteCheckpoints(sys.argv[1]) as checkpoints:
        checkpoints.record(transition(0))
        await checkpoints.flush()
        if (pid := os.fork()) == 0:
            asyncio._set_running_loop(None)
            try:
                asyncio.run(child(checkpoints))
            finally:
                sys.stdout.flush()
                os._exit(0)
        os.waitpid(pid, 0)
        checkpoints.record(transition(2))
asyncio.run(main())
"""


@pytest.mark.slow
def test_a_forked_child_is_refused_and_the_parent_is_not_disturbed(tmp_path):
    """SQLite cannot share a connection, nor even a file that was open, with a forked child: rows would be lost."""
    path = tmp_path / "c.db"
    lines = run_python(FORKED, path).splitlines()
    names = ("record", "load", "flush", "enter", "another")
    assert lines == [*(f"{name} CheckpointError True" for name in names), "its own file is fine"]
    assert rows_in(path) == 2


@pytest.mark.parametrize("was_set_up", [False, True], ids=["fresh", "set up"])
async def test_opening_waits_for_another_writer(tmp_path, was_set_up):
    path = tmp_path / "c.db"
    if was_set_up:
        async with SQLiteCheckpoints(path):
            pass
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        opening = asyncio.create_task(SQLiteCheckpoints(path).__aenter__())
        await asyncio.sleep(0.1)  # far longer than one try
        assert not opening.done()
        other.execute("ROLLBACK")
        await (await opening).close()


async def test_opening_waits_for_a_reader_before_it_changes_the_journal_mode(tmp_path):
    path = tmp_path / "c.db"
    make_database(SCHEMA, f"PRAGMA application_id = {APPLICATION_ID}", "PRAGMA user_version = 1")(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM items").fetchall()
        opening = asyncio.create_task(SQLiteCheckpoints(path).__aenter__())
        await asyncio.sleep(0.1)  # far longer than one try
        assert not opening.done()
        other.execute("COMMIT")
        await (await opening).close()


async def test_opening_a_file_that_stays_locked_raises_an_error_that_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr("runflow_async.checkpoints.writer.BUSY_SECONDS", 0.05)
    path = tmp_path / "c.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(CheckpointError, match=r"c\.db.*locked"):
            async with SQLiteCheckpoints(path):
                pass
    assert threads() == []


OPENING = """
import asyncio, sys
from tests.test_checkpoints import SQLiteCheckpoints, transition
async def main():
    for n in range(15):
        async with SQLiteCheckpoints(sys.argv[1]) as checkpoints:
            checkpoints.record(transition(100 * int(sys.argv[2]) + n))
asyncio.run(main())
"""


@pytest.mark.slow
def test_processes_open_and_close_one_fresh_file_at_the_same_time(tmp_path):
    path = tmp_path / "c.db"
    processes = [subprocess.Popen([sys.executable, "-c", OPENING, path, str(n)], cwd=ROOT) for n in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert rows_in(path) == 60


FULL = """
import asyncio, os, resource, sys
from tests.test_checkpoints import BATCH, SQLiteCheckpoints, transition
from runflow_async import CheckpointError
async def main():
    async with SQLiteCheckpoints(sys.argv[1]) as checkpoints:
        checkpoints.record(transition(0))
        await checkpoints.flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(sys.argv[1] + "-wal"), resource.RLIM_INFINITY))
        checkpoints.record(transition(1))
        try:
            await checkpoints.flush()
        except CheckpointError as error:
            print(sys.argv[1] in str(error))
        print(len((await checkpoints.load(BATCH)).items))
        while True:  # without a call that waits, the next records hear of it
            try:
                checkpoints.record(transition(2))
            except CheckpointError as error:
                print(sys.argv[1] in str(error))
                break
            await asyncio.sleep(0.01)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        checkpoints.record(transition(3))
        await checkpoints.flush()
        print("goes on")
asyncio.run(main())
"""


@pytest.mark.slow
def test_a_full_disk_is_reported_and_nothing_is_lost_once_there_is_room(tmp_path):
    path = tmp_path / "c.db"
    assert run_python(FULL, path).splitlines() == ["True", "2", "True", "goes on"]
    assert rows_in(path) == 4
