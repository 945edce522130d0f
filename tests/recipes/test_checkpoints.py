"""Checkpoints in Redis and PostgreSQL, against the real servers where they are installed."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runflow_async import CheckpointError
from runflow_async.checkpoints import SQLiteCheckpoints
from runflow_async.emulator import Emulator
from tests.rig import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FOLLOWER = """
import asyncio, sys
from runflow_async import RunflowSession
from {module} import opened

async def main():
    async with opened(sys.argv[1]) as checkpoint, RunflowSession() as session:
        async for transition in session.wait_for_batch(sys.argv[2], checkpoint=checkpoint, interval=0.05):
            print(transition.item.client_ref, transition.current, flush=True)

asyncio.run(main())
"""
REDIS = """
from contextlib import asynccontextmanager
from redis.asyncio import Redis
from redis_checkpoint import RedisCheckpoint

@asynccontextmanager
async def opened(address):
    async with Redis(unix_socket_path=address) as redis, RedisCheckpoint(redis) as checkpoint:
        yield checkpoint
"""
POSTGRES = """
from contextlib import asynccontextmanager
import asyncpg
from postgres_checkpoint import PostgresCheckpoint

@asynccontextmanager
async def opened(address):
    async with asyncpg.create_pool(host=address, user="runflow", database="postgres", min_size=1) as pool:
        async with PostgresCheckpoint(pool) as checkpoint:
            yield checkpoint
"""


def found(program: str, package: str) -> str:
    """Where a server is; Debian keeps PostgreSQL's programs off the path."""
    places = [os.environ["PATH"], *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))]
    where = shutil.which(program, path=os.pathsep.join(places))
    return where or pytest.skip(f"{program} is not installed: apt-get install {package}")


@asynccontextmanager
async def running(*command: object, **options) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(*map(str, command), stdout=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        await process.wait()


@pytest.fixture(params=["redis", "postgres"])
async def server(request, recipe, monkeypatch) -> AsyncIterator[tuple[str, Path, str]]:
    """A server of this test's own: where it listens, and a folder with a module that opens checkpoints on it.

    Not in pytest's folder, which is for the user that runs it alone; PostgreSQL may need another one.
    """
    serve, source = (serve_redis, REDIS) if request.param == "redis" else (serve_postgres, POSTGRES)
    module = f"opening_{request.param}"
    with tempfile.TemporaryDirectory(prefix="runflow-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(folder)
        async with serve(folder, recipe) as address:
            yield address, folder, module
    monkeypatch.delitem(sys.modules, module, raising=False)


@asynccontextmanager
async def serve_redis(folder: Path, _: object) -> AsyncIterator[str]:
    socket = folder / "redis.sock"
    command = (found("redis-server", "redis-server"), "--port", 0, "--unixsocket", socket, "--dir", folder)
    async with running(*command) as process:
        await eventually(lambda: socket.exists() or process.returncode is not None)
        yield str(socket)


@asynccontextmanager
async def serve_postgres(folder: Path, recipe) -> AsyncIterator[str]:
    import asyncpg

    initdb, postgres = found("initdb", "postgresql"), found("postgres", "postgresql")
    user = {}
    if os.geteuid() == 0:  # it refuses to run as root
        owner = pwd.getpwnam("postgres")
        user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": [], "cwd": "/"}
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    data = folder / "data"
    command = [initdb, "-D", data, "-U", "runflow", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale", "C"]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, **user)
    settings = ("-c", "listen_addresses=", "-k", folder, "-F")
    async with running(postgres, "-D", data, *settings, stderr=subprocess.DEVNULL, **user) as process:
        socket = folder / ".s.PGSQL.5432"
        await eventually(lambda: socket.exists() or process.returncode is not None)
        connection = await connect(asyncpg, folder)
        await connection.execute(recipe("postgres_checkpoint").SCHEMA)
        await connection.close()
        yield str(folder)


async def connect(asyncpg, folder: Path):
    async with asyncio.timeout(60):
        while True:
            try:
                return await asyncpg.connect(host=str(folder), user="runflow", database="postgres")
            except (OSError, asyncpg.CannotConnectNowError):
                await asyncio.sleep(0.02)


async def test_the_file_passes_what_any_checkpoint_must_do(recipe, tmp_path):
    check = recipe("checkpoint_conformance").check_checkpoint
    await check(lambda: SQLiteCheckpoints(tmp_path / "taken.db"))


@pytest.mark.slow
async def test_a_checkpoint_in_a_database_does_what_any_must(server, recipe):
    address, _, module = server
    opened = recipe(module).opened
    await recipe("checkpoint_conformance").check_checkpoint(lambda: opened(address))


@pytest.mark.slow
async def test_a_follower_that_is_killed_leaves_the_rest_to_another_one(server, process, monkeypatch):
    """Two follow the same batch, and one is killed: nothing is left out, and the next one has nothing left to do."""
    address, folder, module = server
    now = 0.0
    async with Emulator(seed=1, clock=lambda: now) as emulator:
        monkeypatch.setenv("RUNFLOW_API_KEY", emulator.api_key)
        monkeypatch.setenv("RUNFLOW_BASE_URL", emulator.url)
        batch_id = emulator.create_scripted_batch([[(0.0, "running"), (1.0 + i % 2, "succeeded")] for i in range(12)])
        program = ("-c", FOLLOWER.format(module=module), address, batch_id)
        follow = partial(process, *program, PYTHONPATH=os.pathsep.join([str(folder), *sys.path]))
        async with follow() as killed:
            await killed.until_printed("running", 12)
            async with follow() as other:
                now = 1.5
                await killed.until_printed("succeeded")
                killed.kill()
                await killed.ended()
                now = 2.5
                assert await other.ended() == 0, other.lines
        async with follow() as third:
            assert await third.ended() == 0, third.lines
    ends = {f"item-{index} succeeded" for index in range(12)}
    assert {line for line in killed.lines + other.lines if "succeeded" in line} == ends
    assert third.lines == []


async def test_a_write_that_fails_is_raised_by_the_next_record_and_tried_again(recipe, monkeypatch):
    conformance, module = recipe("checkpoint_conformance"), recipe("write_behind")
    monkeypatch.setattr(module, "PAUSE", 0.0)
    written: list[object] = []
    broken = True

    class Flaky(module.WriteBehind):
        async def read(self, batch_id):
            return []

        async def write(self, transitions):
            await asyncio.sleep(0)
            if broken:
                raise OSError("the database is away")
            written.extend(transitions)

    batch_id, item = conformance.uuid4(), conformance.make_item(0, "running")
    async with Flaky() as checkpoint:
        checkpoint.record(first := conformance.transition(batch_id, item))
        await eventually(lambda: checkpoint._failure is not None)
        with pytest.raises(CheckpointError, match="2 transitions: the database is away"):
            checkpoint.record(second := conformance.transition(batch_id, item))
        broken = False
    assert written == [first, second]
