"""Traces and metrics of a session's waits, for OpenTelemetry. Needs the extra `otel`.

    from runflow_async.otel import OpenTelemetry

    async with RunflowSession(observers=[OpenTelemetry()]) as session:
        ...

Attributes have neither the key, nor a URL, nor the text of an error, which may quote what the server sent.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

try:
    from opentelemetry import context, metrics, propagate, trace
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "runflow_async.otel needs opentelemetry-api: pip install 'runflow-async[otel]'", name=missing.name
    ) from missing

from runflow_async._version import __version__
from runflow_async.otel.measures import Measures
from runflow_async.otel.spans import Spans

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from runflow_async.observers import Event, RequestSent

__all__ = ["OpenTelemetry"]

SUPPRESSED = "suppress_instrumentation"
"""The key that instrumentations look for in the context. Those for HTTP alone are newer, and private to them."""


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
        self._spans = Spans(trace.get_tracer("runflow_async", __version__, tracer_provider))
        self._measures = Measures(metrics.get_meter("runflow_async", __version__, meter_provider))

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
