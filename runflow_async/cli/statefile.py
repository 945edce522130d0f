"""The files of `--since` and `--save`: what a watch has shown of each batch, one snapshot per line.

It is a checkpoint for the waits, so it records exactly what was shown.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from runflow_async.cli.replacing import replace_file
from runflow_async.cli.texts import to_utf8
from runflow_async.errors import CheckpointError, ConfigurationError
from runflow_async.models import Batch, BatchItemHandle

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from uuid import UUID

    from runflow_async import ItemTransition

__all__ = ["StateFile", "read_snapshots"]

SHORTEST_PAUSE_SECONDS = 1.0
"""Shortest time between two writes."""
PAUSE_PER_WRITE = 20
"""Shortest time between two writes, as a multiple of the duration of a write: a large file is written less often."""


class Snapshot(Batch, frozen=True):
    """What a command has shown of a batch; `written_by` is its name, or None in the output of `get`."""

    written_by: str | None = None


def read_snapshots(path: Path, command: str) -> list[Snapshot]:
    """Read a file that `--save` of this command has written, or the output of `get`.

    Raises:
        ConfigurationError: if the file cannot be read or contains anything else.
    """
    try:
        batches = msgspec.json.Decoder(Snapshot).decode_lines(to_utf8(path.read_bytes()))
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} does not contain snapshots as --save writes them: {error}") from error
    if any(batch.id is None for batch in batches):
        raise ConfigurationError(f"{path} does not contain snapshots as --save writes them: a line has no id")
    if others := {batch.written_by for batch in batches} - {None, command}:
        raise ConfigurationError(f"{path} was saved by {others.pop()!r}, and {command!r} needs a file of its own")
    return batches


class StateFile:
    """Records the last shown status of each item; a `Checkpoint` for the waits.

    The whole file is replaced about once a second while something changes, and once more by `write`.

    Args:
        command: whose file it is.
        since: what was shown earlier.
        path: the file to write; None writes none.

    Raises:
        ConfigurationError: if the path exists and is not a regular file.

    Attributes:
        items: the items shown, by batch and id.
    """

    def __init__(self, command: str, since: Iterable[Batch], path: Path | None) -> None:
        path = None if path is None else path.resolve()
        if path is not None and path.exists() and not path.is_file():
            raise ConfigurationError(f"cannot save to {path}: it is not a regular file, and would be replaced by one")
        self.items: dict[UUID, dict[UUID, BatchItemHandle]] = {
            batch.id: {item.id: item for item in batch.items or []} for batch in since if batch.id is not None
        }
        self._command = command
        self._path = path
        self._timer: asyncio.TimerHandle | None = None
        self._pause = SHORTEST_PAUSE_SECONDS
        self._error: CheckpointError | None = None

    async def load(self, batch_id: UUID) -> Batch | None:
        """Return what was shown of a batch, or None."""
        items = self.items.get(batch_id)
        return Batch(id=batch_id, items=list(items.values())) if items else None

    def record(self, transition: ItemTransition) -> None:
        """Record a transition that was shown.

        Raises:
            CheckpointError: if the file could not be written.
        """
        if self._error is not None:
            raise self._error
        self.items.setdefault(transition.batch_id, {})[transition.item.id] = transition.item
        if self._path is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause, self._write_in_time)

    def write(self) -> None:
        """Write the file now.

        Raises:
            CheckpointError: if it cannot be written.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._path is None:
            return
        snapshots = (
            Snapshot(id=batch_id, items=list(items.values()), written_by=self._command)
            for batch_id, items in self.items.items()
        )
        try:
            replace_file(self._path, b"".join(msgspec.json.encode(snapshot) + b"\n" for snapshot in snapshots))
        except OSError as error:
            raise CheckpointError(f"cannot write {self._path}: {error.strerror}") from error

    def _write_in_time(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            self.write()
        except CheckpointError as error:
            self._error = error  # raised with the next transition
        self._pause = max(SHORTEST_PAUSE_SECONDS, PAUSE_PER_WRITE * (loop.time() - began))
