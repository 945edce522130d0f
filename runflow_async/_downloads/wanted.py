"""One file that is to be saved: the item it belongs to, where it is, and what it will be called."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from runflow_async._downloads.addresses import shown_url
from runflow_async._saved import SavedFile
from runflow_async._text import Secret
from runflow_async.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from runflow_async.models import BatchItem

__all__ = ["Wanted"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file of an item, where it is and what it will be called.

    Attributes:
        batch_id: the batch.
        item_id: the item.
        sequence_index: of the item.
        client_ref: of the item.
        status_code: of the item.
        position: of the URL in `item.urls`.
        url: masked when shown, because it is signed.
        folder: name of the item's folder.
        name: of the file, perhaps still without an extension.
    """

    batch_id: UUID
    item_id: UUID
    sequence_index: int | None
    client_ref: str | None
    status_code: str | None
    position: int
    url: Secret
    folder: str
    name: str

    @classmethod
    def of(cls, batch_id: UUID, item: BatchItem, url: str, *, position: int, folder: str, name: str) -> Wanted:
        """Describe a file of an item."""
        facts = (item.id, item.sequence_index, item.client_ref, item.status_code)
        return cls(batch_id, *facts, position, Secret(url), folder, name)

    @property
    def shown_url(self) -> str:
        """The URL without what is secret in it."""
        return shown_url(self.url)

    def among(self, urls: Sequence[str]) -> Wanted | None:
        """The same file at its URL among those of its item; None if there is none."""
        return replace(self, url=Secret(urls[self.position])) if self.position < len(urls) else None

    def saved(self, name: str, size: int) -> SavedFile:
        """Describe the whole file."""
        return SavedFile(
            batch_id=self.batch_id,
            item_id=self.item_id,
            sequence_index=self.sequence_index,
            client_ref=self.client_ref,
            status_code=self.status_code,
            position=self.position,
            url=self.shown_url,
            path=f"{self.folder}/{name}",
            bytes=size,
        )

    def error(self, reason: object, **details: Any) -> DownloadError:
        """The error that says why it was not saved."""
        error = DownloadError(self.shown_url, reason, **details)
        error.batch_id = self.batch_id
        error.item_id, error.sequence_index, error.client_ref = self.item_id, self.sequence_index, self.client_ref
        return error
