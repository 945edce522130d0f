"""How long a wait pauses after a valid response: what its strategy says, asked as seldom as if the wait were alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from runflow_async._arguments.strategies import likeness
from runflow_async._usercode import UserCode
from runflow_async._waits.agenda import SLACK
from runflow_async.schedules import PollState, wait_adaptive

if TYPE_CHECKING:
    from collections.abc import Callable

    from runflow_async._answers.tally import Tally
    from runflow_async._forecasts import Forecast
    from runflow_async._waits.options import WaitOptions
    from runflow_async._waits.polls import Poll
    from runflow_async.models import Batch

__all__ = ["Pacing"]


class Pacing:
    """The strategy of one wait, and what it has said.

    A strategy counts attempts and draws at random. If it were asked after the polls of other waits too, it would count
    these, and of many draws the shortest would set the pace. So it is asked once its own delay is over, by whomever the
    batch was polled, and until then each response only restarts that delay. Waits with equal strategies that are asked
    after the same poll share one draw, that of the wait with the fewest attempts. `wait_adaptive` depends on what was
    seen, not on attempts, and is asked after each response.

    Args:
        options: of the wait.
        snapshot: returns the latest snapshot, which strategies may look at.

    Attributes:
        state: what the strategy sees.
    """

    __slots__ = ("_delay", "_options", "_over_at", "_strategy", "state")

    def __init__(self, options: WaitOptions, snapshot: Callable[[], Batch | None]) -> None:
        self.state = PollState(snapshot)
        self._options = options
        self._strategy = options.strategy_until_nudged
        self._delay = 0.0
        self._over_at = -math.inf  # when the delay would be over if there were no other waits

    def nudged(self) -> None:
        """From now on, no callback is expected."""
        self._strategy = self._options.strategy

    def answered(self, now: float, tally: Tally | None, *, was_due: bool) -> None:
        """Update the state with a valid response.

        Args:
            now: when it arrived.
            tally: what it said.
            was_due: whether the wait would have polled by then.
        """
        is_attempt = was_due or now >= self._over_at - SLACK
        if is_attempt:
            self._over_at = -math.inf
        self.state.answered(now, tally, is_attempt=is_attempt)

    @property
    def forecast(self) -> Forecast | None:
        """When the batch will end, as the responses tell, whatever the strategy makes of them."""
        return self.state.progress.forecast

    def delay_after(self, poll: Poll) -> float:
        """Return the seconds from a valid response to the next poll.

        Raises:
            ConfigurationError: if the strategy returns anything but a finite number from 0.
            Exception: of the strategy.
        """
        if self._over_at == -math.inf or isinstance(self._strategy, wait_adaptive):
            with UserCode("the interval strategy"):
                delay = self.state.delay(self._strategy)
            if poll.is_for_others:
                delay = poll.agree_on(likeness(self._strategy), delay, self.state.attempt_number)
            self._delay = delay
            self._over_at = poll.ended_at + delay
        return self._delay
