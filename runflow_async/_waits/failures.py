"""What a failed poll means for its wait: another attempt, later, or its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from runflow_async._waits.outages import OngoingOutage, Outage, limit_error
from runflow_async._waits.retries import JUST_CREATED_SECONDS, verdict_of
from runflow_async.errors import NotFoundError

if TYPE_CHECKING:
    from runflow_async._answers.ledger import Ledger
    from runflow_async._waits.agenda import Agenda
    from runflow_async._waits.costs import Costs
    from runflow_async._waits.options import WaitOptions
    from runflow_async._waits.retries import Retries
    from runflow_async._waits.subscription import Subscription
    from runflow_async._waits.witness import Witness
    from runflow_async.errors import RunflowError

__all__ = ["Failures"]


class Failures:
    """The failed polls of one wait.

    Args:
        ledger: what the responses said.
        costs: what was counted.
        agenda: when to poll next, and when to end.
        subscription: has the poll that failed.
        witness: reports to the observers.
        options: what to do.
        retries: what happens after a failure.

    Attributes:
        outage: from the first failure to the next valid response; None if the last response was valid.
    """

    __slots__ = ("_agenda", "_costs", "_ledger", "_options", "_retries", "_subscription", "_witness", "outage")

    def __init__(
        self,
        ledger: Ledger,
        costs: Costs,
        agenda: Agenda,
        subscription: Subscription,
        witness: Witness,
        *,
        options: WaitOptions,
        retries: Retries,
    ) -> None:
        self._ledger = ledger
        self._costs = costs
        self._agenda = agenda
        self._subscription = subscription
        self._witness = witness
        self._options = options
        self._retries = retries
        self.outage: Outage | None = None

    @property
    def ongoing(self) -> OngoingOutage | None:
        """The failures in a row up to now; None after a valid response, and before the first one failed."""
        since, error = self._agenda.outage_started, self._last_error
        if since is None or error is None or self._agenda.ended is not None:
            return None
        return OngoingOutage(since, self._agenda.outage_limit, error)

    def recovered(self, now: float) -> None:
        """A valid response has ended the outage."""
        if self.outage is not None:
            self.outage.recovered(now, self._witness)
        self._witness.attempt = 1
        self.outage = None

    def plan_retry(self, error: RunflowError, now: float, started: float) -> None:
        """Plan the next attempt.

        Args:
            error: what failed.
            now: this instant.
            started: the instant at which the wait took its first step.

        Raises:
            RunflowError: what ends the wait, because there is no further attempt.
        """
        agenda, costs, latest = self._agenda, self._costs, self._subscription.latest_poll
        sent_at = latest.sent_at
        if sent_at is not None:  # perhaps by another wait, before this one began
            sent_at = costs.join(max(sent_at, started))
        age = costs.age(now)
        agenda.failed(sent_at)
        self.outage = outage = self.outage or Outage(now, self._retries)
        delay = outage.failed(error, verdict_of(error, costs.polls, age), was_sent=sent_at is not None)
        asked = error.retry_after
        if asked is not None and sent_at is not None:
            self._subscription.hold(latest.ended_at + self._retries.cap(asked))
        if delay is None or (asked is not None and now + asked > agenda.deadline):
            raise error
        if agenda.is_over(now):
            self.raise_limit()
        costs.retries += 1
        delay = latest.agree_on(Outage, delay)
        if asked is None and isinstance(error, NotFoundError) and not costs.polls:
            delay = min(delay, JUST_CREATED_SECONDS - age)  # the last one is made just before a 404 counts
        agenda.plan(now, delay, retry_after=0.0 if asked is None else delay)
        self._report(error, now, outage)
        error.__traceback__ = None  # its frames refer to the wait, which refers to the error

    def _report(self, error: RunflowError, now: float, outage: Outage) -> None:
        witness = self._witness
        witness.attempt = outage.failures + 1
        witness.silence.failed(witness, now, error)
        witness.retrying(self._agenda.next_poll_at - now, error)

    def raise_limit(self) -> NoReturn:
        """Raise the error of a wait whose time is up; its cause is the last failure."""
        cause = self._last_error
        raise limit_error(self._ledger, self._options, self._agenda, cause) from cause

    @property
    def _last_error(self) -> RunflowError | None:
        return None if self.outage is None else self.outage.error
