"""What `save_outputs` returns: a line for each file that is on disk, and an error for each that is not."""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from runflow_async.errors import DownloadError  # of a struct

__all__ = ["SavedFile", "SavedOutputs"]


class SavedFile(Struct, frozen=True, kw_only=True):
    """One file of an output that is whole on disk; one line of `outputs.jsonl`.

    Attributes:
        batch_id: the batch.
        item_id: the item.
        sequence_index: of the item, or None.
        client_ref: of the item, or None.
        status_code: of the item, as received.
        position: of the file's URL in `item.urls`.
        url: the file's URL without its query, which is the signature.
        path: relative to the folder, with `/` between its parts.
        bytes: size of the file.
    """

    batch_id: UUID
    item_id: UUID
    sequence_index: int | None = None
    client_ref: str | None = None
    status_code: str | None = None
    position: int
    url: str
    path: str
    bytes: int


class SavedOutputs(Struct, frozen=True):
    """What `save_outputs` has saved of a batch.

    Attributes:
        files: all files of the batch that are whole on disk, also those of earlier calls, in the order of the items.
        failures: one error for each file that is not.
    """

    files: list[SavedFile]
    failures: list[DownloadError]

    def __repr__(self) -> str:
        return f"<SavedOutputs {len(self.files):,} files, {self.bytes:,} bytes, {len(self.failures):,} failures>"

    @property
    def bytes(self) -> int:
        """The size of all files together."""
        return sum(file.bytes for file in self.files)

    def raise_for_failures(self) -> None:
        """Raise unless every file was saved.

        Raises:
            ExceptionGroup: the failures.
        """
        if self.failures:
            total = len(self.files) + len(self.failures)
            raise ExceptionGroup(f"{len(self.failures)} of {total} files were not saved", self.failures)
