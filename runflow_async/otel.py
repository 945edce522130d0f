"""Traces and metrics of a session's waits, for OpenTelemetry. Needs the extra `otel`.

    from runflow_async.otel import OpenTelemetry

    async with RunflowSession(observers=[OpenTelemetry()]) as session:
        ...

Attributes have neither the key, nor a URL, nor the text of an error, which may quote what the server sent.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

try:
    from opentelemetry import context, metrics, propagate, trace
    from opentelemetry.trace import Link, SpanKind, StatusCode
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "runflow_async.otel needs opentelemetry-api: pip install 'runflow-async[otel]'", name=missing.name
    ) from missing

from runflow_async._version import __version__
from runflow_async.errors import StatusError, WaitClosedError
from runflow_async.models import BatchStatus
from runflow_async.observers import (
    FleetEnded,
    OutageBegan,
    OutageEnded,
    PaceChanged,
    Polled,
    RequestEnded,
    Retrying,
    TransitionDelivered,
    WaitEnded,
    WaitStalled,
    WaitStarted,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from opentelemetry.context import Context
    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from runflow_async.observers import Event, RequestSent

__all__ = ["OpenTelemetry"]

SUPPRESSED = "suppress_instrumentation"
"""The key that instrumentations look for in the context. Those for HTTP alone are newer, and private to them."""
AGES = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
"""Boundaries for the age of transitions: from the fastest polls to an outage."""
DURATIONS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21600.0, 43200.0, 86400.0)
"""Boundaries for the duration of waits."""
STATUSES = frozenset(BatchStatus)
OTHER = "_OTHER"
"""The conventions' name for a value that is not among the known ones."""


class OpenTelemetry:
    """An observer that makes a span of each wait, and counts and measures for all of them.

    The span of a wait is current while its requests are sent, and is propagated in their headers. Spans of the HTTP
    client are suppressed meanwhile. Requests of calls such as `get_batch` have no span of their own; they propagate
    the current one.

    Give each session one of its own: waits are numbered within a session.

    Args:
        tracer_provider: by default the global one.
        meter_provider: by default the global one.
    """

    def __init__(
        self, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        self._spans = _Spans(trace.get_tracer("runflow_async", __version__, tracer_provider))
        self._measures = _Measures(metrics.get_meter("runflow_async", __version__, meter_provider))

    def __call__(self, event: Event, /) -> None:
        """Take note of an event.

        Raises:
            ValueError: if waits of another session are in flight.
        """
        self._spans.note(event)
        self._measures.note(event)

    @contextmanager
    def sending(self, request: RequestSent, /) -> Generator[Mapping[str, str]]:
        """Propagate the span of the request's wait, and suppress those of the HTTP client while it is sent."""
        headers: dict[str, str] = {}
        own = self._spans.context_of(request.wait_id)
        propagate.inject(headers, own)
        if request.wait_id is not None:
            own = context.set_value(SUPPRESSED, value=True, context=own)
        token = context.attach(own)
        try:
            yield headers
        finally:
            context.detach(token)


class _Spans:
    """The spans of the waits in flight, by the number of the wait, and those of the waits for many batches."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._waits: dict[int, _Wait] = {}
        self._fleets: dict[int, Span] = {}

    def context_of(self, wait_id: int | None) -> Context:
        """What is current while a request is sent: the wait's context, or what is current already."""
        wait = None if wait_id is None else self._waits.get(wait_id)
        return context.get_current() if wait is None else wait.context

    def note(self, event: Event) -> None:
        """Begin or end a span, or add an event to those that it concerns."""
        match event:
            case WaitStarted():
                self._begin(event)
            case WaitEnded():
                self._end(event)
            case FleetEnded():
                self._end_fleet(event)
            case Polled(changes=changes) if changes:
                self._add(event.wait_id, "runflow.poll.changed", _shown(event))
            case Retrying():
                self._add(event.wait_id, "runflow.poll.failed", _failure(event))
            case WaitStalled(seconds=seconds):
                self._add(event.wait_id, "runflow.wait.stalled", {"runflow.seconds": seconds})
            case OutageBegan(seconds=seconds):
                self._add_to_all("runflow.outage.began", {"runflow.seconds": seconds, "error.type": _kind(event.error)})
            case OutageEnded(seconds=seconds):
                self._add_to_all("runflow.outage.ended", {"runflow.seconds": seconds})
            case _:
                pass

    def _begin(self, event: WaitStarted) -> None:
        if event.wait_id in self._waits:
            raise ValueError("an OpenTelemetry observes one session at a time: give each session one of its own")
        fleet = None if event.fleet_id is None else self._fleet(event.fleet_id)
        span = self._tracer.start_span(
            "wait_for_batch",
            kind=SpanKind.CLIENT,
            attributes={"runflow.batch.id": str(event.batch_id)},
            links=() if fleet is None else [Link(fleet.get_span_context())],
        )
        self._waits[event.wait_id] = _Wait(span)

    def _fleet(self, fleet_id: int) -> Span:
        if fleet_id not in self._fleets:
            self._fleets[fleet_id] = self._tracer.start_span("wait_for_batches")
        return self._fleets[fleet_id]

    def _end(self, event: WaitEnded) -> None:
        wait = self._waits.pop(event.wait_id)
        stats = event.stats
        counts = {"polls": stats.polls, "requests": stats.requests, "retries": stats.retries}
        wait.span.set_attributes({f"runflow.wait.{name}": count for name, count in counts.items()})
        wait.span.set_attributes(_outcome(event.status_code, event.error))
        if _is_failure(event.error):
            wait.span.set_status(StatusCode.ERROR)
        wait.span.end()

    def _end_fleet(self, event: FleetEnded) -> None:
        span = self._fleets.pop(event.fleet_id, None)
        if span is not None:
            span.set_attribute("runflow.fleet.waits", event.waits)
            span.end()

    def _add(self, wait_id: int | None, name: str, attributes: Mapping[str, AttributeValue]) -> None:
        wait = None if wait_id is None else self._waits.get(wait_id)
        if wait is not None:
            wait.span.add_event(name, attributes)

    def _add_to_all(self, name: str, attributes: Mapping[str, AttributeValue]) -> None:
        for wait in self._waits.values():
            wait.span.add_event(name, attributes)


class _Wait:
    """The span of a wait, in the context in which the wait started."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self.context = trace.set_span_in_context(span)


class _Measures:
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
                self._durations.record(event.stats.elapsed, _outcome(event.status_code, event.error))
            case Polled():
                self._polls.add(1)
            case RequestEnded():
                self._requests.add(1, _request(event))
            case Retrying() if event.delay < math.inf:
                self._retries.add(1, {"error.type": _kind(event.error)})
            case PaceChanged(rate=rate):
                self._pace.set(0.0 if rate is None else 1 / rate)  # an infinite rate would be dropped
            case TransitionDelivered(age=age):
                self._ages.record(age)
            case _:
                pass


def _kind(error: Exception) -> str:
    """The conventions' `error.type`: the status code of a response, or the qualified name of an exception."""
    if isinstance(error, StatusError):
        return str(error.status)
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _is_failure(error: Exception | None) -> bool:
    """Whether a wait failed. One that its owner closes, and does not need to the end, has not."""
    return error is not None and not isinstance(error, WaitClosedError)


def _outcome(status_code: str | None, error: Exception | None) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {}
    if status_code is not None:
        attributes["runflow.batch.status"] = status_code if status_code in STATUSES else OTHER
    if error is not None and _is_failure(error):
        attributes["error.type"] = _kind(error)
    return attributes


def _shown(event: Polled) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        "runflow.items.changed": event.changes,
        "runflow.items.ended": event.items_ended,
    }
    if event.items_total is not None:
        attributes["runflow.items.total"] = event.items_total
    return attributes


def _failure(event: Retrying) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {"runflow.attempt": event.attempt, "error.type": _kind(event.error)}
    if event.delay < math.inf:
        attributes["runflow.delay"] = event.delay
    return attributes


def _request(event: RequestEnded) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {"http.request.method": event.method}
    if event.status is not None:
        attributes["http.response.status_code"] = event.status
    if event.error is not None:
        attributes["error.type"] = _kind(event.error)
    return attributes
