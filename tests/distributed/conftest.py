from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from distributed import Client, LocalCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(autouse=True)
def workers_environment(emulator, monkeypatch):
    """Workers find the emulator; they inherit this process's environment."""
    monkeypatch.setenv("RUNFLOW_API_KEY", emulator.api_key)
    monkeypatch.setenv("RUNFLOW_BASE_URL", emulator.url)


@pytest.fixture
async def cluster() -> AsyncIterator[LocalCluster]:
    """Two workers in this process, of one thread each."""
    async with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, asynchronous=True, dashboard_address=":0"
    ) as cluster:
        yield cluster


@pytest.fixture
async def client(cluster: LocalCluster) -> AsyncIterator[Client]:
    async with Client(cluster, asynchronous=True) as client:
        yield client
