"""`BatchWait`, the user's face of one wait: coroutine, async iterator, and a view of what is known so far."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from runflow_async._shown import table_of
from runflow_async._waits.batched import Batched
from runflow_async._waits.driving import Drive
from runflow_async._waits.estimates import Estimate, estimate_end
from runflow_async._waits.outcome import HasOutcome
from runflow_async._waits.showing import describe_wait, row_of_wait
from runflow_async._waits.unused import WarnsIfUnused
from runflow_async.models import Batch, ItemTransition, WaitStats

if TYPE_CHECKING:
    from types import TracebackType

    from runflow_async._waits.outages import OngoingOutage
    from runflow_async._waits.run import Run

__all__ = ["BatchWait"]

News = TypeVar("News", ItemTransition, list[ItemTransition])


class BatchWait(WarnsIfUnused, HasOutcome, Coroutine[Any, Any, Batch], AsyncIterator[ItemTransition]):
    """One batch, awaited or iterated; made by `RunflowSession.wait_for_batch`, which says what it raises.

    Awaiting it returns the last `Batch`. Iterating it yields every change of every item's status, in
    `sequence_index` order within one response. Nothing runs before that, and nothing once nobody awaits or iterates;
    no connection is held between two polls. After leaving an `async for`, or after a cancelled `anext`, you can
    continue to iterate, or await it. Awaiting it again returns the same batch, or raises the same error.

    Attributes:
        batch_id: the batch that is waited for.
    """

    def __init__(self, run: Run, call: str | None = None, is_moot: Callable[[], bool] = bool) -> None:
        super().__init__(call, is_moot)
        self.batch_id = run.batch_id
        self._run = run
        self._drive: Drive[Batch] = Drive(run.purpose)

    def __repr__(self) -> str:
        return f"<BatchWait {self.batch_id} {describe_wait(self._run)}>"

    def _repr_html_(self) -> str:
        return table_of([row_of_wait(self._run)])

    if not TYPE_CHECKING:  # checkers would take every name for one that is there

        def __getattr__(self, name: str) -> Any:
            """Called for unknown names only; most often one is an attribute of the `Batch`."""
            kind = type(self).__name__
            message = f"{kind!r} object has no attribute {name!r}"
            if name == "id":
                message += ": it is `batch_id`"
            elif not name.startswith("_") and hasattr(Batch, name):
                message += f": that is the Batch's, which you get by awaiting the wait: `(await wait).{name}`"
            raise AttributeError(message, name=name, obj=self)

    @property
    def __name__(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]  # of one object
        """The name of the task whose coroutine it is."""
        return f"wait_for_batch {self.batch_id}"

    @property
    def batch(self) -> Batch | None:
        """The latest snapshot; None before the first response."""
        return self._run.polling.ledger.batch

    @property
    def delivered(self) -> Batch:
        """What has been delivered so far, item by item.

        Pass it as `since=` to another wait, in this process or, through JSON, in another one, to resume from here:
        nothing is lost and nothing is delivered twice.
        """
        return self._run.polling.ledger.delivered

    @property
    def has_pending(self) -> bool:
        """Whether there are transitions that can be iterated without another poll."""
        return self._run.has_pending

    @property
    def stats(self) -> WaitStats:
        """What the wait has cost so far."""
        return self._run.polling.stats

    @property
    def deadline(self) -> float:
        """The instant, on the event loop's clock, at which `timeout` ends the wait without another poll.

        Infinite before the first step, and until the one poll of a `timeout` of 0 was made.
        """
        return self._run.polling.agenda.expires_at

    @property
    def next_poll_at(self) -> float:
        """The instant of the next poll, on the event loop's clock; infinite if the wait ends before another one."""
        return self._run.polling.agenda.next_poll_at

    @property
    def outage(self) -> OngoingOutage | None:
        """Since when, and why, no valid response has come; None while they come."""
        return self._run.polling.outage

    def estimate(self) -> Estimate | None:
        """Estimate when the batch will end, from the progress of its items; it costs no request.

        None before the first item was seen to end, and once the wait has ended. It depends neither on `interval` nor on
        `until`.
        """
        return estimate_end([self._run.polling])

    def done(self) -> bool:
        """Whether the wait has ended, successfully or not. Transitions may still be pending."""
        return self._run.is_done

    def _last_batch(self) -> Batch | None:
        return self.batch

    def _error(self) -> Exception | None:
        return self._run.error

    @property
    def _traceback(self) -> TracebackType | None:
        return self._run.traceback

    def nudge(self) -> bool:
        """Poll as soon as the server allows. Return whether there was still something to poll for."""
        return self._run.nudge()

    async def _complete(self) -> Batch:
        self._note_use()
        run = self._run
        run.record()
        while not run.is_done:
            await run.step()
            run.postpone()
        batch = self.result()
        run.hand_over()
        return batch

    def __await__(self) -> Generator[Any, Any, Batch]:
        return self._complete().__await__()

    def send(self, value: Any) -> Any:
        """Resume, as the coroutine of a task."""
        return self._drive.send(self._complete, value)

    def throw(self, *error: Any) -> Any:
        """Raise inside, as the coroutine of a task."""
        self._note_use()
        try:
            return self._drive.throw(self._complete, *error)
        finally:
            del error  # it refers to this frame

    def close(self) -> None:
        """Stop as the coroutine of a task. The wait itself can still be used; `aclose()` ends it."""
        self._note_use()
        self._drive.close()

    def __anext__(self) -> Coroutine[Any, Any, ItemTransition]:
        return self._next(self._run.next_transition)

    def batched(self) -> AsyncIterator[list[ItemTransition]]:
        """Iterate the transitions in lists, one for each response that brought any.

        The promises are those of iterating one by one: a list counts as delivered when you get it, and is recorded in a
        checkpoint when you come back for the next one. You can change between the two, and leave and continue.
        """
        return Batched(partial(self._next, self._run.next_transitions))

    async def _next(self, take: Callable[[], News | None]) -> News:
        self._note_use()
        run = self._run
        run.check_idle()
        run.record()
        while not run.is_closed:
            if news := take():
                return news
            if run.error is not None:
                raise run.error.with_traceback(run.traceback)
            if run.is_done:
                break
            try:
                await run.step()
            except Exception as error:
                if run.is_own_close(error):
                    break
                if not (run.is_done and run.has_pending):  # what the last response brought is delivered first
                    raise
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the wait for good. A task that waits in it leaves first; afterwards iteration is over."""
        self._note_use()
        await self._run.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
