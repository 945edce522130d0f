"""The spans and metrics of waits, read from the SDK's in-memory exporters, over loopback on both lanes."""

from __future__ import annotations

import asyncio
import logging
import math
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aiohttp
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.aiohttp_client import create_trace_config
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from runflow_async import OutageError, RetryPolicy, RunflowSession, WaitTimeoutError
from runflow_async.emulator import Emulator, faults
from runflow_async.models import WaitStats
from runflow_async.observers import FleetEnded, PaceChanged, RequestSent, WaitEnded, WaitStalled, WaitStarted
from runflow_async.otel import OpenTelemetry
from runflow_async.otel.measures import AGES, DURATIONS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from opentelemetry.sdk.trace import ReadableSpan

pytestmark = pytest.mark.looptime
both_lanes = pytest.mark.usefixtures("both_lanes")

CANARY = "rf_live_canary_77b0c1"
SCRIPT = [[(0.0, "queued"), (1.0, "running"), (3.0, "succeeded")]] * 2


class Telemetry:
    """An observer, and what it has exported."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self._reader = InMemoryMetricReader()
        self._meters = MeterProvider([self._reader])
        self.observer = OpenTelemetry(self.tracers, self._meters)

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if name in (None, span.name)]

    def points(self) -> dict[str, list[Any]]:
        data = self._reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        return {metric.name: list(metric.data.data_points) for scope in scopes for metric in scope.metrics}

    def counts(self, name: str) -> dict[tuple[Any, ...], float]:
        return values(self.points()[name])

    def close(self) -> None:
        self.tracers.shutdown()
        self._meters.shutdown()


def values(points: list[Any]) -> dict[tuple[Any, ...], float]:
    return {tuple(point.attributes.values()): point.value for point in points}


@pytest.fixture
def telemetry():
    made = Telemetry()
    yield made
    made.close()


@asynccontextmanager
async def emulated(telemetry: Telemetry, **keywords: Any) -> AsyncIterator[tuple[Emulator, RunflowSession]]:
    clock = asyncio.get_running_loop().time
    async with Emulator(clock=clock, api_key=CANARY) as emulator:
        settings = {"retry": RetryPolicy(wait_initial=0.5), "observers": [telemetry.observer]} | keywords
        async with RunflowSession(CANARY, base_url=emulator.url, **settings) as session:
            yield emulator, session


@asynccontextmanager
async def instrumented(telemetry: Telemetry) -> AsyncIterator[tuple[Emulator, RunflowSession]]:
    """With an aiohttp session of the user's, which OpenTelemetry's instrumentation of aiohttp traces."""
    trace_config = create_trace_config(tracer_provider=telemetry.tracers)
    async with aiohttp.ClientSession(trace_configs=[trace_config]) as http:
        async with emulated(telemetry, http=http) as made:
            yield made


def events(span: ReadableSpan) -> list[str]:
    return [event.name for event in span.events]


def traceparent(span: trace.Span | ReadableSpan) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


@both_lanes
class TestTheSpanOfAWait:
    async def test_is_one_with_an_event_for_each_poll_that_changed_something(self, telemetry):
        async with emulated(telemetry) as (emulator, session):
            batch_id = emulator.create_scripted_batch(SCRIPT)
            wait = session.wait_for_batch(batch_id, interval=0.4)
            await wait
        (span,) = telemetry.spans()
        assert (span.name, span.kind, span.status.status_code) == ("wait_for_batch", SpanKind.CLIENT, StatusCode.UNSET)
        assert span.attributes == {
            "runflow.batch.id": str(batch_id),
            "runflow.batch.status": "succeeded",
            "runflow.wait.polls": wait.stats.polls,
            "runflow.wait.requests": wait.stats.requests,
            "runflow.wait.retries": 0,
        }
        assert events(span) == ["runflow.poll.changed"] * 3
        assert span.events[-1].attributes == {
            "runflow.items.changed": 2,
            "runflow.items.ended": 2,
            "runflow.items.total": 2,
        }
        assert wait.stats.polls > 3

    async def test_is_propagated_in_the_headers_of_its_requests(self, telemetry):
        async with emulated(telemetry) as (emulator, session):
            await session.wait_for_batch(emulator.create_scripted_batch(SCRIPT))
            sent = {request.headers.get("traceparent") for request in emulator.requests}
        (span,) = telemetry.spans()
        assert sent == {traceparent(span)}

    async def test_is_a_child_of_the_span_that_waits(self, telemetry):
        async with emulated(telemetry) as (emulator, session):
            with telemetry.tracers.get_tracer("app").start_as_current_span("handler") as handler:
                await session.wait_for_batch(emulator.create_scripted_batch(SCRIPT))
        (span,) = telemetry.spans("wait_for_batch")
        assert span.parent == handler.get_span_context()

    async def test_shows_an_outage_with_its_retries_and_its_end(self, telemetry):
        retry = RetryPolicy(wait_initial=0.5, wait_max=5.0)  # so that one fails between 30 and 60 s
        async with emulated(telemetry, retry=retry) as (emulator, session):
            emulator.faults.append(faults.status(503, times=math.inf))
            asyncio.get_running_loop().call_later(60, emulator.faults.clear)
            wait = session.wait_for_batch(emulator.create_scripted_batch(SCRIPT))
            await wait
        (span,) = telemetry.spans()
        assert span.status.status_code is StatusCode.UNSET
        seen = events(span)
        assert seen.count("runflow.poll.failed") == wait.stats.retries > 3
        first = span.events[0]
        assert (first.name, first.attributes["error.type"], first.attributes["runflow.attempt"]) == (
            "runflow.poll.failed",
            "503",
            1,
        )
        assert first.attributes["runflow.delay"] <= 0.5
        began, ended = seen.index("runflow.outage.began"), seen.index("runflow.outage.ended")
        assert 0 < began < ended < len(seen) - 1
        assert span.events[began].attributes["runflow.seconds"] >= 30
        assert span.events[ended].attributes["runflow.seconds"] >= 60

    async def test_has_the_status_error_and_the_errors_type_if_the_wait_fails(self, telemetry):
        async with emulated(telemetry) as (emulator, session):
            batch_id = emulator.create_batch(items=1, duration=600)
            with pytest.raises(WaitTimeoutError):
                await session.wait_for_batch(batch_id, timeout=5)
            emulator.faults.append(faults.status(401))
            with pytest.raises(Exception, match="401"):
                await session.wait_for_batch(batch_id)
            emulator.faults.append(faults.reset(times=math.inf))
            with pytest.raises(OutageError):
                await session.wait_for_batch(batch_id, max_outage=20)
        ends = [(span.status.status_code, span.attributes["error.type"]) for span in telemetry.spans()]
        assert ends == [
            (StatusCode.ERROR, "runflow_async.errors.WaitTimeoutError"),
            (StatusCode.ERROR, "401"),
            (StatusCode.ERROR, "runflow_async.errors.OutageError"),
        ]

    async def test_has_no_error_if_its_owner_closes_the_wait_or_the_batch_has_failed(self, telemetry):
        async with emulated(telemetry) as (emulator, session):
            async with session.wait_for_batch(emulator.create_batch(items=1, duration=600)) as wait:
                await anext(wait)
            await session.wait_for_batch(emulator.create_scripted_batch([[(0.0, "failed")]]))
        ends = [
            (span.status.status_code, span.attributes["runflow.batch.status"], "error.type" in span.attributes)
            for span in telemetry.spans()
        ]
        assert [end[0::2] for end in ends] == [(StatusCode.UNSET, False)] * 2
        assert ends[1][1] == "failed"

    async def test_of_a_fleet_links_to_the_fleets_span_which_lasts_as_long(self, telemetry):
        async with emulated(telemetry, max_connections=2) as (emulator, session):
            done = [emulator.create_scripted_batch([[(0.0, "succeeded")]]) for _ in range(20)]
            ids = done + [emulator.create_batch(items=1, duration=1 + number % 7) for number in range(20)]
            await session.wait_for_batches(ids)
            await session.wait_for_batches(ids[:2])
        fleet, other = telemetry.spans("wait_for_batches")
        waits = telemetry.spans("wait_for_batch")
        assert [link.context for span in waits for link in span.links] == [fleet.get_span_context()] * 40 + [
            other.get_span_context()
        ] * 2
        assert (fleet.attributes, other.attributes) == ({"runflow.fleet.waits": 40}, {"runflow.fleet.waits": 2})
        assert fleet.start_time <= min(span.start_time for span in waits)
        assert fleet.end_time >= max(span.end_time for span in waits[:40])

    async def test_has_its_own_events_though_its_polls_are_shared(self, telemetry):
        """The request has the span of the wait that was due first."""
        async with emulated(telemetry) as (emulator, session):
            batch_id = emulator.create_scripted_batch(SCRIPT)
            await asyncio.gather(*(session.wait_for_batch(batch_id, interval=1) for _ in range(3)))
            sent = {request.headers.get("traceparent") for request in emulator.requests}
        assert [events(span) for span in telemetry.spans()] == [events(telemetry.spans()[0])] * 3
        assert sent <= {traceparent(span) for span in telemetry.spans()}


@both_lanes
@pytest.mark.parametrize("closed", ["fleet", "session"])
async def test_no_span_is_left_open_by_a_close(closed, telemetry):
    async with emulated(telemetry) as (emulator, session):
        wait = session.wait_for_batches([emulator.create_batch(items=1, duration=600) for _ in range(3)])
        for _ in range(3):
            await anext(wait)
        await (wait.aclose() if closed == "fleet" else session.close())
        await wait.aclose()
    assert sorted(span.name for span in telemetry.spans()) == ["wait_for_batch"] * 3 + ["wait_for_batches"]
    assert telemetry.counts("runflow.client.active_waits") == {(): 0}


class TestTheHTTPClientsOwnSpans:
    async def test_are_suppressed_in_polls(self, telemetry):
        async with instrumented(telemetry) as (emulator, session):
            await session.wait_for_batch(emulator.create_scripted_batch(SCRIPT))
            assert {request.headers.get("traceparent") for request in emulator.requests} == {
                traceparent(span) for span in telemetry.spans()
            }
        assert [span.name for span in telemetry.spans()] == ["wait_for_batch"]

    async def test_are_left_to_calls_and_to_the_users_own_requests_meanwhile(self, telemetry):
        async with instrumented(telemetry) as (emulator, session):
            batch_id = emulator.create_batch(items=1, duration=10)
            waiting = asyncio.ensure_future(session.wait_for_batch(batch_id))
            await asyncio.sleep(1)
            await session.get_batch(batch_id)
            called = emulator.requests[-1].headers["traceparent"]
            await waiting
        (span,) = telemetry.spans("GET")
        assert called == traceparent(span)

    @both_lanes
    async def test_are_not_needed_for_a_call_to_propagate_the_current_span(self, telemetry):
        async with emulated(telemetry) as (emulator, session):
            with telemetry.tracers.get_tracer("app").start_as_current_span("handler") as handler:
                await session.get_batch(emulator.create_batch(items=1))
            await session.get_batch(emulator.create_batch(items=1))
            sent = [request.headers.get("traceparent") for request in emulator.requests]
        assert sent == [traceparent(handler), None]


@both_lanes
class TestMetrics:
    async def test_count_waits_polls_and_requests_and_measure_ages_and_durations(self, telemetry):
        async with emulated(telemetry) as (emulator, session):
            wait = session.wait_for_batch(emulator.create_scripted_batch(SCRIPT), interval=0.5)
            transitions = [await anext(wait)]
            assert telemetry.counts("runflow.client.active_waits") == {(): 1}
            transitions += [transition async for transition in wait]
        assert telemetry.counts("runflow.client.active_waits") == {(): 0}
        assert telemetry.counts("runflow.client.polls") == {(): wait.stats.polls}
        assert telemetry.counts("runflow.client.requests") == {("GET", 200): wait.stats.requests}
        (ages,) = telemetry.points()["runflow.client.transition.age"]
        assert (ages.count, tuple(ages.explicit_bounds), ages.attributes) == (len(transitions), AGES, {})
        assert ages.max == pytest.approx(0.5, abs=0.05)
        (durations,) = telemetry.points()["runflow.client.wait.duration"]
        assert (durations.count, tuple(durations.explicit_bounds)) == (1, DURATIONS)
        assert durations.attributes == {"runflow.batch.status": "succeeded"}
        assert durations.sum == pytest.approx(wait.stats.elapsed)

    async def test_count_retries_by_cause_and_429s_and_show_the_pace(self, telemetry):
        async with emulated(telemetry) as (emulator, session):
            refusals = [faults.reset(), faults.status(429, code="RATE_LIMITED"), faults.status(503)]
            batch_id = emulator.create_scripted_batch(SCRIPT)
            emulator.faults += refusals
            wait = session.wait_for_batch(batch_id)
            await wait
            assert telemetry.counts("runflow.client.request.interval") == {(): 1.0}
            await asyncio.sleep(61)
            await session.get_batch(batch_id)
        lost, points = "runflow_async.errors.TransportError", telemetry.points()
        assert values(points["runflow.client.retries"]) == {("429",): 1, ("503",): 1, (lost,): 1}
        assert values(points["runflow.client.requests"]) == {
            ("GET", 200): wait.stats.polls + 1,
            ("GET", 429, "429"): 1,
            ("GET", 503, "503"): 1,
            ("GET", lost): 1,
        }
        assert values(points["runflow.client.request.interval"]) == {(): 0.0}

    async def test_of_a_failed_wait_name_its_error(self, telemetry):
        async with emulated(telemetry) as (emulator, session):
            with pytest.raises(WaitTimeoutError):
                await session.wait_for_batch(emulator.create_batch(items=1, duration=600), timeout=5)
        (durations,) = telemetry.points()["runflow.client.wait.duration"]
        assert durations.attributes["error.type"] == "runflow_async.errors.WaitTimeoutError"


@both_lanes
async def test_neither_the_key_nor_what_the_server_wrote_nor_an_id_on_a_metric_is_exported(telemetry):
    signed = "https://files.example/o.png?X-Signature=5d3cr37"
    async with emulated(telemetry) as (emulator, session):
        batch_id = emulator.create_batch(items=1, duration=3)
        for status in (503, 401):
            emulator.faults.append(faults.status(status, code="BROKEN", message=f"{CANARY} {signed}"))
        with pytest.raises(Exception, match="401"):
            await session.wait_for_batch(batch_id)
        await session.wait_for_batch(batch_id)
        path = str(batch_id)
    traced = "".join(span.to_json() for span in telemetry.spans())
    measured = str(telemetry.points())
    for secret in (CANARY, "5d3cr37", "files.example"):
        assert secret not in traced + measured
    assert path in traced
    assert path not in measured


def started(wait_id: int = 1) -> WaitStarted:
    return WaitStarted(batch_id=uuid4(), wait_id=wait_id, fleet_id=None)


def test_a_status_that_is_not_known_is_one_value_whatever_the_server_sends(telemetry):
    """Attributes of metrics must have few values."""
    for number in range(3):
        begun = started()
        telemetry.observer(begun)
        telemetry.observer(
            WaitEnded(batch_id=begun.batch_id, wait_id=1, status_code=f"s{number}", error=None, stats=WaitStats())
        )
    (durations,) = telemetry.points()["runflow.client.wait.duration"]
    assert (durations.count, durations.attributes) == (3, {"runflow.batch.status": "_OTHER"})


async def test_a_session_that_shares_the_observer_of_another_one_loses_it_and_the_other_does_not(telemetry, caplog):
    async with emulated(telemetry) as (emulator, session):
        async with RunflowSession(CANARY, base_url=emulator.url, observers=[telemetry.observer]) as other:
            ids = [emulator.create_batch(items=1, duration=3) for _ in range(2)]
            await asyncio.gather(session.wait_for_batch(ids[0]), other.wait_for_batch(ids[1]))
    assert [span.attributes["runflow.batch.id"] for span in telemetry.spans()] == [str(ids[0])]
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "one of its own" in record.exc_text


def test_a_stall_is_an_event_of_the_waits_span(telemetry):
    telemetry.observer(begun := started())
    telemetry.observer(
        WaitStalled(
            batch_id=begun.batch_id,
            wait_id=1,
            seconds=90.0,
            status_code="running",
            items_ended=0,
            items_total=1,
        )
    )
    telemetry.observer(WaitEnded(batch_id=begun.batch_id, wait_id=1, status_code=None, error=None, stats=WaitStats()))
    (stalled,) = telemetry.spans()[0].events
    assert (stalled.name, stalled.attributes) == ("runflow.wait.stalled", {"runflow.seconds": 90.0})


def test_a_fleet_of_which_no_wait_has_started_has_no_span(telemetry):
    telemetry.observer(FleetEnded(fleet_id=1, waits=2))
    assert telemetry.spans() == []


def test_nothing_is_current_after_a_request(telemetry):
    telemetry.observer(begun := started())
    request = RequestSent(batch_id=begun.batch_id, wait_id=1, method="GET", path="/", attempt=1)
    with telemetry.observer.sending(request) as headers:
        assert headers.keys() == {"traceparent"}
        assert trace.get_current_span().is_recording()
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_the_global_providers_are_the_default():
    """Without an SDK, they do nothing."""
    observer = OpenTelemetry()
    observer(begun := started())
    observer(PaceChanged(rate=2.0, reason="", held_for=0.0))
    with observer.sending(RequestSent(batch_id=begun.batch_id, wait_id=1, method="GET", path="/", attempt=1)) as added:
        assert added == {}


@pytest.mark.slow
def test_without_the_package_the_import_says_what_to_install():
    code = "import sys; sys.modules['opentelemetry'] = None; import runflow_async, runflow_async.otel"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr
    assert "ModuleNotFoundError: runflow_async.otel needs opentelemetry-api: pip install 'runflow-async[otel]'" in told
