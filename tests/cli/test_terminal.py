"""The command line on a real pseudo-terminal: what is on its screen, in which colours, and what keys do."""

from __future__ import annotations

import asyncio
import re
import signal
import sys

import msgspec
import pytest

from runflow_async import Batch
from runflow_async.emulator import faults
from tests.cli.terminal import terminal
from tests.rig import eventually

pytestmark = pytest.mark.slow

SIGNALLED_TWICE = """
import asyncio, signal, sys
from rich.console import Console
from runflow_async.cli.screen import alternate_screen
from runflow_async.cli.signals import run_async

async def main():
    with alternate_screen(Console(), print):
        try:
            signal.raise_signal(int(sys.argv[1]))
            await asyncio.sleep(60)
        finally:
            signal.raise_signal(int(sys.argv[1]))
            print("cleaned up")

run_async(main())
"""

NEVER = [[(0.0, "running")]]


def ended(*statuses: str) -> list[list[tuple[float, str]]]:
    return [[(0.0, status)] for status in statuses]


async def test_get_says_first_what_failed_and_why(emulator):
    batch_id = emulator.create_scripted_batch(ended("failed", "succeeded"), client_refs=["first", "second"])
    async with terminal("get", str(batch_id)) as screen:
        assert await screen.end() == 0
        lines = [line.strip() for line in screen.text.splitlines() if line]
        assert lines[:4] == [f"batch {batch_id}", "1 of 2 items failed", "ITEM_FAILED: this item failed", "#0 first"]
        assert screen.text.index("#0 first") < screen.text.index("status  ")
        assert screen.colours("ITEM_FAILED") == {"red"}


async def test_get_does_not_break_the_command_to_copy(emulator):
    batch_id = emulator.create_scripted_batch(ended("failed"))
    async with terminal("get", str(batch_id), columns=60) as screen:
        assert await screen.end() == 0
        assert f"  runflow-async resubmit MODEL {batch_id}\r\n".encode() in screen.received


async def test_items_shows_a_table_with_a_row_for_each_item(emulator):
    batch_id = emulator.create_scripted_batch(ended("succeeded", "failed"), client_refs=["first", "second"])
    async with terminal("items", str(batch_id)) as screen:
        assert await screen.end() == 0
        assert re.search(r"0 +first +succeeded", screen.text)
        assert re.search(r"1 +second +failed .*ITEM_FAILED", screen.text)


class TestTheLiveView:
    async def test_has_a_bar_for_each_batch_and_the_last_transitions_below(self, emulator):
        busy = [(n / 2, ("queued", "running")[n % 2]) for n in range(100)]
        steps = [*ended("succeeded", "failed", "canceled"), [(0.0, "running")], busy]
        batch_id = emulator.create_scripted_batch(steps)
        other = emulator.create_scripted_batch(NEVER)
        async with terminal("watch", str(batch_id), str(other), "--interval", "0.1") as screen:
            await screen.shows("queued → running")
            row = next(line for line in screen.text.splitlines() if line.startswith(str(batch_id)[:8]))
            assert re.search(r"█+✗+╌+▒+░* +3/5 .*polls", row)
            assert screen.colours("█") == {"green"}
            assert screen.colours("✗") == {"red"}
            assert screen.colours("▒") == {"cyan"}
            assert re.search(f"^{str(other)[:8]} +▒", screen.text, re.MULTILINE)

    async def test_leaves_the_last_picture_on_the_main_screen(self, emulator):
        batch_id = emulator.create_scripted_batch([[(0.0, "running"), (0.3, "failed")]])
        async with terminal("watch", str(batch_id), "--interval", "0.1") as screen:
            assert await screen.end() == 1
            left = screen.received.rsplit(b"\x1b[?1049l", 1)[1].decode()
            assert "1 batch: 1 of 1 items ended" in left
            assert "✗" in left

    async def test_fits_a_terminal_that_is_resized(self, emulator):
        batch_ids = [str(emulator.create_scripted_batch(NEVER)) for _ in range(3)]
        async with terminal("watch", *batch_ids, columns=120, rows=30) as screen:
            await screen.shows(batch_ids[0])
            screen.resize(40, 12)
            await screen.shows(f"\n{batch_ids[0][:8]}  ▒")
            await screen.shows("Ctrl-C ends the watch")
            assert batch_ids[0] not in screen.text
            screen.resize(140, 20)
            await screen.shows(batch_ids[2])

    async def test_collapses_many_batches_into_a_summary_with_the_slowest_on_top(self, emulator):
        quick = [emulator.create_scripted_batch(ended("succeeded")) for _ in range(40)]
        slow = emulator.create_scripted_batch(NEVER)
        ids = [str(batch_id) for batch_id in (*quick, slow)]
        async with terminal("watch", *ids, "--interval", "0.1", rows=20) as screen:
            await screen.shows("1 under way, 40 succeeded")
            await screen.shows("41 batches: 40 of 41 items ended")
            await screen.shows("item-0  succeeded")  # below all else: the picture is whole
            lines = screen.text.splitlines()
            assert lines[lines.index("the slowest:") + 1].startswith(str(slow)[:8])
            assert len(lines) <= 20

    async def test_shows_the_cause_of_an_outage(self, emulator):
        emulator.faults.append(faults.status(503, times=100))
        async with terminal("watch", str(emulator.create_scripted_batch(NEVER))) as screen:
            await screen.shows(": no valid response for ")
            await screen.shows(" s of 300 s: HTTP 503")

    @pytest.mark.slow
    async def test_says_when_an_outage_is_over(self, emulator):
        emulator.faults.append(faults.status(503, times=10**9))
        async with terminal("watch", str(emulator.create_scripted_batch(NEVER))) as screen:
            await eventually(lambda: re.search(r"no valid response for ([4-9]|\d\d) s", screen.text))
            emulator.faults.clear()
            await screen.shows(": valid responses again, after ")
            assert "no valid response" not in screen.text

    async def test_without_colour_shows_states_by_their_glyphs(self, emulator):
        batch_id = emulator.create_scripted_batch(ended("succeeded", "failed") + NEVER)
        async with terminal("watch", str(batch_id), environment={"NO_COLOR": "1"}) as screen:
            await screen.shows(" 2/3 ")
            assert re.search(r"█+✗+▒+ +2/3", screen.text)
            assert screen.colours("✗") == screen.colours("█") == {"default"}

    async def test_uses_only_ascii_if_the_terminal_shows_nothing_else(self, emulator):
        batch_id = emulator.create_scripted_batch(ended("succeeded", "failed") + NEVER)
        async with terminal("watch", str(batch_id), environment={"PYTHONIOENCODING": "ascii"}) as screen:
            await screen.shows(" 2/3 ")
            assert re.search(r"#+x+=+ +2/3", screen.text)
            assert screen.received.isascii()

    async def test_stays_whole_where_the_terminal_takes_a_name_for_wider_than_it_is(self, emulator):
        """Terminals differ in the width of an emoji with a modifier."""
        batch_id = emulator.create_scripted_batch(ended("succeeded") + NEVER, client_refs=["👍🏽 one", "two"])
        async with terminal("watch", str(batch_id), columns=60, rows=12, environment={"LC_ALL": "C.UTF-8"}) as screen:
            await screen.shows("two")
            await screen.shows("Ctrl-C ends the watch")
            first, blank, row, other, one, two, *_ = screen.text.splitlines()
            assert first.startswith("1 batch: 1 of 2 items ended")
            assert (blank, other) == ("", "")
            assert " 1/2 " in row
            assert "👍" in one
            assert "two" in two

    async def test_is_replaced_by_lines_on_a_terminal_that_cannot_move_its_cursor(self, emulator):
        batch_id = emulator.create_scripted_batch(ended("succeeded"))
        async with terminal("watch", str(batch_id), environment={"TERM": "dumb"}) as screen:
            assert await screen.end() == 0
            assert "(new) -> succeeded" in screen.text
            assert b"\x1b" not in screen.received


class TestSignals:
    async def test_after_ctrl_c_a_watch_leaves_the_screen_says_how_to_resume_and_exits_with_130(
        self, emulator, tmp_path
    ):
        batch_id, state = emulator.create_scripted_batch(NEVER), tmp_path / "state"
        async with terminal("watch", str(batch_id), "--save", str(state), columns=300) as screen:
            await screen.shows(" 0/1 ")
            screen.press(b"\x03")
            assert await screen.end() == 130
            assert f"run the same command again with --since {state}" in screen.text
            assert b"\x1b[?1049l" in screen.received
            assert "Traceback" not in screen.text
        assert [item.status_code for item in msgspec.json.decode(state.read_bytes(), type=Batch).items] == ["running"]

    @pytest.mark.parametrize("pause", [0, 0.001, 0.01])
    async def test_after_several_ctrl_c_a_watch_still_leaves_the_screen(self, emulator, pause):
        batch_ids = [str(emulator.create_scripted_batch(NEVER)) for _ in range(60)]
        async with terminal("watch", *batch_ids) as screen:
            await screen.shows("under way")
            for _ in range(4):
                screen.press(b"\x03")
                await asyncio.sleep(pause)
            assert await screen.end() in (130, -signal.SIGINT)  # the latter while the interpreter exits
            assert screen.received.rfind(b"\x1b[?1049l") > screen.received.rfind(b"\x1b[?1049h")
            assert screen.received.rfind(b"\x1b[?25h") > screen.received.rfind(b"\x1b[?25l")
            assert "Traceback" not in screen.text

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    async def test_after_a_second_signal_during_its_cleanup_a_command_leaves_the_screen_and_ends_at_once(self, number):
        async with terminal(command=(sys.executable, "-c", SIGNALLED_TWICE, str(int(number)))) as screen:
            assert await screen.end() == 128 + number
            assert screen.received.endswith(b"\x1b[?1049l\x1b[?25h")
            assert b"cleaned up" not in screen.received

    async def test_after_ctrl_c_a_wait_says_that_it_was_interrupted_and_exits_with_130(self, emulator):
        async with terminal("wait", str(emulator.create_scripted_batch(NEVER))) as screen:
            await screen.requested(emulator)
            screen.press(b"\x03")
            assert await screen.end() == 130
            assert screen.text.strip().startswith("^Cinterrupted; the batches keep running")

    async def test_after_ctrl_c_a_watch_that_saved_nothing_suggests_to_save(self, emulator):
        batch_id = emulator.create_scripted_batch(NEVER)
        async with terminal("watch", str(batch_id), columns=300) as screen:
            await screen.shows(" 0/1 ")
            screen.press(b"\x03")
            assert await screen.end() == 130
            (advice,) = (line for line in screen.text.splitlines() if "interrupted; " in line)
            assert "add --since FILE --save FILE to resume" in advice

    async def test_after_its_terminal_was_closed_a_watch_saves_its_state_and_exits_with_129(self, emulator, tmp_path):
        batch_id, state = emulator.create_scripted_batch(NEVER), tmp_path / "state"
        async with terminal("watch", str(batch_id), "--save", str(state)) as screen:
            await screen.shows(" 0/1 ")
            state.write_bytes(b"")  # that of the timer may have come
            screen.close()
            assert await screen.end() == 129
        assert [item.status_code for item in msgspec.json.decode(state.read_bytes(), type=Batch).items] == ["running"]

    async def test_after_sigterm_a_watch_saves_its_state_and_exits_with_143(self, emulator, tmp_path):
        batch_id, state = emulator.create_scripted_batch(NEVER), tmp_path / "state"
        async with terminal("watch", str(batch_id), "--save", str(state)) as screen:
            await screen.shows(" 0/1 ")
            screen.process.send_signal(signal.SIGTERM)
            assert await screen.end() == 143
        assert state.exists()


async def test_ctrl_z_leaves_the_screen_until_the_watch_continues(emulator):
    async with terminal("watch", str(emulator.create_scripted_batch(NEVER)), "--interval", "0.1") as screen:
        await screen.shows(" 0/1 ")
        screen.process.send_signal(signal.SIGTSTP)
        await screen.stopped()
        assert screen.received.endswith(b"\x1b[?1049l\x1b[?25h")
        screen.process.send_signal(signal.SIGCONT)
        await eventually(lambda: screen.received.count(b"\x1b[?1049h") == 2)
        await screen.shows(" 0/1 ")


async def test_an_error_is_one_red_line(emulator):
    async with terminal("get", "8c1f", columns=120) as screen:
        assert await screen.end() == 2
        assert (
            screen.text.strip() == "error: ID must be a UUID, such as 8c1f2a4e-6f0b-4c57-9d53-1b0c7f3f2a10, not '8c1f'"
        )
        assert screen.colours("error: ID must") == {"red"}


async def test_an_error_is_not_red_with_no_color(emulator):
    async with terminal("get", "8c1f", environment={"NO_COLOR": "1"}) as screen:
        assert await screen.end() == 2
        assert screen.colours("error:") == {"default"}


async def test_the_demo_shows_the_live_view_of_three_named_batches():
    async with terminal("demo") as screen:
        await screen.shows("portraits")
        await screen.shows("ETA")
        assert await screen.end() == 0
        assert re.search(r"products .*24/24 .*partial_succeeded", screen.text)
