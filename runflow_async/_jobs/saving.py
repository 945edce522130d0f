"""`save_outputs`: wires the folder, its index, the connections and the downloads of one call."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from runflow_async._arguments.batches import parse_batch_id
from runflow_async._arguments.values import check_count, parse_folder
from runflow_async._downloads.addresses import Addresses
from runflow_async._downloads.disk import Folder
from runflow_async._downloads.exchange import Exchange
from runflow_async._downloads.index import Index, read_index
from runflow_async._downloads.renewals import Renewals
from runflow_async._downloads.saving import Saving
from runflow_async._downloads.threads import in_thread, open_in_thread
from runflow_async._jobs.parts import HasParts
from runflow_async.errors import RunflowError, SaveError

if TYPE_CHECKING:
    import os
    from uuid import UUID

    from runflow_async._saved import SavedOutputs

__all__ = ["SavesOutputs"]

MOST_AT_ONCE = 100
PAGE_SIZE = 500


class SavesOutputs(HasParts):
    """The methods that save the files of outputs."""

    async def save_outputs(
        self, batch_id: UUID | str, folder: str | os.PathLike[str], *, concurrency: int = 8
    ) -> SavedOutputs:
        """Save the files of all outputs of a batch as `folder/<client_ref or index>/<name>`.

        Call it again to save what has been added, and what has failed: files that are whole stay as they are, and parts
        are resumed. `folder/outputs.jsonl` has one line for each whole file, a `SavedFile`.

        Each file is written to `<name>.part`, and renamed once it is whole and on disk. Transient failures are retried,
        and an item is read again, once, if one of its URLs has expired. If a file cannot be saved, a warning is logged,
        and the others are saved all the same.

        Downloads have connections of their own: without the key, cookies, proxies and `http=`. `request_timeout` is the
        longest time without a byte.

        Args:
            batch_id: a UUID, or its text.
            folder: made if there is none. A file of the same name as one that is saved is replaced.
            concurrency: files at the same time, 1 to 100.

        Returns:
            the files, and the `failures`. Call `raise_for_failures()` if you need them all.

        Raises:
            ConfigurationError: if an argument is invalid.
            SaveError: if the folder cannot be used, or nothing more can be written, as on a full disk.
            RunflowError: if the items cannot be read.
        """
        asked = parse_batch_id(batch_id)
        path = parse_folder(folder)
        check_count("concurrency", concurrency, most=MOST_AT_ONCE)
        self._lifetime.check_open()
        try:
            with self._lifetime.scope("save_outputs"):
                return await self._save(asked, path, concurrency)
        except RunflowError as error:
            error.batch_id = asked
            raise

    async def _save(self, batch_id: UUID, path: str, concurrency: int) -> SavedOutputs:
        folder = await open_in_thread(Folder.open_root, path)
        try:
            index = Index(folder, await in_thread(read_index, folder))
            renewals = Renewals(partial(self._reads.item, batch_id))
            addresses, stall_seconds = Addresses(self._base_url), self._transport.request_timeout
            async with Exchange(addresses, concurrency, stall_seconds, self._lifetime.utc_now) as exchange:
                saving = Saving(
                    batch_id,
                    folder=folder,
                    index=index,
                    exchange=exchange,
                    renewals=renewals,
                    retries=self._retries,
                    observing=self._observing,
                    concurrency=concurrency,
                )
                items = self._reads.items(batch_id, PAGE_SIZE, lambda: self._waits.items_total(batch_id))
                try:
                    saved = await saving.run(items)
                except BaseException:
                    with suppress(SaveError):
                        await index.write()
                    raise
                await index.write()
                return saved
        finally:
            await in_thread(folder.close)
