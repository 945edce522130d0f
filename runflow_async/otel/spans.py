"""The span of each wait: when it begins and ends, and which events become part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import context, trace
from opentelemetry.trace import Link, SpanKind, StatusCode

from runflow_async.observers import (
    FleetEnded,
    OutageBegan,
    OutageEnded,
    Polled,
    Retrying,
    WaitEnded,
    WaitStalled,
    WaitStarted,
)
from runflow_async.otel import attributes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer
    from opentelemetry.util.types import AttributeValue

    from runflow_async.observers import Event

__all__ = ["Spans"]


class Spans:
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
                self._add(event.wait_id, "runflow.poll.changed", attributes.shown(event))
            case Retrying():
                self._add(event.wait_id, "runflow.poll.failed", attributes.failure(event))
            case WaitStalled(seconds=seconds):
                self._add(event.wait_id, "runflow.wait.stalled", {"runflow.seconds": seconds})
            case OutageBegan(seconds=seconds):
                self._add_to_all(
                    "runflow.outage.began", {"runflow.seconds": seconds, "error.type": attributes.kind(event.error)}
                )
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
        wait.span.set_attributes(attributes.outcome(event.status_code, event.error))
        if attributes.is_failure(event.error):
            wait.span.set_status(StatusCode.ERROR)
        wait.span.end()

    def _end_fleet(self, event: FleetEnded) -> None:
        span = self._fleets.pop(event.fleet_id, None)
        if span is not None:
            span.set_attribute("runflow.fleet.waits", event.waits)
            span.end()

    def _add(self, wait_id: int | None, name: str, details: Mapping[str, AttributeValue]) -> None:
        wait = None if wait_id is None else self._waits.get(wait_id)
        if wait is not None:
            wait.span.add_event(name, details)

    def _add_to_all(self, name: str, details: Mapping[str, AttributeValue]) -> None:
        for wait in self._waits.values():
            wait.span.add_event(name, details)


class _Wait:
    """The span of a wait, in the context in which the wait started."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self.context = trace.set_span_in_context(span)
