"""The metrics of waits, polls and requests."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from runflow_async.observers import (
    PaceChanged,
    Polled,
    RequestEnded,
    Retrying,
    TransitionDelivered,
    WaitEnded,
    WaitStarted,
)
from runflow_async.otel import attributes

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

    from runflow_async.observers import Event

__all__ = ["Measures"]

AGES = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
"""Boundaries for the age of transitions: from the fastest polls to an outage."""
DURATIONS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21600.0, 43200.0, 86400.0)
"""Boundaries for the duration of waits."""


class Measures:
    """The instruments. Their attributes have few values, whatever the server sends."""

    def __init__(self, meter: Meter) -> None:
        self._waits = meter.create_up_down_counter("runflow.client.active_waits", "{wait}", "Waits in flight.")
        self._polls = meter.create_counter("runflow.client.polls", "{poll}", "Valid responses that waits have read.")
        self._requests = meter.create_counter("runflow.client.requests", "{request}", "Requests that have ended.")
        self._retries = meter.create_counter("runflow.client.retries", "{retry}", "Retries of polls and calls.")
        self._pace = meter.create_gauge(
            "runflow.client.request.interval",
            "s",
            "Time from one request to the next at the session's rate; 0 if it has no limit.",
        )
        self._ages = meter.create_histogram(
            "runflow.client.transition.age",
            "s",
            "Age of transitions when they are delivered, at most.",
            explicit_bucket_boundaries_advisory=AGES,
        )
        self._durations = meter.create_histogram(
            "runflow.client.wait.duration",
            "s",
            "Duration of waits.",
            explicit_bucket_boundaries_advisory=DURATIONS,
        )

    def note(self, event: Event) -> None:
        """Count or measure an event."""
        match event:
            case WaitStarted():
                self._waits.add(1)
            case WaitEnded():
                self._waits.add(-1)
                self._durations.record(event.stats.elapsed, attributes.outcome(event.status_code, event.error))
            case Polled():
                self._polls.add(1)
            case RequestEnded():
                self._requests.add(1, attributes.request(event))
            case Retrying() if event.delay < math.inf:
                self._retries.add(1, {"error.type": attributes.kind(event.error)})
            case PaceChanged(rate=rate):
                self._pace.set(0.0 if rate is None else 1 / rate)  # an infinite rate would be dropped
            case TransitionDelivered(age=age):
                self._ages.record(age)
            case _:
                pass
