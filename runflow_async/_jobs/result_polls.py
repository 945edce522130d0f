"""The polls of a wait for results: each one brings the results of the items that have ended since.

Decides which requests a poll consists of, and what the wait sees of the batch. When to poll is up to the wait.

Theory of operation. To the wait, an item ends once its result is here, and the batch once all of its results are. So
the schedule, the outages, the checkpoints and the order of delivery are those of every wait; no result can get lost
between the end of its item and its request; and a request for results that fails is a poll that fails.

Wherever it can, a poll asks for the page of all items instead of the batch: one request then says what has ended, and
brings the results along. The batch itself is polled

    at first, and while no item runs    there is no result to bring, and the batch is the smaller response
    once all items have ended           to see its own end
    now and then                        it may end without its items, or list more of them
    if one page does not hold them      results are then fetched one by one or by pages, whichever takes fewer requests
"""

from __future__ import annotations

import logging
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from msgspec.structs import replace

from runflow_async._answers.decoding import decode_batch
from runflow_async._answers.lenient import WarnOnce
from runflow_async._eventlog import fields
from runflow_async._http.protocol import batch_path
from runflow_async._http.replies import Reply
from runflow_async._jobs.fetched import PAGE_SIZE, Fetched
from runflow_async._verdict import Verdict
from runflow_async.errors import MalformedResponseError, RunflowError
from runflow_async.models import TERMINAL_STATUSES, Batch, BatchItem, BatchItemHandle, BatchStatus, Phase, phase_of
from runflow_async.observers import ResultDelivered

if TYPE_CHECKING:
    from collections.abc import Callable

    from runflow_async._answers.ledger import Ledger
    from runflow_async._http.transport import Transport
    from runflow_async._jobs.fetched import Get
    from runflow_async._lifetime import Lifetime
    from runflow_async._waits.witness import Witness

__all__ = ["ResultPolls"]

logger = logging.getLogger("runflow_async")

MOST_PAGES_IN_A_ROW = 4
"""Number of polls of the page of items after which the batch itself is polled."""
MOST_LATE_POLLS = 3
"""Number of polls in a row of an ended batch that may lack results and bring none."""
FAILED = {Phase.FAILED, Phase.PARTLY_SUCCEEDED}


class ResultPolls:
    """The polls of one wait, and the results that they brought.

    Args:
        lifetime: of the session.
        transport: sends the requests.
        batch_id: the batch.

    Attributes:
        ledger: what the wait has seen; to be set before the first poll.
        witness: of the wait; the same.
    """

    ledger: Ledger
    witness: Witness

    def __init__(self, lifetime: Lifetime, transport: Transport, batch_id: UUID) -> None:
        self._take_turn = lifetime.take_turn
        self._transport = transport
        self._batch_id = batch_id
        self._warn = WarnOnce("batch", batch_id)
        self._fetched = Fetched(batch_id, lifetime.take_turn)
        self._batch = Batch(items=[])  # as the wait sees it
        self._fits_page = True  # as far as is known
        self._pages_in_a_row = 0
        self._late_polls = 0

    def take(self, item: BatchItemHandle) -> BatchItem:
        """Return, once, the result of an item whose end the wait has delivered."""
        if self.witness.observing.is_watched:
            self.witness.observing.emit(ResultDelivered(batch_id=self._batch_id, item=item))
        return self._fetched.take(item.id.int)

    async def __call__(
        self,
        *,
        sent: Callable[[], None],
        limit: float,
        longest: float,
        deadline: float,
        on_hold: Callable[[float], None] | None = None,
    ) -> Reply:
        """Poll, with at least one request, and return the batch as the wait is to see it.

        Raises:
            RunflowError: of a request, if no result came before it.
        """
        get = partial(
            self._transport.get, origin=self.witness, limit=limit, longest=longest, deadline=deadline, on_hold=on_hold
        )
        first, more = partial(get, sent=sent), partial(get, sent=_uncounted)
        if not self._wants_page:
            return await self._poll_batch(first, more)
        reply = await self._poll_page(first)
        if not self._items_ended:
            return reply
        try:
            return await self._poll_batch(more, more)
        except RunflowError as error:
            text, extra = "batch %s: its items have ended, and then a request failed: %s", fields(self._batch_id)
            logger.debug(text, self._batch_id, error, extra=extra)
            return reply  # with their results; the next poll is of the batch

    @property
    def _items_ended(self) -> bool:
        return all(item.is_terminal for item in self._batch.items or ())

    @property
    def _wants_page(self) -> bool:
        if not self._fits_page or self._pages_in_a_row == MOST_PAGES_IN_A_ROW:
            return False
        items = self._batch.items or ()
        may_end = (phase_of(item.status_code) in {Phase.RUNNING, Phase.UNKNOWN} for item in items)
        return len(items) <= PAGE_SIZE and any(may_end)

    async def _poll_page(self, get: Get) -> Reply:
        page, reply = await self._fetched.page(get)
        self._pages_in_a_row += 1
        # Without a status of every item, it cannot stand for the batch.
        has_statuses = all(item.status_code is not None for item in page.items)
        self._fits_page = has_statuses and not (page.next_pq or page.next)
        ended = (item for item in page.items if item.is_terminal and self._lacks(item.id.int))
        for item in ended:
            self._fetched.put(item)
        known = {item.id: item for item in self._batch.items or ()}
        items = known | {item.id: _handle_of(item, known.get(item.id)) for item in page.items}
        self._batch = _count(replace(self._batch, items=list(items.values())))
        return self._as_seen(reply)

    async def _poll_batch(self, first: Get, more: Get) -> Reply:
        reply = await first(batch_path(self._batch_id))
        await self._take_turn()
        batch = decode_batch(reply.body, self._warn)
        reply.require_batch(self._batch_id, batch.id, self._warn)
        self._pages_in_a_row = 0
        if batch.items is None:
            batch = replace(batch, items=[_handle_of(item, None) for item in await self._fetched.all(more)])
        items = batch.items or []
        ended = [item.id.int for item in items if item.is_terminal and self._lacks(item.id.int)]
        has_failed = not await self._fetch(more, ended, len(items))
        late = {key for key in ended if self._lacks(key)}
        if late and batch.is_terminal:
            if len(late) == len(ended) and not has_failed:
                self._give_up_after_a_while(late)
            else:
                self._late_polls = 0
            self._pages_in_a_row = MOST_PAGES_IN_A_ROW
            batch = replace(batch, status_code=BatchStatus.RUNNING, completed_at=None)
        self._batch = replace(batch, id=self._batch_id, items=[self._unended(item, late) for item in items])
        return self._as_seen(reply)

    async def _fetch(self, get: Get, ended: list[int], total: int) -> bool:
        """Fetch results. Return False if a request failed after others had brought some."""
        before = len(self._fetched)
        try:
            await self._fetched.fetch(get, ended, total)
        except RunflowError as error:
            if len(self._fetched) == before:
                raise
            text = "batch %s: fetched %d of %d results (%s); the next poll fetches the others"
            fetched, extra = len(self._fetched) - before, fields(self._batch_id)
            logger.info(text, self._batch_id, fetched, len(ended), error, extra=extra)
            return False
        return True

    def _lacks(self, key: int) -> bool:
        """Whether the result of an item was neither fetched nor delivered."""
        return key not in self._fetched and self.ledger.statuses.get(key) not in TERMINAL_STATUSES

    def _unended(self, item: BatchItemHandle, late: set[int]) -> BatchItemHandle:
        """An item as the wait is to see it: one whose result is late has not ended."""
        if item.id.int not in late:
            return item
        return replace(item, status_code=self.ledger.statuses.get(item.id.int, BatchStatus.RUNNING))

    def _give_up_after_a_while(self, late: set[int]) -> None:
        self._late_polls += 1
        self._warn("the batch has ended, and the results of some items have not come yet; asking again")
        if self._late_polls > MOST_LATE_POLLS:
            some = UUID(int=min(late))
            reason = f"the batch has ended, but {len(late)} of its results never came, such as that of item {some}"
            raise MalformedResponseError(reason, where="$.items", verdict=Verdict.FINAL)

    def _as_seen(self, reply: Reply) -> Reply:
        return Reply(msgspec.json.encode(self._batch), reply.retry_after, reply.roundtrip, None)


def _handle_of(item: BatchItem, known: BatchItemHandle | None) -> BatchItemHandle:
    """An item of a page as one of its batch. What is needed for neither order nor identity has a stand-in."""
    if known is not None:
        return known if item.status_code is None else replace(known, status_code=item.status_code)
    index, run_id = item.sequence_index or 0, item.run_id or item.id
    return BatchItemHandle(item.id, index, run_id, item.status_code or BatchStatus.RUNNING, item.client_ref)


def _count(batch: Batch) -> Batch:
    """The batch with the counts of its items, which a page does not have."""
    phases = Counter(phase_of(item.status_code) for item in batch.items or ())
    return replace(
        batch,
        items_succeeded=phases[Phase.SUCCEEDED],
        items_failed=sum(phases[phase] for phase in FAILED),
        items_cancelled=phases[Phase.CANCELLED],
    )


def _uncounted() -> None:
    """A poll counts as one request of its wait, however many bring its results."""
