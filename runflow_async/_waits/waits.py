"""The waits of one session: makes them, and finds those that somebody still holds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from runflow_async._http.protocol import batch_path
from runflow_async._waits.fleet import BatchesWait
from runflow_async._waits.one import BatchWait
from runflow_async._waits.polling import Polling
from runflow_async._waits.registry import Registry
from runflow_async._waits.run import Run
from runflow_async._waits.sharing import Sharing
from runflow_async._waits.silence import Silence
from runflow_async._waits.witness import Witness
from runflow_async.errors import SessionClosedError
from runflow_async.observers import FleetEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from uuid import UUID

    from runflow_async._http.replies import Reply
    from runflow_async._http.transport import Transport
    from runflow_async._lifetime import Lifetime
    from runflow_async._observing import Observing
    from runflow_async._waits.options import WaitOptions
    from runflow_async._waits.retries import Retries
    from runflow_async._waits.sharing import Fetch
    from runflow_async.checkpoints import Checkpoint
    from runflow_async.models import Batch

__all__ = ["Waits"]


class Waits:
    """Waits of one session.

    Args:
        lifetime: of the session.
        transport: sends the polls.
        retries: what happens after a failure.
        observing: the observers of the session.
        max_flights: polls that the waits for many batches may have in flight at the same time, each.
    """

    __slots__ = (
        "_apart",
        "_clock",
        "_lifetime",
        "_max_flights",
        "_retries",
        "_sharing",
        "_silence",
        "_take_turn",
        "_transport",
        "_utc_now",
    )

    def __init__(
        self, lifetime: Lifetime, transport: Transport, retries: Retries, observing: Observing, max_flights: int
    ) -> None:
        self._lifetime = lifetime
        self._transport = transport
        # The waits share these method objects; of their own, they would take 192 bytes each.
        self._clock, self._utc_now, self._take_turn = lifetime.now, lifetime.utc_now, lifetime.take_turn
        self._retries = retries
        self._max_flights = max_flights
        self._sharing = Sharing(lifetime)
        self._silence = Silence(observing)
        self._apart = Registry()  # the waits that share their polls with no other

    def one(
        self, batch_id: UUID, options: WaitOptions, since: Batch | None, checkpoint: Checkpoint | None
    ) -> BatchWait:
        """Make the wait for one batch."""
        run = self._share(batch_id, options, since, checkpoint)
        return self.one_of(run, f"wait_for_batch({batch_id})")

    def one_of(self, run: Run, call: str) -> BatchWait:
        """Make the wait for one batch that this drives; `call` made it."""
        return BatchWait(run, call, self._lifetime.is_closed)

    def for_created(
        self, batch_id: UUID, reply: Reply, options: WaitOptions, checkpoint: Checkpoint | None
    ) -> BatchWait:
        """Make the wait for a batch that was just created. To drop it is no mistake: the batch runs all the same."""
        return BatchWait(self._share(batch_id, options, None, checkpoint, first=reply))

    def for_all_created(
        self, replies: Mapping[UUID, Reply], options: WaitOptions, checkpoint: Checkpoint | None
    ) -> BatchesWait:
        """Make the wait for many batches that were just created."""
        return self.many_of(
            replies,
            lambda fleet_id, batch_id: self._share(
                batch_id, options, None, checkpoint, first=replies.get(batch_id), fleet_id=fleet_id
            ),
            None,
        )

    def many(
        self,
        batch_ids: Iterable[UUID],
        options: WaitOptions,
        since: Mapping[UUID, Batch],
        checkpoint: Checkpoint | None,
    ) -> BatchesWait:
        """Make the wait for many batches."""
        return self.many_of(
            batch_ids,
            lambda fleet_id, batch_id: self._share(
                batch_id, options, since.get(batch_id), checkpoint, fleet_id=fleet_id
            ),
            "wait_for_batches()",
        )

    def many_of(self, batch_ids: Iterable[UUID], make_run: Callable[[int, UUID], Run], call: str | None) -> BatchesWait:
        """Make the wait for many batches, given what drives each of them for this fleet; `call` made it."""
        fleet_id = next(self._silence.observing.fleet_ids)
        scope = self._lifetime.scope("the wait for batches")
        waits = BatchesWait(
            partial(make_run, fleet_id),
            scope,
            self._max_flights,
            call,
            self._lifetime.is_closed,
            report_end=partial(self._fleet_ended, fleet_id),
            report_drop=partial(self._fleet_dropped, fleet_id),
        )
        for batch_id in batch_ids:
            waits.add(batch_id)
        return waits

    def _fleet_ended(self, fleet_id: int, waits: int) -> None:
        if self._silence.observing.is_watched:
            self._silence.observing.emit(FleetEnded(fleet_id=fleet_id, waits=waits))

    def _fleet_dropped(self, fleet_id: int, waits: int) -> None:
        # The garbage collector may call this, in any thread.
        self._lifetime.call_soon(partial(self._fleet_ended, fleet_id, waits))

    def apart(
        self,
        batch_id: UUID,
        options: WaitOptions,
        since: Batch | None,
        checkpoint: Checkpoint | None,
        *,
        fetch: Fetch,
        fleet_id: int | None,
    ) -> Run:
        """Make what drives a wait with polls of its own, which no other wait could use."""
        witness = Witness(self._silence, batch_id, fleet_id)
        run = self._make_run(witness, options, since, checkpoint, sharing=Sharing(self._lifetime), fetch=fetch)
        self._apart.add(run)
        return run

    def end(self) -> None:
        """End the waits that have started, because the session is closed. No task is in them any more."""
        for run in [*self._sharing.registry.all_runs(), *self._apart.all_runs()]:
            if run.polling.agenda.started is not None and not run.is_done:
                run.end(SessionClosedError())

    def nudge(self, batch_id: UUID) -> bool:
        """Nudge every wait for a batch. Return whether one of them still waits."""
        runs = [*self._sharing.registry.runs(batch_id), *self._apart.runs(batch_id)]
        nudged = [run.nudge() for run in runs]
        return any(nudged)

    def items_total(self, batch_id: UUID) -> int | None:
        """How many items a batch has, if a wait for it knows that."""
        batches = (run.polling.ledger.batch for run in self._sharing.registry.runs(batch_id))
        return next((batch.items_total for batch in batches if batch is not None), None)

    def _share(
        self,
        batch_id: UUID,
        options: WaitOptions,
        since: Batch | None,
        checkpoint: Checkpoint | None,
        *,
        first: Reply | None = None,
        fleet_id: int | None = None,
    ) -> Run:
        witness = Witness(self._silence, batch_id, fleet_id)
        fetch = partial(self._transport.get, batch_path(batch_id), witness)
        run = self._make_run(witness, options, since, checkpoint, sharing=self._sharing, fetch=fetch)
        if first is not None:
            run.begin_with(first)
        return run

    def _make_run(
        self,
        witness: Witness,
        options: WaitOptions,
        since: Batch | None,
        checkpoint: Checkpoint | None,
        *,
        sharing: Sharing,
        fetch: Fetch,
    ) -> Run:
        polling = Polling(
            sharing,
            fetch,
            witness,
            options,
            retries=self._retries,
            clock=self._clock,
            utc_now=self._utc_now,
            take_turn=self._take_turn,
            since=since,
        )
        # A timeout of 0 is one poll, which may take as long as a request may. So may loading.
        load_timeout = self._transport.request_timeout if options.timeout == 0 else options.timeout
        run = Run(self._lifetime, polling, checkpoint, load_timeout)
        sharing.registry.add(run)
        return run
