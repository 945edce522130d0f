"""One wait as it is driven: step by step, by `BatchWait`, by a fleet, or by both in turn.

Decides what a step is, how the wait ends and what is recorded. When to take a step is up to the caller.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING
from weakref import finalize

from runflow_async._waits.recording import Recording
from runflow_async._waits.witness import report_delivery, report_drop, report_end
from runflow_async.errors import RunflowError, WaitClosedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from uuid import UUID

    from runflow_async._http.replies import Reply
    from runflow_async._lifetime import Lifetime
    from runflow_async._waits.polling import Polling
    from runflow_async._waits.polls import Poll
    from runflow_async.checkpoints import Checkpoint
    from runflow_async.models import ItemTransition

__all__ = ["Run"]


class Run:
    """The steps of one wait, taken by one task at a time. A cancelled step changes nothing.

    Args:
        lifetime: the session's, which can end this.
        polling: the polls; its `ledger` has what they said.
        checkpoint: loads what was delivered earlier, and records what is delivered from now on.
        load_timeout: seconds that loading may take.

    Attributes:
        batch_id: the batch.
        purpose: names the wait in errors.
        polling: the polls.
        error: the error that ended the wait; None while it runs, and if it succeeded.
        traceback: that error's traceback when it ended the wait.
    """

    __slots__ = (
        "__weakref__",
        "_closed",
        "_lifetime",
        "_load_timeout",
        "_on_change",
        "_recording",
        "_scope",
        "batch_id",
        "error",
        "polling",
        "purpose",
        "traceback",
    )

    def __init__(
        self, lifetime: Lifetime, polling: Polling, checkpoint: Checkpoint | None, load_timeout: float
    ) -> None:
        self.batch_id: UUID = polling.ledger.batch_id
        self.purpose: str = f"the wait for batch {self.batch_id}"
        self.polling = polling
        self.error: Exception | None = None
        self.traceback: TracebackType | None = None
        self._lifetime = lifetime
        self._scope = lifetime.scope(self.purpose)
        self._recording = Recording(checkpoint)
        self._load_timeout = load_timeout
        self._closed: WaitClosedError | None = None
        self._on_change: Callable[[], None] | None = None
        if polling.witness.observing.is_watched:
            finalize(self, lifetime.call_soon, partial(report_drop, polling)).atexit = False

    @property
    def is_done(self) -> bool:
        """Whether the wait has ended, successfully or not. Transitions may still be pending."""
        return self.polling.ended

    @property
    def has_pending(self) -> bool:
        """Whether there is a transition to deliver."""
        return self.polling.ledger.has_pending

    @property
    def is_loaded(self) -> bool:
        """Whether the next step polls; with a checkpoint, the first one loads what was recorded."""
        return self._recording.is_loaded

    @property
    def is_recorded(self) -> bool:
        """Whether there is a checkpoint."""
        return self._recording.is_on

    @property
    def next_at(self) -> float:
        """The instant at which the next step has something to do: to use a response, to poll, or to end the wait."""
        return -math.inf if self.polling.subscription.has_offer else self.polling.agenda.next_at

    def begin_with(self, reply: Reply) -> None:
        """Have the first poll use a response that said how the batch is before this began."""
        self.polling.begin_with(reply, is_loaded=self.is_loaded)

    def offer(self, poll: Poll) -> None:
        """Have the next step use a poll that another wait has made, unless it is of no use."""
        if self.is_loaded and self.polling.offer(poll):
            self._notify()

    def hold(self, until: float) -> None:
        """Poll no earlier than this instant, because the server said so in a response to another wait."""
        self.polling.agenda.hold(until)
        self._notify()

    @property
    def deadline(self) -> float:
        """The instant at which `timeout` ends the wait without another poll; infinite while it cannot."""
        return self.polling.agenda.expires_at

    @property
    def was_handed_over(self) -> bool:
        """Whether an earlier process delivered this very end: the wait succeeded, and no item has changed since."""
        is_news = self.polling.costs.transitions > 0 or self.has_pending
        return self._recording.knows_the_end and self.is_done and self.error is None and not is_news

    def watch(self, on_change: Callable[[], None]) -> None:
        """Call a function after every step, nudge and close, whoever made it."""
        self._on_change = on_change

    def _notify(self) -> None:
        if self._on_change is not None:
            self._on_change()

    def check_idle(self) -> None:
        """Raise RuntimeError if another task takes a step, or if the event loop is another one."""
        self._scope.check_idle()

    async def step(self) -> None:
        """Wait until it is time and poll once; with a checkpoint, the first step loads instead.

        Raises:
            Exception: what ends the wait.
        """
        self._scope.check_free()
        try:
            self._lifetime.check_open()
            with self._scope:
                if self.is_loaded:
                    await self.polling.step()
                    if self.polling.agenda.ended is not None and self.error is None:
                        report_end(self.polling, None)
                else:
                    earlier = await self._recording.load(self.batch_id, self.polling.start(), self._load_timeout)
                    self.polling.ledger.resume(earlier)
        except Exception as error:
            self.end(error)
            raise
        finally:
            self._notify()

    def end(self, error: Exception) -> None:
        """End the wait with an error, unless it has ended; the error is then one of this wait."""
        is_news = not self.is_done
        if is_news:
            self.polling.end()
            self.error, self.traceback = error, error.__traceback__
        # If `close` cuts a poll, this is called twice, and the cut is counted in between.
        # An error with the id of another batch came out of a function of the user's: it stays as it is.
        if error is self.error and isinstance(error, RunflowError) and error.batch_id in (None, self.batch_id):
            error.batch_id = self.batch_id
            error.batch = self.polling.ledger.batch
            error.stats = self.polling.stats
        if is_news and self.polling.agenda.started is not None:
            report_end(self.polling, self.error)
        self._notify()

    def nudge(self) -> bool:
        """Poll as soon as the server allows. Return whether there was still something to poll for."""
        if self.is_done:
            return False
        if self.polling.nudge():
            self._notify()
        return True

    def next_transition(self) -> ItemTransition | None:
        """Deliver and return the next pending transition, if there is one."""
        transition = self.polling.ledger.next_transition()
        if transition is not None:
            self.polling.costs.transitions += 1
            if self._recording.is_on:
                self._recording.deliver([transition])
            if self.polling.witness.observing.is_watched:
                report_delivery(self.polling, [transition])
        return transition

    def next_transitions(self) -> list[ItemTransition]:
        """Deliver and return all pending transitions."""
        transitions = self.polling.ledger.next_transitions()
        self.polling.costs.transitions += len(transitions)
        self._recording.deliver(transitions)
        if self.polling.witness.observing.is_watched:
            report_delivery(self.polling, transitions)
        return transitions

    def postpone(self) -> None:
        """Drop the computed list of pending transitions while nobody wants it; it is computed again when needed."""
        self.polling.ledger.postpone()

    def record(self) -> None:
        """Record what was delivered last, because its consumer has come back for more.

        Raises:
            Exception: of the checkpoint; the next call tries again.
        """
        self._recording.record()

    def hand_over(self) -> None:
        """Record everything pending of a wait that succeeded, because its consumer has the last batch.

        Raises:
            Exception: of the checkpoint; the next call records the rest.
        """
        self.record()
        if self._recording.is_on and self.is_done and self.error is None:
            while (transition := self.polling.ledger.next_transition()) is not None:
                self._recording.deliver([transition])
                self.record()

    async def close(self) -> None:
        """End the wait for good, and return when a task that was in a step has left it."""
        self._lifetime.check_loop()
        if self._closed is None:
            self._closed = WaitClosedError(self.batch_id)
        self.end(self._closed)
        await self._scope.interrupt(self._closed)

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called, before or after the end."""
        return self._closed is not None

    def is_own_close(self, error: Exception | None) -> bool:
        """Whether an error is the one of `close`. Compared by identity: `until` may raise the one of another wait."""
        return error is not None and error is self._closed
