"""When a wait expects its batch to end, for people: instants on the wall clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from runflow_async._forecasts import combine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runflow_async._waits.polling import Polling

__all__ = ["Estimate", "estimate_end"]


class Estimate(Struct, frozen=True, kw_only=True, gc=False):
    """When a batch, or the last one of several, is expected to end. All instants are in UTC.

    Attributes:
        ends_at: it ends before or after this instant with equal probability.
        earliest: it ends before this instant with a probability of 10 %.
        latest: it ends after this instant with a probability of 10 %.
        unchanged_since: since when every response was the same.
    """

    ends_at: datetime
    earliest: datetime
    latest: datetime
    unchanged_since: datetime


def estimate_end(pollings: Iterable[Polling]) -> Estimate | None:
    """Estimate when the last of some waits will see its batch end; None unless something is known of each of them."""
    unfinished = [polling for polling in pollings if not polling.ended]
    forecasts = [forecast for polling in unfinished if (forecast := polling.forecast) is not None]
    if not unfinished or len(forecasts) < len(unfinished):
        return None
    now, now_utc = unfinished[0].clocks
    forecast = combine(forecasts, now)
    changed_at = max(polling.stalls.changed_at or 0.0 for polling in unfinished)
    return Estimate(
        ends_at=now_utc + timedelta(seconds=max(forecast.expected - now, 0.0)),
        earliest=now_utc + timedelta(seconds=max(forecast.earliest - now, 0.0)),
        latest=now_utc + timedelta(seconds=max(forecast.latest - now, 0.0)),
        unchanged_since=now_utc + timedelta(seconds=changed_at - now),
    )
