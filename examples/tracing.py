"""Trace a wait that an outage interrupts, and print its span and the metrics: `python examples/tracing.py`.

It needs `opentelemetry-sdk` beside the extra `otel`. The emulator stands in for the API; it fails for a while, and the
wait retries until it is back.
"""

from __future__ import annotations

import asyncio
import math
import sys

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from runflow_async import RetryPolicy, RunflowSession
from runflow_async.emulator import Emulator, faults
from runflow_async.otel import OpenTelemetry

SERVICE = Resource.create({"service.name": "upscaling"})


async def main(outage: float = 40.0) -> None:
    """Wait for one batch, during an outage of some seconds, and print what was traced and measured."""
    tracer_provider = TracerProvider(resource=SERVICE)
    tracer_provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=sys.stdout)))
    meter_provider = MeterProvider(
        [PeriodicExportingMetricReader(ConsoleMetricExporter(out=sys.stdout))], resource=SERVICE
    )
    observers = [OpenTelemetry(tracer_provider, meter_provider)]
    loop, retry = asyncio.get_running_loop(), RetryPolicy(wait_max=5.0)
    async with (
        Emulator(clock=loop.time) as emulator,
        RunflowSession(emulator.api_key, base_url=emulator.url, observers=observers, retry=retry) as session,
    ):
        batch_id = emulator.create_batch(items=3, duration=2.0)
        loop.call_later(0.5, emulator.faults.append, faults.status(503, times=math.inf))
        loop.call_later(0.5 + outage, emulator.faults.clear)
        batch = await session.wait_for_batch(batch_id)
    print(batch.status_code)
    tracer_provider.shutdown()
    meter_provider.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
