"""structlog and Sentry take what the logger of the package says. Both change the process that they are set up in."""

from __future__ import annotations

import json

import pytest

from runflow_async.emulator import faults

LOGGING = """
import asyncio, logging, sys
import structlog
from structlog_logging import configure_logging
from runflow_async import RetryPolicy, RunflowSession

async def main():
    configure_logging()
    structlog.contextvars.bind_contextvars(job="nightly")
    structlog.get_logger("mine").info("begun")
    async with RunflowSession(retry=RetryPolicy(wait_initial=0.01)) as session:
        await session.wait_for_batch(sys.argv[1])
    logging.getLogger("mine").error("over", exc_info=ValueError("why"), extra={"rows": 3})

asyncio.run(main())
"""
REPORTING = """
import asyncio, sys
from sentry_reports import follow, start_sentry
from sentry_sdk.transport import Transport
from runflow_async import RetryPolicy, RunflowSession

class Printing(Transport):
    def capture_envelope(self, envelope):
        for item in envelope.items:
            print(item.get_bytes().decode(), flush=True)

async def main():
    start_sentry(dsn="http://key@127.0.0.1/1", transport=Printing)
    async with RunflowSession(retry=RetryPolicy(wait_initial=0.01)) as session:
        try:
            await follow(session, sys.argv[1])
        except Exception as error:
            print("raised", type(error).__name__)

asyncio.run(main())
"""


async def lines_of(process, *arguments: object) -> list[str]:
    async with process("-c", *arguments) as running:
        assert await running.ended() == 0, running.lines
    return running.lines


async def test_structlog_writes_the_records_of_the_package_as_json(emulator, process):
    batch_id = emulator.create_scripted_batch([[(0.0, "succeeded")]])
    emulator.faults.append(faults.status(500, times=1))
    begun, retried, *_, over = map(json.loads, await lines_of(process, LOGGING, batch_id))
    assert begun.items() >= {"event": "begun", "logger": "mine", "level": "info", "job": "nightly"}.items()
    assert retried["logger"].startswith("runflow_async")
    assert "500" in retried["event"]
    assert over.items() >= {"event": "over", "level": "error", "rows": 3}.items()
    assert "ValueError: why" in over["exception"]
    assert all(line["timestamp"].endswith("Z") for line in (begun, retried, over))


@pytest.mark.slow
async def test_sentry_gets_the_error_with_its_batch_and_what_came_before_and_no_key(emulator, process):
    batch_id = emulator.create_scripted_batch([[(0.0, "running")]])
    emulator.faults += [faults.status(500, times=1), faults.status(403)]
    report, raised = await lines_of(process, REPORTING, batch_id)
    event = json.loads(report)
    assert raised == f"raised {event['exception']['values'][-1]['type']}"
    assert event["tags"] == {"batch_id": str(batch_id)}
    crumbs = [(crumb["category"], crumb.get("message", "")) for crumb in event["breadcrumbs"]["values"]]
    assert any(category.startswith("runflow_async") and "500" in message for category, message in crumbs)
    assert emulator.api_key not in report
