"""`iter_results` and `get_batch_item`: each item's result as it is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from runflow_async._arguments.batches import (
    check_checkpoint,
    parse_batch_id,
    parse_batch_ids,
    parse_item_id,
    parse_since,
    parse_since_of_many,
)
from runflow_async._jobs.batch_results import BatchResults
from runflow_async._jobs.parts import HasParts
from runflow_async._jobs.result_polls import ResultPolls
from runflow_async._waits.options import WaitOptions
from runflow_async.models import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import timedelta

    from tenacity import RetryCallState
    from tenacity.wait import wait_base

    from runflow_async._waits.run import Run
    from runflow_async.checkpoints import Checkpoint
    from runflow_async.models import BatchItem

__all__ = ["YieldsResults"]


class YieldsResults(HasParts):
    """The methods that yield each item's result as it is ready."""

    async def get_batch_item(self, batch_id: UUID | str, item_id: UUID | str) -> BatchItem:
        """Fetch one item of a batch, with its input and results. Retried like `get_batch`.

        Raises:
            ConfigurationError: if an id is not a UUID.
            RunflowError: the last error, if it is final or the attempts are used up.
        """
        return await self._reads.item(parse_batch_id(batch_id), parse_item_id(item_id))

    def iter_results(
        self,
        batch_ids: UUID | str | Iterable[UUID | str],
        *,
        timeout: float | timedelta | None = 3600.0,
        interval: float | timedelta | wait_base | Callable[[RetryCallState], float] | None = None,
        max_outage: float | timedelta = 300.0,
        until: Callable[[Batch], bool] | None = None,
        since: Batch | Iterable[Batch] = (),
        expect_callback: bool = False,
        stalled_after: float | timedelta | None = None,
        end_when_stalled: bool = False,
        checkpoint: Checkpoint | None = None,
    ) -> BatchResults:
        """Iterate the items of one or many batches, each whole and once, as they end, successfully or not.

        The polls ask for the items instead of the batch while items run, so a result comes with the poll that sees it,
        and the requests are hardly more than those of a wait. Requests for results that fail are retried as polls are.

        Args:
            batch_ids: a UUID or its text, or several of them; duplicates count once.
            timeout: as for `wait_for_batch`, for each batch.
            interval: as for `wait_for_batch`.
            max_outage: as for `wait_for_batch`.
            until: as for `wait_for_batch`; to the snapshot, an item ends once its result is here.
            since: a `Batch`, or several; usually `delivered` of an interrupted iteration. Items that ended in it are
                skipped.
            expect_callback: as for `wait_for_batch`.
            stalled_after: as for `wait_for_batch`.
            end_when_stalled: as for `wait_for_batch`.
            checkpoint: as for `wait_for_batch`; an item is recorded when the loop comes back for the next one, so that
                no result is lost if the process is killed. Do not share the file with a wait for the same batches.

        Raises:
            ConfigurationError: at once, if an argument is invalid.
            SessionClosedError: at once, or while iterating, if the session is closed.
            RunflowError: while iterating: as for `wait_for_batch`, after all results that came before.
            MalformedResponseError: while iterating: the same, or a batch has ended and the result of an item did not
                come with four polls in a row.
            ExceptionGroup: while iterating several batches, once all have ended: the errors of those that failed.
        """
        options = WaitOptions.check(
            timeout=timeout,
            interval=interval,
            max_outage=max_outage,
            until=until,
            expect_callback=expect_callback,
            stalled_after=stalled_after,
            end_when_stalled=end_when_stalled,
        )
        self._lifetime.check_open()
        one = parse_batch_id(batch_ids) if isinstance(batch_ids, (UUID, str)) else None
        many = [] if isinstance(batch_ids, (UUID, str)) else parse_batch_ids(batch_ids)
        earlier = _parse_since(since, one)
        checkpoint = check_checkpoint(checkpoint, has_since=bool(earlier))
        polls: dict[UUID, ResultPolls] = {}

        def make_run(fleet_id: int | None, batch_id: UUID) -> Run:
            polls[batch_id] = fetch = ResultPolls(self._lifetime, self._transport, batch_id)
            seen = earlier.get(batch_id)
            run = self._waits.apart(batch_id, options, seen, checkpoint, fetch=fetch, fleet_id=fleet_id)
            fetch.ledger, fetch.witness = run.polling.ledger, run.polling.witness
            return run

        if one is not None:
            return BatchResults(self._waits.one_of(make_run(None, one), f"iter_results({one})"), polls)
        return BatchResults(self._waits.many_of(many, make_run, "iter_results()"), polls)


def _parse_since(since: Batch | Iterable[Batch], one: UUID | None) -> Mapping[UUID, Batch]:
    """Return earlier snapshots by their batch ids; a single one must be of the single batch that is asked for."""
    if one is None or not isinstance(since, Batch):
        return parse_since_of_many([since] if isinstance(since, Batch) else since)
    earlier = parse_since(since, one)
    return {} if earlier is None else {one: earlier}
