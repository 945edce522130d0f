"""What one wait reports to the observers of its session, and how old its transitions are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runflow_async.errors import WaitClosedError
from runflow_async.observers import Polled, Retrying, TransitionDelivered, WaitEnded, WaitStalled, WaitStarted

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from runflow_async._answers.ledger import Ledger
    from runflow_async._waits.polling import Polling
    from runflow_async._waits.silence import Silence
    from runflow_async.errors import RunflowError
    from runflow_async.models import ItemTransition, WaitStats

__all__ = ["Witness", "report_delivery", "report_drop", "report_end"]


class Witness:
    """Emits the events of one wait.

    Args:
        silence: of the session; has its observers.
        batch_id: the batch.
        fleet_id: the wait for many batches that the wait belongs to, or None.

    Attributes:
        silence: of the session.
        observing: its observers; ask its `is_watched` before everything but `retrying` and `stalled`, which are logged.
        batch_id: the batch.
        wait_id: numbers the waits of the session.
        attempt: number of the next request since the last valid response.
    """

    __slots__ = (
        "__weakref__",
        "_answered_at",
        "_changes",
        "_fleet_id",
        "_unseen_since",
        "attempt",
        "batch_id",
        "observing",
        "silence",
        "wait_id",
    )

    def __init__(self, silence: Silence, batch_id: UUID, fleet_id: int | None = None) -> None:
        self.silence = silence
        self.observing = silence.observing
        self.batch_id = batch_id
        self.wait_id = next(self.observing.wait_ids)
        self.attempt = 1
        self._fleet_id = fleet_id
        self._answered_at = 0.0  # or the start of the wait
        self._unseen_since: float | None = None  # the response before the first one with what is pending
        self._changes = 0

    def started(self, now: float) -> None:
        """The wait takes its first step."""
        self._answered_at = now
        started = WaitStarted(batch_id=self.batch_id, wait_id=self.wait_id, fleet_id=self._fleet_id)
        self.observing.emit(started)

    def polled(self, ledger: Ledger, now: float) -> None:
        """A valid response, which arrived at an instant, was read."""
        changes, self._changes = ledger.changes - self._changes, ledger.changes
        if changes and self._unseen_since is None:
            self._unseen_since = self._answered_at
        self._answered_at = now
        tally = ledger.tally
        polled = Polled(
            batch_id=self.batch_id,
            wait_id=self.wait_id,
            status_code=ledger.status_code,
            changes=changes,
            items_ended=0 if tally is None else tally.finished,
            items_total=None if tally is None else sum(tally),
        )
        self.observing.emit(polled)

    def stalled(self, ledger: Ledger, seconds: float) -> None:
        """Nothing has changed for so many seconds."""
        tally = ledger.tally
        self.observing.emit(
            WaitStalled(
                batch_id=self.batch_id,
                wait_id=self.wait_id,
                seconds=seconds,
                status_code=ledger.status_code,
                items_ended=0 if tally is None else tally.finished,
                items_total=None if tally is None else sum(tally),
            )
        )

    def retrying(self, delay: float, error: RunflowError) -> None:
        """A poll failed, and the next one follows in `delay` seconds, or never if that is infinite."""
        self.observing.emit(
            Retrying(
                batch_id=self.batch_id,
                wait_id=self.wait_id,
                subject=f"batch {self.batch_id}",
                attempt=self.attempt - 1,
                delay=delay,
                error=error,
            )
        )

    def delivered(self, transitions: Iterable[ItemTransition], now: float, *, has_more: bool) -> None:
        """Transitions go to whoever iterates."""
        age = now - (self._answered_at if self._unseen_since is None else self._unseen_since)
        if not has_more:
            self._unseen_since = None
        for transition in transitions:
            self.observing.emit(
                TransitionDelivered(batch_id=self.batch_id, wait_id=self.wait_id, transition=transition, age=age)
            )

    def ended(self, status_code: str | None, error: Exception | None, stats: WaitStats) -> None:
        """The wait has ended."""
        self.observing.emit(
            WaitEnded(batch_id=self.batch_id, wait_id=self.wait_id, status_code=status_code, error=error, stats=stats)
        )


def report_drop(polling: Polling) -> None:
    """Report the end of a wait that was dropped, if it had started and not ended."""
    witness = polling.witness
    if polling.agenda.started is not None and not polling.ended:
        now, _ = polling.clocks
        witness.silence.left(witness, now)  # observers that keep its errors keep their frames, and so the wait
        witness.ended(polling.ledger.status_code, WaitClosedError(witness.batch_id), polling.stats)


def report_end(polling: Polling, error: Exception | None) -> None:
    """Report that a wait has ended, with this error, or without one."""
    witness = polling.witness
    witness.silence.left(witness, polling.agenda.ended or 0.0)
    if witness.observing.is_watched:
        witness.ended(polling.ledger.status_code, error, polling.stats)


def report_delivery(polling: Polling, transitions: Iterable[ItemTransition]) -> None:
    """Report transitions to whoever watches."""
    now, _ = polling.clocks
    polling.witness.delivered(transitions, now, has_more=polling.ledger.has_pending)
