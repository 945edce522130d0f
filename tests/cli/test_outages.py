"""Outages as the command line reports them: when one begins and when it is over, once for all batches."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from uuid import UUID

import pytest

from runflow_async import AuthenticationError, ServerError, WaitTimeoutError
from runflow_async.cli import following, outages
from runflow_async.cli.messages import NoteLines
from runflow_async.cli.outages import OutageWatch, describe_outage, find_outages
from runflow_async.emulator import faults
from tests.rig import eventually
from tests.virtual import ISOLATED, body, play

ENDED = [[(0.0, "succeeded")]]
DOWN = [ServerError(503, retry_after=5)] * 3


class Watched:
    """A watch of some waits, looked at each second of virtual time."""

    def __init__(self, *answers) -> None:
        self.reports: list[tuple[str, int, str]] = []
        self.waits = {UUID(int=n): play(*given).wait(UUID(int=n), interval=5) for n, given in enumerate(answers)}
        self._watch = OutageWatch(
            SimpleNamespace(waits=self.waits),
            began=lambda ids, text: self.reports.append(("began", len(ids), text)),
            over=lambda ids, text: self.reports.append(("over", len(ids), text)),
        )

    async def run(self, seconds: int) -> list[tuple[str, int, str]]:
        tasks = [asyncio.ensure_future(wait) for wait in self.waits.values()]
        for _ in range(seconds):
            await asyncio.sleep(1)
            self._watch.look(asyncio.get_running_loop().time())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return self.reports


def good(number: int, status: str = "running") -> bytes:
    return body(status, id=str(UUID(int=number)))


@ISOLATED
class TestOutageWatch:
    async def test_reports_the_start_and_the_end_of_an_outage_once_for_all_batches(self):
        reports = await Watched(*([good(n), *DOWN, good(n)] for n in range(3))).run(300)
        assert [(what, count) for what, count, _ in reports] == [("began", 3), ("over", 3)]
        assert reports[0][2].startswith("no valid response for ")
        assert " of 300 s: HTTP 503" in reports[0][2]
        assert reports[1][2].startswith("valid responses again, after ")

    async def test_does_not_report_a_failure_that_the_next_retry_fixes(self):
        assert await Watched([good(0), ServerError(503), good(0)]).run(60) == []

    async def test_reports_nothing_while_responses_are_valid(self):
        assert await Watched([good(0)]).run(60) == []

    async def test_reports_the_next_outage_again(self):
        reports = await Watched([*DOWN, good(0), *DOWN, good(0)]).run(600)
        assert [what for what, _, _ in reports] == ["began", "over", "began", "over"]

    async def test_does_not_report_the_end_for_batches_that_failed(self):
        watched = Watched([*DOWN, AuthenticationError(401)])
        assert [what for what, _, _ in await watched.run(300)] == ["began"]


@ISOLATED
async def test_an_outage_is_described_with_its_age_and_its_limit():
    wait = play(ServerError(503)).wait(max_outage=40.5)
    task = asyncio.ensure_future(wait)
    await asyncio.sleep(14.2)
    (outage,) = find_outages(SimpleNamespace(waits={wait.batch_id: wait})).values()
    now = asyncio.get_running_loop().time()
    assert describe_outage(outage, now).startswith("no valid response for 14 s of 40.5 s: HTTP 503")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("command", [("wait",), ("watch",), ("watch", "--json")])
async def test_every_command_that_waits_reports_an_outage_on_standard_error(
    emulator, run, capsys, monkeypatch, command
):
    monkeypatch.setattr(outages, "REPORTED_AFTER_SECONDS", 0.05)
    monkeypatch.setattr(following, "REFRESH_SECONDS", 0.02)
    emulator.faults.append(faults.status(503, times=10**9))
    batch_ids = [emulator.create_scripted_batch(ENDED) for _ in range(3)]
    running = asyncio.create_task(run(*command, *batch_ids))
    seen = ""

    def says(text: str) -> bool:
        nonlocal seen
        seen += capsys.readouterr().err
        return text in seen

    await eventually(lambda: says(" s of 300 s: HTTP 503"))
    emulator.faults.clear()
    ran = await running
    seen += ran.err
    assert ran.status == 0
    assert seen.count("no valid response for") == 1
    assert seen.count("valid responses again, after") == 1
    assert len(seen.splitlines()) == 2  # no line for each failed attempt


@pytest.mark.usefixtures("quick_retries")
async def test_with_the_debug_option_each_failed_attempt_is_shown_too(emulator, run):
    emulator.faults.append(faults.status(503, times=2))
    ran = await run("watch", "--debug", emulator.create_scripted_batch(ENDED))
    assert "attempt 2 failed (HTTP 503" in ran.err


@pytest.mark.looptime
async def test_the_librarys_own_log_of_an_outage_is_not_shown_beside_these_lines(capsys):
    """It has lines for each batch; everything else that the library logs is shown."""
    library = logging.getLogger("runflow_async")
    lines = NoteLines()
    library.addHandler(lines)
    library.setLevel(logging.INFO)
    try:
        with pytest.raises(WaitTimeoutError):
            await play(body(), *[ServerError(503)] * 3, body()).wait(timeout=60, interval=10)
        library.info("something else")
    finally:
        library.removeHandler(lines)
        library.setLevel(logging.NOTSET)
    assert capsys.readouterr().err == "something else\n"
