"""Callbacks that reach another worker than the one that waits, with the real Redis where it is installed."""

from __future__ import annotations

import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.recipes.test_checkpoints import serve_redis
from tests.rig import eventually, on_uvicorn
from tests.test_callbacks import SECRET, callback, sign

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytest.importorskip("redis")


@pytest.fixture
async def redis_url(recipe, monkeypatch) -> AsyncIterator[str]:
    with tempfile.TemporaryDirectory(prefix="runflow-") as folder:
        async with serve_redis(Path(folder), recipe) as socket:
            monkeypatch.setenv("REDIS_URL", f"unix://{socket}")
            monkeypatch.setenv("RUNFLOW_CALLBACK_SECRET", SECRET)
            yield socket


async def test_a_callback_ends_the_wait_of_another_worker(redis_url, recipe, emulator):
    from redis.asyncio import Redis

    module, sessions = recipe("redis_callbacks"), []

    @asynccontextmanager
    async def hold(app):
        async with hold_session(app) as state:
            sessions.append(state["session"])
            yield state

    hold_session, module.app.router.lifespan_context = module.hold_session, hold
    batch_id = emulator.create_scripted_batch([[(0.0, "running"), (0.1, "succeeded")]])
    body = callback(batch_id)
    async with (
        on_uvicorn(module.app) as url,
        on_uvicorn(module.app),
        aiohttp.ClientSession() as http,
        Redis(unix_socket_path=redis_url) as redis,
    ):
        while (await redis.pubsub_numsub(module.CHANNEL))[0][1] < 2:
            pass
        wait = sessions[1].wait_for_batch(batch_id, interval=60)
        await anext(wait)
        await eventually(lambda: emulator.snapshot(batch_id)["completed_at"])
        async with http.post(f"{url}/runflow", data=body, headers={"Runflow-Signature": sign(body)}) as answer:
            assert answer.status == 200
        assert (await wait).is_terminal
        for wrong, signature, status in [(body, "0" * 64, 401), (b"{}", sign(b"{}"), 400)]:
            async with http.post(f"{url}/runflow", data=wrong, headers={"Runflow-Signature": signature}) as answer:
                assert answer.status == status
