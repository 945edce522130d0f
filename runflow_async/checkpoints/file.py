"""One SQLite file of checkpoints: checks whether it is ours, writes and reads its rows.

Synchronous. A lock held by another process is an error here (`is_busy`); the writer decides how long to wait for it.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from runflow_async.errors import CheckpointError
from runflow_async.models import TERMINAL_STATUSES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["INHERITED", "CheckpointFile", "Inode", "Row", "is_busy"]

APPLICATION_ID = int.from_bytes(b"rflw", "big")
VERSION = 1
JOURNAL = "WAL"
"""Where the file system does not support it, SQLite keeps its default mode, in which a writer locks readers out."""
SCHEMA = """\
CREATE TABLE items (
    batch_id TEXT NOT NULL, item_id TEXT NOT NULL, sequence_index INTEGER NOT NULL, run_id TEXT NOT NULL,
    status_code TEXT NOT NULL, client_ref TEXT, PRIMARY KEY (batch_id, item_id)
) WITHOUT ROWID"""
UPSERT = """\
INSERT INTO items VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    sequence_index = excluded.sequence_index, run_id = excluded.run_id, status_code = excluded.status_code,
    client_ref = excluded.client_ref
WHERE NOT has_ended(status_code)"""
"""An item's first end stays, whichever process writes last."""
DELETE = "DELETE FROM items WHERE batch_id = ?"
SELECT = "SELECT * FROM items WHERE batch_id = ?"
SMALLEST_PAGE = 512
"""Bytes of the smallest page that SQLite writes."""

Row = tuple[str, str, int, str, str, str | None]
"""The columns of `SCHEMA`; ids in hexadecimal."""
Inode = tuple[int, int]

INHERITED: set[Inode] = set()
"""Files that the parent had open when this process was forked.

SQLite keeps its view of the locks in memory. A forked child inherits this view without the locks, so its connection
to such a file is not protected: its rows vanish when the parent closes the file.
"""

# Raised by SQLite, or by Python on the way to it, because of a single row; the file itself is intact.
BAD_ROW = (
    ArithmeticError,
    TypeError,
    ValueError,
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)


EMPTY = (0, 0, ())
UNMARKED = (0, 1, (SCHEMA,))
"""A file of ours from before there was an `application_id`; like `EMPTY`: application_id, user_version and tables."""


def is_busy(error: BaseException | None) -> bool:
    """Whether another connection holds a lock, so that the same call may succeed later."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # extended codes have the details in their upper bits
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL)


class CheckpointFile:
    """An open checkpoint file, set up and marked as ours.

    Raises:
        CheckpointError: if we cannot use it; nothing in it has been changed then.
        OSError: if its folder cannot be read.
        sqlite3.Error: if it cannot be opened, or is locked.
    """

    def __init__(self, path: str) -> None:
        self._path = Path.cwd() / path  # not resolved: a link may be replaced, too
        self._real = Path(os.path.realpath(path))
        self._name = repr(str(self._path))
        if self._find_file():
            self._inspect()
        self._database = self._connect("mode=rwc")
        try:
            self.inode = self._find_inode(self._path)
            self._set_up()
            self._database.create_function("has_ended", 1, TERMINAL_STATUSES.__contains__, deterministic=True)
            self._inodes = self._find_inodes()
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def write(self, forgotten: Iterable[str], rows: Collection[Row]) -> list[tuple[Row, Exception]]:
        """Delete batches, then write rows, all in one transaction.

        Returns:
            the rows that cannot be stored, each with its error; all others are written.
        """
        self._check_in_place()
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(DELETE, [(batch,) for batch in forgotten])
            refused = self._upsert(rows)
            self._database.execute("COMMIT")
        finally:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
        return refused

    def read(self, batch: str) -> list[Row]:
        """Return all rows of a batch."""
        self._check_in_place()
        return self._database.execute(SELECT, (batch,)).fetchall()

    def _find_file(self) -> bool:
        """Return whether there is a file; raise if it can never be used."""
        try:
            found = self._real.stat()
        except FileNotFoundError:
            folder = self._real.parent
            if not folder.is_dir():
                hint = f"there is no folder {str(folder)!r}; create it"
                raise CheckpointError(f"cannot open {self._name}: {hint}") from None
            return False
        if (found.st_dev, found.st_ino) in INHERITED:
            raise CheckpointError(
                f"{self._name} was open when this process was forked, and SQLite cannot share it with the parent: "
                "start the process with 'spawn' or 'forkserver', or fork before the file is opened"
            )
        if not stat.S_ISREG(found.st_mode):
            raise CheckpointError(f"cannot open {self._name}: it is a folder or a device, not a file")
        if 0 < found.st_size < SMALLEST_PAGE:  # SQLite treats a one-byte file as empty and overwrites it
            raise CheckpointError(f"cannot open {self._name}: file is not a database")
        return True

    def _connect(self, how: str) -> sqlite3.Connection:
        return sqlite3.connect(f"{self._real.as_uri()}?{how}", timeout=0, isolation_level=None, uri=True)

    def _inspect(self) -> None:
        """Check who owns it, without changing it and without leaving a file beside it.

        The last reader that may write cleans up: it moves what a crash left in `-wal` or `-journal` into the file. A
        reader that may not write leaves new `-wal` and `-shm` files behind. The file is only ever read through SQLite:
        closing a plain descriptor would drop the locks of this process's other connections.
        """
        leftovers = any(self._beside(suffix).exists() for suffix in ("-wal", "-journal"))
        try:
            with closing(self._connect("mode=ro" if leftovers else "mode=rw")) as database:
                database.execute("BEGIN")
                self._check_owner(database)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
                raise
            with closing(self._connect("immutable=1")) as database:  # a crash cut a transaction: read only the header
                if database.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
                    raise

    def _check_owner(self, database: sqlite3.Connection) -> bool:
        """Return whether the file is marked as ours; False if it is empty, or ours from before there were marks.

        Raises:
            CheckpointError: if it belongs to something else, or to a later version.
        """
        (application_id,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if application_id == APPLICATION_ID:
            if version != VERSION:
                raise CheckpointError(f"{self._name} has version {version}, but this library writes {VERSION}")
            return True
        tables = tuple((sql or "").strip() for (sql,) in database.execute("SELECT sql FROM sqlite_master"))
        if (application_id, version, tables) not in (EMPTY, UNMARKED):
            raise CheckpointError(
                f"{self._name} is a database of another application (application_id {application_id}, "
                f"user_version {version}): nothing was changed; pass a separate path for the checkpoints"
            )
        return False

    def _set_up(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        if not self._check_owner(self._database):
            self._database.execute(SCHEMA.replace("TABLE", "TABLE IF NOT EXISTS", 1))
            self._database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._database.execute(f"PRAGMA user_version = {VERSION}")
        self._database.execute("COMMIT")
        self._database.execute(f"PRAGMA journal_mode = {JOURNAL}")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute("SELECT 1 FROM items LIMIT 0").fetchall()  # creates the -wal file

    def _beside(self, suffix: str) -> Path:
        return self._real.with_name(self._real.name + suffix)

    def _find_inode(self, path: Path) -> Inode:
        found = path.stat()
        return found.st_dev, found.st_ino

    def _find_inodes(self) -> tuple[Inode | None, ...]:
        """Return the file at the path and its `-wal`, which stays the same as long as a connection is open."""
        found: list[Inode | None] = []
        for path in (self._path, self._beside("-wal")):
            try:
                found.append(self._find_inode(path))
            except OSError:
                found.append(None)
        return tuple(found)

    def _check_in_place(self) -> None:
        if self._find_inodes() != self._inodes:
            raise CheckpointError(
                f"{self._name} was removed, moved or replaced while it was open, or its -wal file was: "
                "nothing more is written to it; close it, and open it again"
            )

    def _upsert(self, rows: Collection[Row]) -> list[tuple[Row, Exception]]:
        try:
            self._database.executemany(UPSERT, rows)
        except BAD_ROW:
            return [(row, error) for row in rows if (error := self._find_fault(row)) is not None]
        return []

    def _find_fault(self, row: Row) -> Exception | None:
        """Write one row; return the error if it concerns only this row."""
        try:
            self._database.execute(UPSERT, row)
        except BAD_ROW as error:
            return error
        return None
