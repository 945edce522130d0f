"""A wait that is dropped before anybody used it says so, as a coroutine does."""

from __future__ import annotations

import asyncio
import gc
import re
import subprocess
import sys
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from runflow_async import BatchWait, RunflowSession, WaitClosedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID


@pytest.fixture
async def batch_id(emulator) -> UUID:
    return emulator.create_batch(duration=0.05)


@pytest.fixture
def warned() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always")
        yield recorded


def texts(warned: list[warnings.WarningMessage]) -> list[str]:
    gc.collect()
    return [str(one.message) for one in warned]


async def test_a_forgotten_await_of_one_batch_is_named_at_its_line(session, batch_id, warned):
    session.wait_for_batch(batch_id)
    assert texts(warned) == [f"wait_for_batch({batch_id}) was never awaited or iterated"]
    assert (warned[0].category, warned[0].filename) == (RuntimeWarning, __file__)


async def test_the_warning_holds_the_wait_for_tracemalloc_to_say_where_it_was_made(session, batch_id, warned):
    session.wait_for_batch(batch_id)
    (one,) = warned
    assert isinstance(one.source, BatchWait)


async def test_a_forgotten_await_of_many_is_one_warning(session, batch_id, warned):
    session.wait_for_batches([batch_id, batch_id, str(batch_id).upper()])
    assert texts(warned) == ["wait_for_batches() was never awaited or iterated"]


async def test_taking_none_as_completed_is_a_forgotten_await(session, batch_id, warned):
    session.wait_for_batches([batch_id]).as_completed()
    assert texts(warned) == ["wait_for_batches() was never awaited or iterated"]


async def test_looking_at_it_is_no_use_of_it(session, batch_id, warned):
    wait = session.wait_for_batch(batch_id)
    wait.nudge()
    assert (wait.done(), wait.batch, wait.stats.polls, wait.delivered.items) == (False, None, 0, [])
    del wait
    assert len(texts(warned)) == 1


async def use(how: str, waits) -> None:
    match how:
        case "awaited":
            await waits
        case "iterated":
            async for _ in waits:
                break
        case "closed":
            await waits.aclose()
        case "entered":
            async with waits:
                pass
        case "cancelled before its first step":
            task = asyncio.ensure_future(waits)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        case "closed as a coroutine":
            waits.close()


FLEETS_TOO = ["awaited", "iterated", "closed", "entered"]


@pytest.mark.parametrize("how", [*FLEETS_TOO, "cancelled before its first step", "closed as a coroutine"])
async def test_what_was_used_is_dropped_in_silence(session, batch_id, warned, how):
    await use(how, session.wait_for_batch(batch_id))
    if how in FLEETS_TOO:
        await use(how, session.wait_for_batches([batch_id]))
    assert texts(warned) == []


async def test_what_was_never_used_is_dropped_in_silence_once_the_session_is_closed(emulator, batch_id, warned):
    async with RunflowSession(emulator.api_key, base_url=emulator.url) as session:
        kept = [session.wait_for_batch(batch_id), session.wait_for_batches([batch_id])]
    kept.clear()
    assert texts(warned) == []


async def test_members_of_many_never_warn_themselves(session, batch_id, warned):
    waits = session.wait_for_batches([])
    await waits.aclose()
    with suppress(WaitClosedError):
        waits.add(batch_id)
    del waits
    waits = session.wait_for_batches([batch_id])
    waits.add(batch_id)
    await waits.aclose()
    del waits
    assert texts(warned) == []


@pytest.mark.slow
def test_at_the_interpreters_exit_it_harms_nothing():
    """In the middle of being torn down, in a cycle of its own, and with the loop gone."""
    program = """
import asyncio
from uuid import uuid4
from runflow_async import RunflowSession

class Holder: pass

async def main():
    holder = Holder()
    holder.session = RunflowSession("key")
    holder.wait, holder.waits = holder.session.wait_for_batch(uuid4()), holder.session.wait_for_batches([uuid4()])
    holder.itself = holder
    return holder

holder = asyncio.run(main())
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "Traceback" not in run.stderr
    assert "Exception ignored" not in run.stderr


@pytest.mark.parametrize("name", ["status_code", "items_succeeded", "is_terminal", "raise_for_status"])
async def test_a_field_of_the_batch_asked_of_the_wait_hints_at_the_await(session, batch_id, name):
    async with session.wait_for_batch(batch_id) as wait:
        with pytest.raises(AttributeError, match=re.escape(f"`(await wait).{name}`")) as caught:
            getattr(wait, name)
        assert (caught.value.name, caught.value.obj) == (name, wait)


@pytest.mark.parametrize("name", ["status", "__struct_fields__", "_batch"])
async def test_other_attributes_that_are_not_there_hint_at_nothing(session, batch_id, name):
    async with session.wait_for_batch(batch_id) as wait:
        with pytest.raises(AttributeError, match=f"^'BatchWait' object has no attribute '{name}'$"):
            getattr(wait, name)
