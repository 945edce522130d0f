"""What a wait is to do, checked by whoever makes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING

from msgspec import Struct
from tenacity import RetryCallState

from runflow_async._usercode import UserCode
from runflow_async._waits.retries import RetryPolicy
from runflow_async.errors import ConfigurationError
from runflow_async.models import Batch

if TYPE_CHECKING:
    from runflow_async._answers.ledger import Ledger

__all__ = ["WaitOptions"]


class WaitOptions(Struct, frozen=True, kw_only=True):
    """The checked keywords of a wait; `RunflowSession.wait_for_batch` says what each one means."""

    timeout: float
    """Seconds; infinite without a limit."""
    strategy: Callable[[RetryCallState], float]
    patience: Callable[[RetryCallState], float] | None = None
    """Stands in for the strategy until somebody nudges."""
    max_outage: float
    until: Callable[[Batch], bool] | None
    retry: RetryPolicy
    max_retry_after: float

    def ends_early(self, ledger: Ledger) -> bool:
        """Whether `until` holds for the latest snapshot, which is decoded only if there is an `until`.

        Raises:
            ConfigurationError: if it answers with an awaitable.
            Exception: what it raises.
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
