"""Checks of batch ids, and of what says where to resume."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from runflow_async._arguments.values import check_function, check_only_one, check_type, describe
from runflow_async._text import printable
from runflow_async.errors import ConfigurationError
from runflow_async.models import Batch, BatchItem, BatchItemHandle

if TYPE_CHECKING:
    from runflow_async.checkpoints import Checkpoint

__all__ = [
    "check_checkpoint",
    "parse_batch_id",
    "parse_batch_ids",
    "parse_item_id",
    "parse_since",
    "parse_since_of_many",
]

EXAMPLE_ID = "8c1f2a4e-6f0b-4c57-9d53-1b0c7f3f2a10"

_uuid_text = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}", re.IGNORECASE | re.ASCII)


def parse_batch_id(value: UUID | str | None) -> UUID:
    """Return the batch id as a UUID, so that it cannot alter the path of a request.

    White space around the text is ignored, because ids are often read from files.
    """
    return _parse_id("batch_id", value)


def parse_item_id(value: UUID | str) -> UUID:
    """Return the id of an item as a UUID."""
    return _parse_id("item_id", value)


def parse_batch_ids(values: Iterable[UUID | str]) -> list[UUID]:
    """Return several batch ids as UUIDs, in their order."""
    if isinstance(values, (str, bytes, bytearray, UUID, Batch)):
        raise ConfigurationError(
            f"batch_ids must be several ids, such as a list, not {describe(values)}: pass [batch_id]"
        )
    _check_no_wait("batch_ids", values)
    _check_iterable("batch_ids", values, "ids")
    return [parse_batch_id(value) for value in values]


def parse_since(value: Batch | None, batch_id: UUID) -> Batch | None:
    """Return an earlier snapshot of this batch, or None."""
    if value is not None and check_type("since", value, Batch).id not in (None, batch_id):
        raise ConfigurationError(f"since must be a snapshot of batch {batch_id}, not of {value.id}")
    return value


def parse_since_of_many(values: Iterable[Batch]) -> dict[UUID, Batch]:
    """Return earlier snapshots by their batch ids."""
    if isinstance(values, Batch):
        raise ConfigurationError("since must be several snapshots, such as a list, not a Batch: pass [batch]")
    if isinstance(values, Mapping):
        raise ConfigurationError("since must be snapshots, not a mapping: pass its `values()`")
    _check_iterable("since", values, "snapshots")
    earlier: dict[UUID, Batch] = {}
    for batch in values:
        batch_id = check_type("each of since", batch, Batch).id
        if batch_id is None:
            raise ConfigurationError("since must hold snapshots with their ids, such as `delivered` of each wait")
        earlier[batch_id] = batch
    return earlier


def check_checkpoint(value: Checkpoint | None, *, has_since: bool) -> Checkpoint | None:
    """Return a checkpoint, or None.

    Raises:
        CheckpointError: if it reports that it is not open.
    """
    check_only_one("where to resume", since=has_since, checkpoint=value is not None)
    if value is None:
        return None
    load, record = getattr(value, "load", None), getattr(value, "record", None)
    if isinstance(value, type) or not (callable(load) and callable(record)):
        raise ConfigurationError(
            "checkpoint must be an object with `async def load` and `def record`, such as the one from "
            f"`async with SQLiteCheckpoints(path) as checkpoint`, not {describe(value)}"
        )
    if inspect.isroutine(load) and not inspect.iscoroutinefunction(inspect.unwrap(load)):
        raise ConfigurationError("checkpoint.load must be an `async def`, because it is awaited")
    check_function("checkpoint.record", record, "a function of an ItemTransition")
    check_open = getattr(value, "check_open", None)
    if check_open is not None:
        check_open()
    return value


def _parse_id(name: str, value: UUID | str | None) -> UUID:
    if isinstance(value, UUID):
        return value
    if isinstance(value, str) and _uuid_text.fullmatch(text := value.strip()):
        return UUID(text)
    if isinstance(value, (Batch, BatchItem, BatchItemHandle)):
        kind = type(value).__name__
        raise ConfigurationError(f"{name} must be a UUID, not a {kind}: pass its `id`")
    _check_no_wait(name, value)
    shown = f"'{printable(value, 60)}'" if isinstance(value, str) else describe(value)
    raise ConfigurationError(f"{name} must be a UUID, such as {EXAMPLE_ID}, not {shown}")


def _check_no_wait(name: str, value: object) -> None:
    if isinstance(getattr(value, "batch_id", None), UUID):
        raise ConfigurationError(f"{name} must be a UUID, not {describe(value)}: pass its `batch_id`")


def _check_iterable(name: str, values: object, what: str) -> None:
    if isinstance(getattr(values, "waits", None), Mapping):
        raise ConfigurationError(f"{name} must be an iterable of {what}, not {describe(values)}: pass its `waits`")
    if isinstance(values, AsyncIterable):
        raise ConfigurationError(f"{name} must be an iterable of {what}, not an async one: pass [x async for x in it]")
    if not isinstance(values, Iterable):
        raise ConfigurationError(f"{name} must be an iterable of {what}, such as a list, not {describe(values)}")
