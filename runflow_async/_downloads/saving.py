"""All files of a batch's outputs into one folder, a few at a time; one that fails does not stop the others."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

from runflow_async._downloads.addresses import shown_url
from runflow_async._downloads.disk import is_for_all
from runflow_async._downloads.fetching import fetch
from runflow_async._downloads.names import NOTE, PART, Names, extension_of, has_extension, name_from_url
from runflow_async._downloads.parts import Part
from runflow_async._downloads.threads import in_thread, open_in_thread
from runflow_async._downloads.wanted import Wanted
from runflow_async._eventlog import fields
from runflow_async._observing import Call
from runflow_async._outputs import files_of
from runflow_async._saved import SavedFile, SavedOutputs
from runflow_async.errors import DownloadError, RunflowError, SaveError
from runflow_async.observers import OutputSaved

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence
    from uuid import UUID

    from runflow_async._downloads.disk import Folder
    from runflow_async._downloads.exchange import Exchange
    from runflow_async._downloads.index import Index
    from runflow_async._downloads.renewals import Renewals
    from runflow_async._observing import Observing
    from runflow_async._outputs import OutputFile
    from runflow_async._waits.retries import Retries
    from runflow_async.models import BatchItem

__all__ = ["MOST_FILES", "Saving"]

logger = logging.getLogger("runflow_async")

MOST_FILES = 100_000
"""The most files of one batch that are saved."""


class Saving:
    """Saves the outputs of one batch.

    Args:
        batch_id: the batch.
        folder: open, for all of it.
        index: of the folder.
        exchange: to the hosts of the files.
        renewals: of URLs that have expired.
        retries: what happens after a failure.
        observing: the observers of the session.
        concurrency: files at the same time.
    """

    def __init__(
        self,
        batch_id: UUID,
        *,
        folder: Folder,
        index: Index,
        exchange: Exchange,
        renewals: Renewals,
        retries: Retries,
        observing: Observing,
        concurrency: int,
    ) -> None:
        self._batch_id = batch_id
        self._folder = folder
        self._index = index
        self._exchange = exchange
        self._renewals = renewals
        self._retries = retries
        self._observing = observing
        self._slots = asyncio.Semaphore(concurrency)
        self._outcomes: list[SavedFile | DownloadError | None] = []  # of all files, in the order of the items

    async def run(self, items: AsyncGenerator[BatchItem]) -> SavedOutputs:
        """Save the files of all items.

        Raises:
            RunflowError: if the items cannot be read, or nothing more can be written.
        """
        try:
            await self._run(items)
        except ExceptionGroup as failed:
            first = _first_of(failed)
        else:
            files = [outcome for outcome in self._outcomes if isinstance(outcome, SavedFile)]
            return SavedOutputs(files, [outcome for outcome in self._outcomes if isinstance(outcome, DownloadError)])
        # The frames hold items, and those hold signed URLs.
        raise first.with_traceback(None) if isinstance(first, RunflowError) else first

    async def _run(self, items: AsyncGenerator[BatchItem]) -> None:
        async with asyncio.TaskGroup() as writers:
            writer = writers.create_task(self._index.keep_written())
            async with asyncio.TaskGroup() as group, aclosing(items) as listed:
                async for item in listed:
                    await self._begin(item, group)
            writer.cancel()

    async def _begin(self, item: BatchItem, group: asyncio.TaskGroup) -> None:
        """Begin with the files of an item that are not whole yet, each as soon as there is a slot."""
        files = files_of(item.output)
        names = Names(beside=(PART, NOTE))
        kept = {position: names.take(name) for position, name in self._names_before(item, files)}
        for position, (url, media_type) in enumerate(files):
            number = len(self._outcomes)
            if number == MOST_FILES:
                raise SaveError(f"batch {self._batch_id} has more than {MOST_FILES} files, the most that are saved")
            name = kept.get(position) or names.take(name_from_url(url, media_type))
            folder = self._index.folder_of(item)
            wanted = Wanted.of(self._batch_id, item, url, position=position, folder=folder, name=name)
            whole = await self._find_whole(wanted)
            self._outcomes.append(whole)
            if whole is None:
                await self._slots.acquire()
                group.create_task(self._save(wanted, names, number))

    def _names_before(self, item: BatchItem, files: Sequence[OutputFile]) -> Iterator[tuple[int, str]]:
        """The names that earlier calls gave to files of an item, by their positions."""
        for position, file in enumerate(files):
            known = self._index.find(item.id, position)
            if known is not None and known.url == shown_url(file.url):
                yield position, known.path.split("/", 1)[1]

    async def _find_whole(self, wanted: Wanted) -> SavedFile | None:
        """Return the file if an earlier call has saved it, and it is still there."""
        known = self._index.find(wanted.item_id, wanted.position)
        if known is None or known.url != wanted.shown_url:
            return None
        folder, name = known.path.split("/", 1)
        if await in_thread(self._folder.size_of, folder, name) != known.bytes:
            return None
        file = wanted.saved(name, known.bytes)  # what is known of the item may have changed
        self._index.add(file)
        return file

    async def _save(self, wanted: Wanted, names: Names, number: int) -> None:
        try:
            file = await self._download(wanted, names)
        except DownloadError as error:
            self._fail(number, error)
        except SaveError as error:
            if is_for_all(error):
                raise
            self._fail(number, wanted.error(error))
        else:
            self._outcomes[number] = file
            self._index.add(file)
            if self._observing.is_watched:
                self._observing.emit(OutputSaved(batch_id=self._batch_id, saved=file))
        finally:
            self._slots.release()

    def _fail(self, number: int, error: DownloadError) -> None:
        logger.warning("not saved: %s", error, extra=fields(self._batch_id))
        self._outcomes[number] = error.with_traceback(None)

    async def _download(self, wanted: Wanted, names: Names) -> SavedFile:
        part = await open_in_thread(self._open, wanted)
        try:
            try:
                media_type = await self._fetch(wanted, part)
            except DownloadError as error:
                wanted = await self._renewals.renew(wanted, error)
                media_type = await self._fetch(wanted, part)
            name = wanted.name
            if not has_extension(name) and (extension := extension_of(media_type)):
                name = names.take(name + extension)
            await in_thread(part.finish, name)
            return wanted.saved(name, part.size)
        finally:
            await in_thread(part.close)

    def _open(self, wanted: Wanted) -> Part:
        folder = self._folder.open_below(wanted.folder)
        try:
            return Part(folder, wanted.name)
        except BaseException:
            folder.close()
            raise

    async def _fetch(self, wanted: Wanted, part: Part) -> str | None:
        """Fetch a file in as many attempts as the policy allows; each byte beyond the furthest one starts them anew."""
        furthest = part.size
        while True:
            try:
                engine = self._retries.engine(f"{wanted.folder}/{wanted.name}", Call(self._batch_id))
                return await engine(fetch, self._exchange, wanted, part)
            except DownloadError as error:
                if error.verdict == "final" or part.size <= furthest:
                    raise
                furthest = part.size


def _first_of(failed: ExceptionGroup[Exception]) -> Exception:
    first = failed.exceptions[0]
    return _first_of(cast("ExceptionGroup[Exception]", first)) if isinstance(first, ExceptionGroup) else first
