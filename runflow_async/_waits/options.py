"""The keywords of a wait, checked at the call and handed on as one value."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Self, TypedDict

from msgspec import Struct
from tenacity import RetryCallState, wait_random

from runflow_async._arguments.strategies import parse_interval
from runflow_async._arguments.values import check_function, check_only_one, check_seconds, check_type
from runflow_async._usercode import UserCode
from runflow_async.errors import ConfigurationError
from runflow_async.models import Batch
from runflow_async.schedules import wait_adaptive

if TYPE_CHECKING:
    from datetime import timedelta

    from runflow_async._answers.ledger import Ledger
    from runflow_async.checkpoints import Checkpoint

__all__ = ["OptionKeywords", "WaitKeywords", "WaitOptions"]

DEFAULT_STRATEGY = wait_adaptive()
CALLBACK_STRATEGY = wait_random(162.0, 180.0)
"""Seconds between polls while a callback is expected."""


class OptionKeywords(TypedDict, total=False):
    """The keywords that become options."""

    timeout: float | timedelta | None
    interval: float | timedelta | Callable[[RetryCallState], float] | None
    max_outage: float | timedelta
    until: Callable[[Batch], bool] | None
    expect_callback: bool
    stalled_after: float | timedelta | None
    end_when_stalled: bool


class WaitKeywords(OptionKeywords, total=False):
    """The keywords of `wait_for_batch`, except `since`, with the same meanings and defaults."""

    checkpoint: Checkpoint | None


class WaitOptions(Struct, frozen=True, kw_only=True):
    """The keywords of a wait; `RunflowSession.wait_for_batch` says what each one means.

    Attributes:
        timeout: seconds; infinite without a limit.
        interval: a strategy; None stands for the default.
    """

    timeout: float
    interval: Callable[[RetryCallState], float] | None
    max_outage: float
    until: Callable[[Batch], bool] | None
    expect_callback: bool
    stalled_after: float | None
    end_when_stalled: bool

    @classmethod
    def check(
        cls,
        *,
        timeout: float | timedelta | None = 3600.0,
        interval: float | timedelta | Callable[[RetryCallState], float] | None = None,
        max_outage: float | timedelta = 300.0,
        until: Callable[[Batch], bool] | None = None,
        expect_callback: bool = False,
        stalled_after: float | timedelta | None = None,
        end_when_stalled: bool = False,
    ) -> Self:
        """Make options of keywords as users pass them.

        Raises:
            ConfigurationError: if one of them is invalid, or two contradict each other.
        """
        check_type("expect_callback", expect_callback, bool)
        check_only_one("how often to poll", expect_callback=expect_callback, interval=interval is not None)
        if check_type("end_when_stalled", end_when_stalled, bool) and stalled_after is None:
            raise ConfigurationError("end_when_stalled needs stalled_after, the seconds after which a wait is stalled")
        return cls(
            timeout=math.inf if timeout is None else check_seconds("timeout", timeout, zero=True),
            interval=parse_interval(interval),
            max_outage=check_seconds("max_outage", max_outage),
            until=check_function("until", until, "a function of a Batch"),
            expect_callback=expect_callback,
            stalled_after=None if stalled_after is None else check_seconds("stalled_after", stalled_after),
            end_when_stalled=end_when_stalled,
        )

    @property
    def strategy(self) -> Callable[[RetryCallState], float]:
        """The strategy that spaces the polls; after a nudge, always."""
        return DEFAULT_STRATEGY if self.interval is None else self.interval

    @property
    def strategy_until_nudged(self) -> Callable[[RetryCallState], float]:
        """The strategy until the first nudge."""
        return CALLBACK_STRATEGY if self.expect_callback else self.strategy

    def ends_early(self, ledger: Ledger) -> bool:
        """Whether `until` holds for the latest snapshot, which is decoded only if there is an `until`.

        Raises:
            ConfigurationError: if `until` returns an awaitable.
            Exception: what `until` raises.
        """
        if self.until is None or (batch := ledger.batch) is None:
            return False
        with UserCode("until"):
            holds = self.until(batch)
        if holds is not True and holds is not False and inspect.isawaitable(holds):
            if isinstance(holds, Coroutine):
                holds.close()
            raise ConfigurationError("until must return True or False, not an awaitable: make it a plain `def`")
        return bool(holds)
