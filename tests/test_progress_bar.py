"""A wait that is iterated under a bar: the same transitions and promises, and a clean terminal however it ends."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from typing import TYPE_CHECKING

import pyte
import pytest

from runflow_async import Batch, ConfigurationError, ServerError
from runflow_async import _bars as bars
from runflow_async._waits.fleet import BatchesWait
from runflow_async.progress import progress
from tests.virtual import BATCH_ID, ISOLATED, body, perform, play

if TYPE_CHECKING:
    from uuid import UUID

pytestmark = ISOLATED

ITEMS = [
    [(0.0, "queued"), (5.0 * one, "running"), (5.0 * one + 5, "failed" if one == 3 else "succeeded")]
    for one in range(8)
]
each_bar = pytest.mark.parametrize("bar", ["tqdm", "rich"])
COLUMNS, LINES = 120, 6


class Terminal(io.StringIO):
    """Standard error that is a terminal, as far as those who draw can tell."""

    encoding = "utf-8"

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self._monkeypatch = monkeypatch
        self.out = io.StringIO()
        self.is_gone = False
        self.screen = pyte.Screen(COLUMNS, LINES)
        self.screen.set_mode(pyte.modes.LNM)
        self._stream = pyte.Stream(self.screen)

    def progress(self, waits, bar):
        """Now that pytest has put its own files in place of these."""
        self._monkeypatch.setattr(sys, "stderr", self)
        self._monkeypatch.setattr(sys, "stdout", self.out)
        return progress(waits, bar=bar)

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.is_gone:
            raise BrokenPipeError
        self._stream.feed(text)
        return len(text)

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display if line.strip()]

    @property
    def is_clean(self) -> bool:
        """Whether the next output begins in a line of its own, with a cursor to see."""
        return self.screen.cursor.x == 0 and not self.screen.cursor.hidden


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    monkeypatch.setenv("TERM", "xterm-256color")
    return Terminal(monkeypatch)


def one_wait(**keywords):
    return perform(ITEMS).wait(interval=1, **keywords)


def many_waits(**keywords) -> BatchesWait:
    transport = perform(ITEMS)
    make = lambda batch_id: transport.run(batch_id, interval=1, **keywords)  # noqa: E731
    waits = BatchesWait(make, transport.lifetime.scope("the wait for batches"), 4)
    waits.add(BATCH_ID)
    return waits


def changes(transitions: list) -> list[tuple[int, str | None, str]]:
    return [(one.item.sequence_index, one.previous, one.current) for one in transitions]


@each_bar
@pytest.mark.parametrize("make", [one_wait, many_waits])
async def test_a_bar_shows_how_many_items_have_ended_and_how(terminal, bar, make):
    plain = [transition async for transition in make()]
    shown = [transition async for transition in terminal.progress(make(), bar=bar)]
    assert changes(shown) == changes(plain)
    (line,) = terminal.lines
    for part in (f"batch {str(BATCH_ID)[:8]}", "100%", "8/8", "1 failed"):
        assert part in line
    assert "ends in" not in line
    assert terminal.is_clean


@each_bar
@pytest.mark.parametrize("make", [one_wait, many_waits])
async def test_awaited_it_returns_what_the_wait_returns(terminal, bar, make):
    assert await terminal.progress(make(), bar=bar) == await make()
    (line,) = terminal.lines
    assert "8/8" in line
    assert terminal.is_clean


@each_bar
async def test_meanwhile_it_moves_and_says_when_the_end_is_expected(terminal, bar):
    """It ticks while nothing changes."""
    bar = terminal.progress(perform(ITEMS).wait(interval=3), bar=bar)
    while (transition := await anext(bar)).item.sequence_index < 5 or transition.previous is None:
        pass
    waiting = asyncio.ensure_future(anext(bar))
    await asyncio.sleep(1)
    (line,) = terminal.lines
    assert "1 failed, 1 running, 2 queued, ends in " in line
    assert not terminal.is_clean
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert terminal.is_clean


@each_bar
class TestLeaving:
    async def test_by_break_closes_it_at_once_and_the_wait_can_go_on(self, terminal, bar):
        wait, seen = one_wait(), []
        async for transition in terminal.progress(wait, bar=bar):
            seen.append(transition)
            if len(seen) == 12:
                break
        assert terminal.is_clean
        assert len(terminal.lines) == 1
        seen += [transition async for transition in terminal.progress(wait, bar=bar)]
        assert changes(seen) == changes([transition async for transition in one_wait()])
        assert terminal.is_clean
        assert "8/8" in terminal.lines[-1]

    async def test_by_an_exception_closes_it_before_anybody_sees_it(self, terminal, bar):
        with pytest.raises(LookupError):
            await self.fail_in(terminal.progress(one_wait(), bar=bar))
        assert terminal.is_clean

    async def fail_in(self, transitions) -> None:
        seen = 0
        async for _ in transitions:
            seen += 1
            if seen == 12:
                raise LookupError

    async def test_by_cancelling_loses_nothing(self, terminal, bar):
        wait, seen = one_wait(), []

        async def follow() -> None:
            async for transition in terminal.progress(wait, bar=bar):
                seen.append(transition)  # cancelled in between

        task = asyncio.ensure_future(follow())
        await asyncio.sleep(12.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        del task
        assert terminal.is_clean
        seen += [transition async for transition in wait]
        assert changes(seen) == changes([transition async for transition in one_wait()])

    async def test_by_an_error_of_the_wait_raises_it(self, terminal, bar):
        answers = [body("running", ["running"]), *[ServerError(503)] * 99]
        with pytest.raises(Exception, match="no valid response") as raised:
            async for _ in terminal.progress(play(*answers).wait(interval=1, max_outage=20), bar=bar):
                pass
        assert type(raised.value).__name__ == "OutageError"
        assert terminal.is_clean
        assert len(terminal.lines) == 1


async def test_nothing_is_left_running(terminal):
    async for _ in terminal.progress(one_wait(), bar="tqdm"):
        break
    assert [timer for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()] == []
    assert len(asyncio.all_tasks()) == 1


class Recorder:
    def __init__(self) -> None:
        self.recorded: list[tuple[int, str]] = []

    async def load(self, _batch_id: UUID) -> Batch | None:
        return None

    def record(self, transition) -> None:
        self.recorded.append((transition.item.sequence_index, transition.current))


@pytest.mark.parametrize("make", [one_wait, many_waits])
async def test_a_transition_is_recorded_when_the_loop_comes_back(terminal, make):
    recorder, delivered = Recorder(), []
    async for transition in terminal.progress(make(checkpoint=recorder), bar="tqdm"):
        assert recorder.recorded == delivered
        delivered.append((transition.item.sequence_index, transition.current))
    assert recorder.recorded == delivered


@pytest.mark.parametrize("after", [3, 1000])
async def test_what_an_earlier_wait_delivered_counts(terminal, after):
    earlier = perform(ITEMS).wait(interval=1)
    async for _ in earlier:
        after -= 1
        if not after:
            break
    async for _ in terminal.progress(perform(ITEMS).wait(interval=1, since=earlier.delivered), bar="tqdm"):
        pass
    assert "8/8" in terminal.lines[0]


@each_bar
async def test_where_no_terminal_is_nothing_is_written(monkeypatch, bar):
    monkeypatch.setattr(sys, "stderr", plain := io.StringIO())
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    assert len([one async for one in progress(one_wait(), bar=bar)]) == len([one async for one in one_wait()])
    assert plain.getvalue() == out.getvalue() == ""


@each_bar
async def test_what_is_printed_meanwhile_stays_on_standard_output(terminal, bar):
    async for _ in terminal.progress(one_wait(), bar=bar):
        sys.stdout.write("a line\n")
    assert "a line" in terminal.out.getvalue()
    assert not [line for line in terminal.lines if "a line" in line]


@each_bar
async def test_a_terminal_that_is_gone_harms_no_wait(terminal, bar, caplog):
    seen = []
    async for transition in terminal.progress(one_wait(), bar=bar):
        seen.append(transition)
        terminal.is_gone = len(seen) >= 10
    assert changes(seen) == changes([transition async for transition in one_wait()])
    assert [record.getMessage() for record in caplog.records] == [
        "the progress bar cannot be drawn; the wait goes on without it"
    ]


async def test_what_draws_is_tqdm_or_else_rich(monkeypatch):
    assert bars.choose_bar(None) is bars.choose_bar("tqdm")
    monkeypatch.setattr(bars, "find_spec", lambda name: None if name == "tqdm" else name)
    assert bars.choose_bar(None) is bars.choose_bar("rich")
    with pytest.raises(ConfigurationError, match=r"tqdm is not installed: pip install 'runflow-async\[progress\]'"):
        progress(one_wait(), bar="tqdm")
    monkeypatch.setattr(bars, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match="neither tqdm nor rich is installed"):
        progress(one_wait())
    with pytest.raises(ConfigurationError, match="rich is not installed: pip install 'rich'"):
        progress(one_wait(), bar="rich")


async def test_arguments_that_make_no_sense_are_rejected():
    with pytest.raises(ConfigurationError, match="bar must be 'tqdm', 'rich' or None, not 'blocks'"):
        progress(one_wait(), bar="blocks")
    with pytest.raises(ConfigurationError, match=r"progress.. takes a wait of an asynchronous session, .* not a list"):
        progress([])


@pytest.mark.slow
@pytest.mark.parametrize("module", ["runflow_async", "runflow_async.progress"])
def test_importing_loads_neither_of_them(module):
    script = f"import sys, {module}; print([name for name in ('tqdm', 'rich', 'IPython') if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True, timeout=60).strip() == "[]"
