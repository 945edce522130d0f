"""`BatchWait`, the faces of one wait: coroutine, async iterator, and a view of what is known so far.

Decides who may step and what a finished wait answers; the steps themselves are the loop's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from runflow_async._http.protocol import batch_path
from runflow_async._waits.driving import Drive
from runflow_async._waits.polling import Polling
from runflow_async._waits.recording import Recording
from runflow_async._waits.unused import WarnsIfUnused
from runflow_async.errors import RunflowError, WaitClosedError, WaitTimeoutError
from runflow_async.models import Batch, ItemTransition, WaitStats

if TYPE_CHECKING:
    from types import TracebackType
    from uuid import UUID

    from runflow_async._http.transport import Transport
    from runflow_async._lifetime import Lifetime
    from runflow_async._waits.options import WaitOptions
    from runflow_async._waits.outages import OngoingOutage
    from runflow_async.checkpoints import Checkpoint

__all__ = ["BatchWait"]


class BatchWait(WarnsIfUnused, Coroutine[Any, Any, Batch], AsyncIterator[ItemTransition]):
    """One batch, awaited or iterated; made by `RunflowSession.wait_for_batch`, which says what it raises.

    Awaited, it returns the last `Batch`. Iterated, it yields every change of every item's status, in
    `sequence_index` order within one answer. Nothing runs before that and everything runs in the caller's task;
    no connection is held between two polls. Breaking out of `async for` or cancelling `anext` leaves it whole: go
    on iterating, or await it. Awaiting again gives the same batch, or raises the same error.

    Attributes:
        batch_id: the batch that is waited for.
    """

    def __init__(
        self,
        lifetime: Lifetime,
        transport: Transport,
        batch_id: UUID,
        options: WaitOptions,
        *,
        since: Batch | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.batch_id = batch_id
        self._recording = Recording(checkpoint)
        self._lifetime = lifetime
        self._polling = Polling(partial(transport.get, batch_path(batch_id)), batch_id, options, since)
        # A timeout of 0 is one poll, which may take as long as a request may; so may what comes before it.
        self._load_timeout = transport.request_timeout if options.timeout == 0 else options.timeout
        purpose = f"the wait for batch {batch_id}"
        self._scope = lifetime.scope(purpose)
        self._drive: Drive[Batch] = Drive(purpose)
        self._error: Exception | None = None
        self._trace: TracebackType | None = None
        self._closed: WaitClosedError | None = None
        self._on_change: Callable[[], None] | None = None

    def __repr__(self) -> str:
        batch = self.batch
        state = f"ended with {type(self._error).__name__}" if self._error else "done" if self.done() else "waiting"
        return f"<BatchWait {self.batch_id} {state}, last seen {batch.status_code if batch else None!r}>"

    if not TYPE_CHECKING:  # checkers would take every name for one that is there

        def __getattr__(self, name: str) -> Any:
            """Only called for what is not there; an attribute of the `Batch`, most often."""
            kind = type(self).__name__
            message = f"{kind!r} object has no attribute {name!r}"
            if not name.startswith("_") and hasattr(Batch, name):
                message += f": that is the Batch's, which you get by awaiting the wait: `(await wait).{name}`"
            raise AttributeError(message, name=name, obj=self)

    @property
    def __name__(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]  # of one object
        """Names the task that it is the coroutine of."""
        return f"wait_for_batch {self.batch_id}"

    @property
    def batch(self) -> Batch | None:
        """The latest snapshot; None before the first answer."""
        return self._polling.ledger.batch

    @property
    def delivered(self) -> Batch:
        """What has been yielded so far, item by item.

        Handed to `since=` of another wait, in this process or, through JSON, another, the stream goes on from here:
        nothing is lost and nothing comes twice.
        """
        return self._polling.ledger.delivered

    @property
    def stats(self) -> WaitStats:
        """What the wait has cost so far."""
        return self._polling.stats

    def done(self) -> bool:
        """Whether the wait has ended, well or badly. Transitions may still be there to be iterated."""
        return self._polling.ended

    def result(self) -> Batch:
        """The last batch.

        Raises:
            asyncio.InvalidStateError: before the wait has ended.
            Exception: the one that the wait ended with.
        """
        if self._error is not None:
            raise self._error.with_traceback(self._trace)
        batch = self.batch
        if not self._polling.ended or batch is None:
            raise asyncio.InvalidStateError(f"the wait for batch {self.batch_id} has not ended yet")
        return batch

    def exception(self) -> Exception | None:
        """The error that the wait ended with, or None if it ended well.

        Raises:
            asyncio.InvalidStateError: before the wait has ended.
        """
        if not self._polling.ended:
            raise asyncio.InvalidStateError(f"the wait for batch {self.batch_id} has not ended yet")
        return self._error

    def nudge(self) -> bool:
        """Poll now rather than when it was planned; whether there still was something to poll for."""
        if self._polling.ended:
            return False
        if self._polling.nudge():
            self._notify()
        return True

    async def step(self) -> None:
        """Wait until it is time and poll once; `await` and `async for` take one step after the other.

        With a checkpoint, the first step loads what was recorded, and does not poll.

        Raises:
            Exception: what ends the wait.
        """
        self.note_use()
        self._scope.check_free()
        try:
            self._lifetime.check_open()
            with self._scope:
                if self.is_loaded:
                    await self._polling.step()
                else:
                    await self._load()
        except Exception as error:
            self._end(error)
            raise
        finally:
            self._notify()

    async def _load(self) -> None:
        started, allowed = self._polling.start(), self._load_timeout
        bound = asyncio.timeout_at(started + allowed)
        try:
            async with bound:
                earlier = await self._recording.load(self.batch_id)
        except Exception as error:
            if not bound.expired():
                raise
            raise WaitTimeoutError(self.batch_id, allowed, reason="checkpoint.load did not return") from error
        self._polling.ledger.resume(earlier)

    @property
    def is_loaded(self) -> bool:
        """Whether the next `step` polls; with a checkpoint, the first one loads what was recorded."""
        return self._recording.is_loaded

    @property
    def next_at(self) -> float:
        """The instant, on the loop's clock, at which the next `step` has something to do."""
        return self._polling.agenda.next_at

    @property
    def deadline(self) -> float:
        """The instant, on the loop's clock, at which `timeout` ends the wait without another poll.

        Infinite before the first step, and until the one poll of a `timeout` of 0 was made.
        """
        return self._polling.agenda.expires_at

    @property
    def next_poll_at(self) -> float:
        """The instant of the next poll, on the loop's clock; infinite if the wait ends before another one."""
        return self._polling.agenda.next_poll_at

    @property
    def outage(self) -> OngoingOutage | None:
        """Since when, and why, no good answer has come; None while they come."""
        return self._polling.outage

    def watch(self, on_change: Callable[[], None]) -> None:
        """Have a function called after every step, nudge and close, whoever made it."""
        self._on_change = on_change

    def _notify(self) -> None:
        if self._on_change is not None:
            self._on_change()

    @property
    def has_pending(self) -> bool:
        """Whether there are transitions that can be taken without another poll."""
        return self._polling.ledger.has_pending

    def take_transition(self) -> ItemTransition | None:
        """The next transition that no further poll is needed for, which counts as yielded; or None."""
        transition = self._polling.ledger.next_transition()
        if transition is not None:
            self._polling.costs.transitions += 1
            self._recording.take(transition)
        return transition

    def record_taken(self) -> None:
        """Record the transition taken last: its consumer has come back for more.

        Raises:
            Exception: of the checkpoint; the record is tried again with the next call.
        """
        self._recording.record()

    def hand_over(self) -> None:
        """Record all that is left to take of a wait that ended well: its consumer has the last batch.

        Raises:
            Exception: of the checkpoint; the rest is recorded with the next call.
        """
        self.record_taken()
        if self._recording.is_on and self.done() and self._error is None:
            while (transition := self._polling.ledger.next_transition()) is not None:
                self._recording.take(transition)
                self.record_taken()

    @property
    def was_handed_over(self) -> bool:
        """Whether it ended well, and an earlier run took that very end: with every item ended, and none differing."""
        is_news = self._polling.costs.transitions > 0 or self.has_pending
        return self._recording.knows_the_end and self.done() and self._error is None and not is_news

    def postpone(self) -> None:
        """Let go of worked-out transitions while nobody takes them; none is lost."""
        self._polling.ledger.postpone()

    def _end(self, error: Exception) -> None:
        if not self._polling.ended:
            self._polling.end()
            self._error = error
            self._trace = error.__traceback__  # raised again from here, it would grow with each time
        # Where `aclose()` cuts a poll it comes twice, and the cut is counted in between.
        # One of another wait may have come out of a function of the user's.
        if error is self._error and isinstance(error, RunflowError) and error.batch_id in (None, self.batch_id):
            error.batch_id = self.batch_id
            error.batch = self.batch
            error.stats = self.stats

    async def _complete(self) -> Batch:
        self.record_taken()
        while not self._polling.ended:
            await self.step()
            self.postpone()
        batch = self.result()
        self.hand_over()
        return batch

    def __await__(self) -> Generator[Any, Any, Batch]:
        return self._complete().__await__()

    def send(self, value: Any) -> Any:
        """Run on, as the coroutine of a task."""
        return self._drive.send(self._complete, value)

    def throw(self, *error: Any) -> Any:
        """Raise inside, as the coroutine of a task."""
        self.note_use()
        return self._drive.throw(self._complete, *error)

    def close(self) -> None:
        """Give up the run of a task; the wait itself stays whole. `aclose()` ends it."""
        self.note_use()
        self._drive.close()

    async def __anext__(self) -> ItemTransition:
        self._scope.check_free()
        self.record_taken()
        while self._closed is None:
            if (transition := self.take_transition()) is not None:
                return transition
            if self._error is not None:
                raise self._error.with_traceback(self._trace)
            if self._polling.ended:
                break
            try:
                await self.step()
            except Exception as error:
                if self._is_own_close(error):
                    break
                if not (self.done() and self.has_pending):  # what the last answer brought is told first
                    raise
        raise StopAsyncIteration

    @property
    def was_closed(self) -> bool:
        """Whether `aclose()` ended it before its batch did."""
        return self._error is not None and self._is_own_close(self._error)

    def _is_own_close(self, error: Exception) -> bool:
        # By identity: a function of the user may raise the same of another wait.
        return error is self._closed

    async def aclose(self) -> None:
        """End the wait for good; whoever is waiting in it leaves first. Afterwards iteration is over."""
        self.note_use()
        self._lifetime.check_loop()
        if self._closed is None:
            self._closed = WaitClosedError(self.batch_id)
        self._end(self._closed)
        self._notify()
        await self._scope.interrupt(self._closed)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
