"""How a row of the fault matrix, which README.md has, is tried: once before valid responses, and for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import pytest

from runflow_async import RetryPolicy, RunflowError, RunflowSession
from tests.rig import Reply, ScriptedServer, assert_no_leaks, http, json_batch

if TYPE_CHECKING:
    from collections.abc import Iterable

BATCH_ID = UUID("0f0e0d0c-0b0a-4908-8706-050403020100")
GOOD = http(200, json_batch(BATCH_ID, ["succeeded"], "succeeded"))
RUNNING = http(200, json_batch(BATCH_ID, ["running"]))
QUICK = RetryPolicy(wait_initial=0.001, wait_max=0.002)
ATTEMPTS = {"R": 5, "M": 3, "N": 1}
"""Attempts of one `get_batch` when the fault stays: transient, suspect, final."""


class Row(NamedTuple):
    """A row of the matrix.

    Attributes:
        number: its number.
        name: what goes wrong, for the test's id.
        fault: what the server does.
        kind: R, M or N.
        error: what comes out when the fault stays.
        says: a part of the message.
        hides: what must not be in it.
    """

    number: int
    name: str
    fault: Reply
    kind: str
    error: type[RunflowError]
    says: str = ""
    hides: str = "\x00never"


def table(rows: Iterable[Row]) -> Any:
    """The rows as parameters whose ids read like the matrix."""
    return pytest.mark.parametrize("row", [pytest.param(row, id=f"{row.number}: {row.name}") for row in rows])


def connect(server: ScriptedServer, **keywords: Any) -> RunflowSession:
    return RunflowSession("rf_test_key", base_url=server.url, **({"retry": QUICK, "request_timeout": 0.5} | keywords))


async def stays(row: Row, **keywords: Any) -> tuple[RunflowError, ScriptedServer]:
    """The error of a `get_batch` when the fault stays, with the server that was asked."""
    async with ScriptedServer(row.fault) as server, assert_no_leaks(), connect(server, **keywords) as session:
        with pytest.raises(RunflowError) as caught:
            await session.get_batch(BATCH_ID)
    return caught.value, server


async def passes(row: Row, **keywords: Any) -> ScriptedServer:
    """Await a batch whose first answer is spoilt and whose second is good."""
    async with ScriptedServer([row.fault, GOOD]) as server, assert_no_leaks(), connect(server, **keywords) as session:
        wait = session.wait_for_batch(BATCH_ID)
        batch = await wait
    stats = wait.stats
    assert (
        stats.requests
        == stats.polls - stats.shared + stats.failures + stats.repeats + stats.cut
        == len(server.requests)
    )
    assert batch.items[0].status_code == "succeeded"
    return server
