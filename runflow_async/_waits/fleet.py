"""Many waits in one task: which one is polled next, and what is delivered.

Only the requests in flight are tasks of their own, so nothing is polled unless somebody iterates or awaits. Whenever a
wait was polled, nudged or closed, by whomever, the fleet puts it where it belongs now.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakMethod, finalize

from runflow_async._arguments.batches import parse_batch_id
from runflow_async._shown import MOST_ROWS, table_of
from runflow_async._waits.agenda import SLACK
from runflow_async._waits.alarm import Alarm
from runflow_async._waits.estimates import Estimate, estimate_end
from runflow_async._waits.flights import Flights
from runflow_async._waits.many import ManyWaits, News
from runflow_async._waits.one import BatchWait
from runflow_async._waits.rota import Rota
from runflow_async._waits.run import Run
from runflow_async._waits.showing import describe_waits, row_of_wait
from runflow_async.errors import WaitClosedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from runflow_async._lifetime import Scope
    from runflow_async.models import ItemTransition

__all__ = ["BatchesWait"]


class BatchesWait(ManyWaits[BatchWait]):
    """Many batches, awaited or iterated; made by `RunflowSession.wait_for_batches`.

    Iterating it yields the transitions of all batches as they arrive, those of one response in `sequence_index` order.
    Awaiting it returns the last batches in input order. Polls are made only while somebody awaits or iterates: after a
    `break` those in flight finish, and no others start. After a cancelled `anext` you can continue. A slow consumer
    slows polling; at most one response per batch is pending.

    If some waits failed, awaiting and iterating raise an `ExceptionGroup` at the end, with each failure's `batch_id`.
    The batches that succeeded remain available in `waits`. After `aclose()`, awaiting raises `WaitClosedError` and
    iteration is over. Using a wait that another task is using raises `RuntimeError`.

    Attributes:
        ended: the waits that have ended, in the order in which they did.
    """

    def __init__(
        self,
        make_run: Callable[[UUID], Run],
        scope: Scope,
        max_flights: int,
        call: str | None = None,
        is_moot: Callable[[], bool] = bool,
        *,
        report_end: Callable[[int], object] = int,
        report_drop: Callable[[int], object] = int,
    ) -> None:
        super().__init__(scope, call, is_moot)
        self._make_run = make_run
        self._report_end = report_end  # with the number of waits
        self._runs: dict[UUID, Run] = {}
        self._unfinished: set[Run] = set()
        self._rota = Rota()
        self._flights = Flights(max_flights, self._landed)
        finalize(self, self._flights.abandon).atexit = False
        finalize(self, _report_drop, self._unfinished, self._runs, report_drop).atexit = False
        self._weakly_changed = WeakMethod(self._changed)
        self._pending: OrderedDict[Run, None] = OrderedDict()  # only while somebody iterates
        self._is_iterated = False
        self._delivered_from: Run | None = None
        self._faults: list[BaseException] = []
        self._alarm = Alarm()

    def __repr__(self) -> str:
        return f"<BatchesWait of {describe_waits(self._runs.values())}>"

    def _repr_html_(self) -> str:
        runs = sorted(self._runs.values(), key=lambda run: run.is_done)
        rows = [row_of_wait(run) for run in runs[:MOST_ROWS]]
        return table_of(rows, title=describe_waits(runs), left_out=len(runs) - len(rows))

    def add(self, batch_id: UUID | str) -> BatchWait:
        """Wait for one more batch, even while this is running. A batch that was added before keeps its wait.

        Raises:
            ConfigurationError: if `batch_id` is not a UUID.
            WaitClosedError: if this was closed.
        """
        parsed = parse_batch_id(batch_id)
        if self._closed:
            raise WaitClosedError
        self._order.append(parsed)
        if parsed not in self._waits:
            self._runs[parsed] = run = self._make_run(parsed)
            self._waits[parsed] = BatchWait(run)
            self._unfinished.add(run)
            self._rota.add(run)
            run.watch(partial(_call_alive, self._weakly_changed, run.batch_id))
            self._alarm.ring()
        return self._waits[parsed]

    def estimate(self) -> Estimate | None:
        """Estimate when the last batch will end, as `BatchWait.estimate` does for one; ended batches do not count.

        None while `BatchWait.estimate` is None for one of the unfinished batches, and once all waits have ended.
        """
        return estimate_end(run.polling for run in self._unfinished)

    async def aclose(self) -> None:
        """End it for good. Polls in flight are cancelled, and have ended when this returns."""
        await super().aclose()
        for run in self._runs.values():
            await run.close()
        if self._unfinished:
            self._unfinished.clear()
            self._report_end(len(self._runs))

    def _deliver(self) -> None:
        if not self._is_iterated:
            self._is_iterated = True
            for run in self._runs.values():  # what arrived while nobody iterated
                if run.has_pending and run not in self._flights:
                    self._place(run)
        if self._delivered_from is not None:
            self._record()

    def _hold_back(self) -> None:
        self._record()
        self._is_iterated = False
        for run in tuple(self._pending):
            self._place(run)

    def _record(self) -> None:
        if self._delivered_from is not None:
            self._delivered_from.record()
            self._delivered_from = None

    def _next_transition(self) -> ItemTransition | None:
        return self._take_pending(Run.next_transition)

    def _next_transitions(self) -> list[ItemTransition]:
        return self._take_pending(Run.next_transitions) or []

    def _take_pending(self, take: Callable[[Run], News | None]) -> News | None:
        while self._pending:
            run = next(iter(self._pending))
            if news := take(run):
                self._delivered_from = run if run.is_recorded else None
                return news
            self._place(run)
        return None

    def _hand_over(self, wait: BatchWait) -> None:
        self._runs[wait.batch_id].hand_over()

    def _was_handed_over(self, wait: BatchWait) -> bool:
        return self._runs[wait.batch_id].was_handed_over

    def _raise_failures(self) -> None:
        if self._runs and all(run.is_own_close(run.error) for run in self._runs.values()):
            raise WaitClosedError
        super()._raise_failures()

    async def _until_news(self) -> None:
        """Start the polls that are due, and return when one has ended or something has changed."""
        self._faults.clear()
        now = asyncio.get_running_loop().time()
        self._rota.spread_new(now)
        self._start_due(now + SLACK)
        await self._alarm.sleep_until(self._rota.next_at(has_room=self._flights.has_room))
        if self._faults:
            raise self._faults.pop()

    async def _halt(self) -> None:
        await self._flights.stop()

    def _start_due(self, reached: float) -> None:
        while (run := self._rota.take_late(reached)) is not None:
            self._flights.start(run)
        while self._flights.has_room and (run := self._rota.take_due(reached)) is not None:
            self._flights.start(run)

    def _landed(self, run: Run, error: BaseException | None) -> None:
        if error is not None and not run.is_done:  # not the error that the wait ended with
            self._faults.append(error)
        self._place(run)

    def _changed(self, batch_id: UUID) -> None:
        run = self._runs[batch_id]
        if run not in self._flights:
            self._place(run)

    def _place(self, run: Run) -> None:
        """Put a wait that is not in flight where it belongs now."""
        if self._closed:
            return
        if run.is_done and run in self._unfinished:
            self._unfinished.remove(run)
            self.ended.append(self._waits[run.batch_id])
            if not self._unfinished:
                self._report_end(len(self._runs))
        is_pending = self._is_iterated and run.has_pending
        if is_pending:
            self._pending[run] = None
        else:
            self._pending.pop(run, None)
            run.postpone()
        if run.is_done:
            self._rota.remove(run)
        elif is_pending:
            self._rota.hold(run)
        else:
            self._rota.schedule(run)
        self._alarm.ring()


def _call_alive(method: Callable[[], Callable[[UUID], None] | None], batch_id: UUID) -> None:
    # The waits hold this and the fleet holds them: with a strong reference, only the cycle collector would free them.
    alive = method()
    if alive is not None:
        alive(batch_id)


def _report_drop(unfinished: set[Run], runs: dict[UUID, Run], report: Callable[[int], object]) -> None:
    if unfinished:
        report(len(runs))
