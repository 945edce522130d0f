from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from runflow_async.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Client:
    """A plain aiohttp session with the emulator's key; every request takes a connection of its own."""

    def __init__(self, emulator: Emulator) -> None:
        self.http = aiohttp.ClientSession(
            emulator.url,
            headers={"Authorization": f"Bearer {emulator.api_key}"},
            connector=aiohttp.TCPConnector(force_close=True),
        )

    async def get(self, batch_id: object, **headers: str) -> tuple[int, Any]:
        """Return the status and the document."""
        async with self.http.get(f"/v1/batches/{batch_id}", headers=headers) as response:
            return response.status, await response.json()

    async def read(self, batch_id: object) -> bytes:
        """Return the body."""
        async with self.http.get(f"/v1/batches/{batch_id}") as response:
            return await response.read()


def port_of(emulator: Emulator) -> int:
    return int(emulator.url.rpartition(":")[2])


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that the event loop brings about."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # tasks and records have no event to wait for
            await asyncio.sleep(0.001)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def emulator(clock: Clock) -> AsyncIterator[Emulator]:
    async with Emulator(clock=clock) as emulator:
        yield emulator
    assert asyncio.all_tasks() == {asyncio.current_task()}, "the emulator left tasks behind"


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[Client]:
    client = Client(emulator)
    yield client
    await client.http.close()
