"""One folder on disk that nothing leads out of: no link that is already in it, and no name.

Files are opened relative to open folders, and links are never followed. Synchronous; `in_thread` keeps all of it away
from the event loop.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runflow_async._downloads.names import PART
from runflow_async.errors import SaveError

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Folder", "explained", "is_for_all"]

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
FOR_ALL = FULL | {errno.EROFS, errno.EIO}
"""Errors after which no other file can be written either."""
NOT_OURS = frozenset({errno.ENOENT, errno.ELOOP, errno.ENXIO})
"""Errors of opening what is not there, a link, or a socket."""
AS_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
"""A link is an error."""


@contextmanager
def explained(what: str, path: str) -> Generator[None]:
    """Turn every OSError into a SaveError."""
    try:
        yield
    except OSError as error:
        raise _explanation(what, path, error) from error


def _explanation(what: str, path: str, error: OSError) -> SaveError:
    reason = error.strerror or str(error)
    if error.errno in FULL:
        reason += "; free some space and call again: what was downloaded is kept"
    return SaveError(f"cannot {what} {path!r}: {reason}")


class Folder:
    """An open folder; make one with `open_root` or `open_below`, and close it.

    Attributes:
        path: of the folder, for errors.
    """

    __slots__ = ("_handle", "path")

    def __init__(self, path: str, handle: int) -> None:
        self.path = path
        self._handle = handle

    @classmethod
    def open_root(cls, path: str) -> Folder:
        """Open a folder, made with its parents if there is none, and lock it against another saver.

        Raises:
            SaveError: if it cannot be made, opened or locked.
        """
        if os.open not in os.supports_dir_fd:
            raise SaveError("outputs cannot be saved on this system, which cannot open files relative to a folder")
        with explained("use the folder", path):
            try:
                os.makedirs(path, exist_ok=True)  # noqa: PTH103  # keeps the path as it was given
            except FileExistsError:
                raise SaveError(f"cannot use the folder {path!r}: it is a file; pass another path") from None
            handle = os.open(path, AS_FOLDER)
            try:
                _lock(handle, path)
                _check_writable(path)
            except BaseException:
                os.close(handle)
                raise
        return cls(path, handle)

    def open_below(self, name: str) -> Folder:
        """Open a folder in this one, made if there is none.

        Raises:
            SaveError: if that fails, or if it is a link or a file.
        """
        path = self._path_of(name)
        with explained("use the folder", path):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=self._handle)
            try:
                return Folder(path, os.open(name, AS_FOLDER | NO_LINK, dir_fd=self._handle))
            except NotADirectoryError:
                reason = "it is a file or a link; move it away"
                raise SaveError(f"cannot use the folder {path!r}: {reason}") from None

    def close(self) -> None:
        """Close it, which unlocks a root."""
        os.close(self._handle)

    def size_of(self, folder: str, name: str) -> int | None:
        """Return the size of a regular file in a folder of this one; None if there is none, or a link in its place."""
        try:
            below = os.open(folder, AS_FOLDER | NO_LINK, dir_fd=self._handle)
            try:
                found = os.stat(name, dir_fd=below, follow_symlinks=False)
            finally:
                os.close(below)
        except OSError:
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def open_existing(self, name: str) -> int | None:
        """Open a file of ours for reading and writing, as a descriptor.

        None if there is none, or something else: a link, a device, a file that has another name too.

        Raises:
            SaveError: if it cannot be opened.
        """
        try:
            with explained("open", self._path_of(name)):
                handle = os.open(name, os.O_RDWR | NO_LINK, dir_fd=self._handle)
        except SaveError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in NOT_OURS:
                return None
            raise
        found = os.fstat(handle)
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            return handle
        os.close(handle)
        return None

    def open_new(self, name: str) -> int:
        """Open a new empty file in place of what has this name, as a descriptor.

        Raises:
            SaveError: if that fails.
        """
        with explained("write", self._path_of(name)):
            self.remove(name)
            return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | NO_LINK, 0o666, dir_fd=self._handle)

    def read(self, name: str) -> bytes | None:
        """Return the content of a file of ours; None if there is none."""
        handle = self.open_existing(name)
        if handle is None:
            return None
        with explained("read", self._path_of(name)), open(handle, "rb") as file:  # noqa: PTH123  # a descriptor
            return file.read()

    def write(self, name: str, content: bytes) -> None:
        """Write a small file, which nobody reads after a crash of the machine.

        Raises:
            SaveError: if that fails.
        """
        handle = self.open_new(name)
        with explained("write", self._path_of(name)), open(handle, "wb") as file:  # noqa: PTH123  # a descriptor
            file.write(content)

    def replace(self, name: str, content: bytes) -> None:
        """Replace a file as a whole: readers and crashes see the old content or the new one.

        Raises:
            SaveError: if that fails; the old one is still there then.
        """
        part = name + PART
        handle = self.open_new(part)
        try:
            with explained("write", self._path_of(name)), open(handle, "wb") as file:  # noqa: PTH123  # a descriptor
                file.write(content)
                file.flush()
                os.fsync(handle)
            self.rename(part, name)
        except BaseException:
            with contextlib.suppress(OSError):
                self.remove(part)
            raise

    def rename(self, name: str, other: str) -> None:
        """Rename a file whose content is on disk, so that the name is too. A link of the other name is replaced.

        Raises:
            SaveError: if that fails.
        """
        with explained("write", self._path_of(other)):
            os.rename(name, other, src_dir_fd=self._handle, dst_dir_fd=self._handle)
            os.fsync(self._handle)

    def remove(self, name: str) -> None:
        """Remove a file or a link, if there is one."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._handle)

    def _path_of(self, name: str) -> str:
        return f"{self.path}/{name}"


def is_for_all(error: SaveError) -> bool:
    """Whether no other file can be written either."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in FOR_ALL


def _check_writable(path: str) -> None:
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _lock(handle: int, path: str) -> None:
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SaveError(
            f"another call saves to the folder {path!r}: wait until it ends, or pass another folder"
        ) from None
    except OSError:
        return  # a file system without locks
