"""What any checkpoint must do: call `check_checkpoint` from a test of your own.

It opens the checkpoint several times and uses random batch ids, so it can run against a database that others use.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol
from uuid import UUID, uuid4

from runflow_async import BatchItemHandle, ItemTransition
from runflow_async.checkpoints import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager


class Flushing(Checkpoint, Protocol):
    """A checkpoint that can say when everything is written."""

    async def flush(self) -> None:
        """Return once everything recorded is written."""


ODD_REFERENCES = [None, "", "a\x00b", "naïve ✓", "'; --", "x" * 10_000]


async def check_checkpoint(open_checkpoint: Callable[[], AbstractAsyncContextManager[Flushing]]) -> None:
    """Raise AssertionError if a checkpoint breaks a rule."""
    await check_records_survive(open_checkpoint)
    await check_first_end_stays(open_checkpoint)
    await check_concurrent_workers(open_checkpoint)
    await check_cancelled_load(open_checkpoint)


async def check_records_survive(open_checkpoint: Callable[[], AbstractAsyncContextManager[Flushing]]) -> None:
    """A batch comes back with each item at its last status, exactly as it was; other batches stay out of it."""
    batch_id, items = uuid4(), [make_item(index, "queued", ref) for index, ref in enumerate(ODD_REFERENCES)]
    moved = BatchItemHandle(items[0].id, 0, uuid4(), "running")
    async with open_checkpoint() as checkpoint:
        assert await checkpoint.load(batch_id) is None
        for item in [*items, moved, make_item(9, "queued")]:
            checkpoint.record(transition(batch_id if item.sequence_index < 9 else uuid4(), item))  # noqa: PLR2004
        assert await recorded(checkpoint, batch_id) == [moved, *items[1:]], "what was recorded can be loaded at once"
    async with open_checkpoint() as checkpoint:
        assert await recorded(checkpoint, batch_id) == [moved, *items[1:]], "leaving writes everything"


async def check_first_end_stays(open_checkpoint: Callable[[], AbstractAsyncContextManager[Flushing]]) -> None:
    """A slow worker with old news cannot undo an end, neither its own nor that of another worker."""
    batch_id, ended = uuid4(), make_item(0, "succeeded")
    async with open_checkpoint() as fast, open_checkpoint() as slow:
        fast.record(transition(batch_id, ended))
        await fast.flush()
        for status in ("running", "failed"):
            for worker in (fast, slow):
                worker.record(transition(batch_id, BatchItemHandle(ended.id, 0, ended.run_id, status)))
                assert await recorded(worker, batch_id) == [ended], f"{status!r} replaced the end of an item"
                await worker.flush()
        assert await recorded(fast, batch_id) == [ended]


async def check_concurrent_workers(open_checkpoint: Callable[[], AbstractAsyncContextManager[Flushing]]) -> None:
    """Two workers that record the same items in opposite order both succeed."""
    batch_id, items = uuid4(), [make_item(index, "succeeded") for index in range(500)]
    async with open_checkpoint() as one, open_checkpoint() as two:
        for first, second in zip(items, reversed(items), strict=True):
            one.record(transition(batch_id, first))
            two.record(transition(batch_id, second))
            if first.sequence_index % 50 == 0:
                await asyncio.gather(one.flush(), two.flush())
    async with open_checkpoint() as checkpoint:
        assert await recorded(checkpoint, batch_id) == items


async def check_cancelled_load(open_checkpoint: Callable[[], AbstractAsyncContextManager[Flushing]]) -> None:
    """A wait whose timeout ended its first step loads again."""
    batch_id, item = uuid4(), make_item(0, "running")
    async with open_checkpoint() as checkpoint:
        checkpoint.record(transition(batch_id, item))
        loading = asyncio.create_task(checkpoint.load(batch_id))
        await asyncio.sleep(0)
        loading.cancel()
        await asyncio.wait([loading])
        assert await recorded(checkpoint, batch_id) == [item]


async def recorded(checkpoint: Checkpoint, batch_id: UUID) -> list[BatchItemHandle] | None:
    """Return the items that a wait would start from."""
    batch = await checkpoint.load(batch_id)
    assert batch is None or batch.id == batch_id
    return None if batch is None else sorted(batch.items or (), key=lambda item: item.sequence_index)


def make_item(index: int, status: str, client_ref: str | None = None) -> BatchItemHandle:
    """Return an item of its own."""
    return BatchItemHandle(uuid4(), index, uuid4(), status, client_ref)


def transition(batch_id: UUID, item: BatchItemHandle) -> ItemTransition:
    """Return a transition to what the item is now."""
    return ItemTransition(batch_id, item, None, datetime.now(UTC))
