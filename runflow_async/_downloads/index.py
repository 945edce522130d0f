"""`outputs.jsonl`: one line for each file that is whole, replaced as a whole about once a second."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from runflow_async._downloads.names import PART, Names, safe_name
from runflow_async._downloads.threads import in_thread
from runflow_async._saved import SavedFile
from runflow_async.errors import SaveError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from runflow_async._downloads.disk import Folder
    from runflow_async.models import BatchItem

__all__ = ["INDEX", "Index", "read_index"]

INDEX = "outputs.jsonl"
SHORTEST_PAUSE_SECONDS = 1.0
PAUSE_PER_WRITE = 20
"""Shortest time between two writes, as a multiple of the duration of a write: a large index is written less often."""


class Index:
    """The index of an open folder.

    Args:
        folder: that has it.
        files: that `read_index` has found in it.
    """

    def __init__(self, folder: Folder, files: Iterable[SavedFile]) -> None:
        self._folder = folder
        self._files = {(file.item_id, file.position): file for file in files}
        self._folders = {file.item_id: file.path.partition("/")[0] for file in self._files.values()}
        self._names = Names([INDEX, INDEX + PART, *self._folders.values()])
        self._is_changed = False

    def folder_of(self, item: BatchItem) -> str:
        """Return the name of an item's folder: its `client_ref`, or its index, or else its id.

        No two items have the same one, also if they are of different batches, and an item keeps the one it had.
        """
        if item.id not in self._folders:
            number = item.id if item.sequence_index is None else item.sequence_index
            name = safe_name(item.client_ref or "") or safe_name(str(number))
            self._folders[item.id] = self._names.take(name)
        return self._folders[item.id]

    def find(self, item_id: UUID, position: int) -> SavedFile | None:
        """Return what was saved for a URL of an item."""
        return self._files.get((item_id, position))

    def add(self, file: SavedFile) -> None:
        """Add a file, or replace what was saved for its URL before."""
        self._is_changed |= self.find(file.item_id, file.position) != file
        self._files[file.item_id, file.position] = file

    async def keep_written(self) -> None:
        """Write the index about once a second while it changes, until this is cancelled.

        Raises:
            SaveError: if that fails.
        """
        loop = asyncio.get_running_loop()
        pause = SHORTEST_PAUSE_SECONDS
        while True:
            await asyncio.sleep(pause)
            began = loop.time()
            await self.write()
            pause = max(SHORTEST_PAUSE_SECONDS, PAUSE_PER_WRITE * (loop.time() - began))

    async def write(self) -> None:
        """Write the index if it has changed.

        Raises:
            SaveError: if that fails.
        """
        if self._is_changed:
            self._is_changed = False
            await in_thread(self._write, list(self._files.values()))

    def _write(self, files: list[SavedFile]) -> None:
        self._folder.replace(INDEX, b"".join(map(_line, sorted(files, key=_place))))


def _line(file: SavedFile) -> bytes:
    return msgspec.json.encode(file) + b"\n"


def _place(file: SavedFile) -> tuple[str, int, str, int]:
    return str(file.batch_id), file.sequence_index or 0, str(file.item_id), file.position


def read_index(folder: Folder) -> list[SavedFile]:
    """Return the files in the index of a folder; synchronous.

    Raises:
        SaveError: if there is a file of its name that is no index.
    """
    content = folder.read(INDEX)
    try:
        files = msgspec.json.Decoder(SavedFile).decode_lines(content or b"")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        advice = "move it away, or pass another folder"
        raise SaveError(f"{folder.path}/{INDEX} is not an index that save_outputs has written: {advice}") from error
    return [file for file in files if _is_below(file.path)]


def _is_below(path: str) -> bool:
    """Whether a path is one of a file in a folder, as this gives them out."""
    names = path.split("/")
    return len(names) == 2 and all(name.strip(". ") and "\\" not in name and name.isprintable() for name in names)  # noqa: PLR2004
