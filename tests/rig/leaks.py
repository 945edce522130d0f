"""Nothing may be left behind: tasks, connections, or errors that only the event loop heard of."""

from __future__ import annotations

import asyncio
import gc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp

from runflow_async import RunflowSession
from runflow_async._http.lane import Lane
from runflow_async._http.transport import Transport
from tests.rig.clock import given_time
from tests.rig.listener import TASK_NAME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["assert_no_leaks", "connections_in_use", "eventually"]

STEP = 0.001


async def eventually(condition: Callable[[], object], *, within: float = 60.0) -> None:
    """Return as soon as the condition holds, letting the loop run meanwhile.

    Args:
        condition: looked at every millisecond of the loop's time.
        within: seconds that this process was given, also on a loop whose time jumps.

    Raises:
        AssertionError: if it does not come true in time.
    """
    give_up = given_time() + within
    while not condition():
        assert given_time() < give_up, f"not within {within} s"
        await asyncio.sleep(STEP)


@asynccontextmanager
async def assert_no_leaks(
    pool: aiohttp.BaseConnector | aiohttp.ClientSession | Callable[[], Any] | None = None, *, grace: float = 1.0
) -> AsyncIterator[None]:
    """Check that the block leaves nothing behind.

    That is: no task beyond those before it, but for the rig's own; no connection of the pool that is held or queued
    for; nothing passed to the loop's exception handler, "never retrieved" and "was destroyed" of a garbage collection
    included. A block that raises is not checked.

    Args:
        pool: a connector, a client session, or a function that returns one of them or None once the block has ended.
        grace: seconds that this process was given for what ends by itself, such as a DNS lookup in its thread.

    Raises:
        AssertionError: that names what was left.
    """
    loop = asyncio.get_running_loop()
    before = asyncio.all_tasks()
    reported: list[dict[str, Any]] = []
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: reported.append(context))
    try:
        yield
        await _settle(lambda: not _strangers(before) and not connections_in_use(pool), grace)
    finally:
        loop.set_exception_handler(handler)
    assert not _strangers(before), f"tasks left behind: {_strangers(before)}"
    assert not connections_in_use(pool), f"connections still held: {connections_in_use(pool)}"
    assert not reported, f"reported to the event loop: {reported}"


async def _settle(clean: Callable[[], bool], grace: float) -> None:
    for _ in range(3):  # a closed transport says so in the next cycle
        await asyncio.sleep(0)
    try:
        await eventually(clean, within=grace)
    except AssertionError:
        return
    gc.collect()
    await asyncio.sleep(0)


def _strangers(before: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() - before if task.get_name() != TASK_NAME}


def connections_in_use(
    pool: aiohttp.BaseConnector | aiohttp.ClientSession | RunflowSession | Transport | Callable[[], Any] | None,
) -> list[object]:
    """Connections that carry a request, and requests that queue for one."""
    if callable(pool):
        pool = pool()
    if isinstance(pool, RunflowSession):
        pool = pool._transport
    if isinstance(pool, Transport):
        way = pool._connections.way
        if isinstance(way, Lane):
            return [line for line in way._lines if line not in way._idle]
        pool = None if way is None else way._http
    if isinstance(pool, aiohttp.ClientSession):
        pool = pool.connector
    if pool is None:
        return []
    return [*pool._acquired, *(waiter for waiters in pool._waiters.values() for waiter in waiters)]
