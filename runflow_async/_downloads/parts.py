"""A file that is being downloaded: `name.part`, and beside it a note that says what it is a part of.

Both survive the process, so that a later one can resume. Synchronous.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from runflow_async._downloads.disk import explained
from runflow_async._downloads.judging import Note
from runflow_async._downloads.names import NOTE, PART

if TYPE_CHECKING:
    from runflow_async._downloads.disk import Folder

__all__ = ["Part"]


class Part:
    """The part of one file, open.

    Args:
        folder: that holds it; closed with it.
        name: of the file once it is whole.

    Attributes:
        size: bytes of it that are here.
        note: what they are a part of.

    Raises:
        SaveError: by all methods, if the disk or the folder does not take it.
    """

    __slots__ = ("_folder", "_handle", "_name", "_path", "note", "size")

    def __init__(self, folder: Folder, name: str) -> None:
        self.size = 0
        self.note: Note | None = None
        self._folder = folder
        self._name = name
        self._path = f"{folder.path}/{name}{PART}"
        handle = folder.open_existing(name + PART)
        note = self._read_note()
        if handle is not None and note is not None:
            self.note, self.size = note, os.fstat(handle).st_size
        self._handle = folder.open_new(name + PART) if handle is None else handle

    def resume(self, url: str) -> None:
        """Keep what is here if it is a part of the file at this URL, which has no query; else empty it."""
        if self.note is None or self.note.url != url or self.size > (self.note.length or self.size):
            self.empty()

    def empty(self) -> None:
        """Begin anew: drop what is here."""
        with explained("write", self._path):
            os.ftruncate(self._handle, 0)
        self.size, self.note = 0, None

    def begin(self, note: Note | None) -> None:
        """Begin anew, as a part of this file; None if it is not to be resumed."""
        self.empty()
        with explained("write", self._path):
            self._folder.remove(self._name + NOTE)
        if note is not None:
            self._folder.write(self._name + NOTE, msgspec.json.encode(note))
            self.note = note

    def write(self, content: bytes) -> None:
        """Append bytes."""
        with explained("write", self._path):
            view = memoryview(content)
            while view:
                written = os.pwrite(self._handle, view, self.size)
                self.size += written
                view = view[written:]

    def finish(self, name: str) -> None:
        """Make it the whole file of this name, on disk before it has the name."""
        with explained("write", self._path):
            os.fsync(self._handle)
        self._folder.rename(self._name + PART, name)
        self._folder.remove(self._name + NOTE)

    def close(self) -> None:
        """Close it. It stays on disk, unless it was finished."""
        os.close(self._handle)
        self._folder.close()

    def _read_note(self) -> Note | None:
        content = self._folder.read(self._name + NOTE)
        try:
            return None if content is None else msgspec.json.decode(content, type=Note)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
