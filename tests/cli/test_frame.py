"""Frames of the live view: bars, paces, and lines that fit."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from itertools import product
from types import SimpleNamespace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from runflow_async import ServerError
from runflow_async._text import duration_text
from runflow_async.cli.bars import bar_cells
from runflow_async.cli.board import PACE_SECONDS, Board, ItemProgress
from runflow_async.cli.frame import draw_frame
from runflow_async.cli.recent import draw_recent
from runflow_async.cli.rows import Scene, draw_rows
from runflow_async.models import KINDS, BatchItemHandle, ItemTransition
from tests.virtual import body, perform, play

ITEM = BatchItemHandle(UUID(int=1), 0, UUID(int=2), "succeeded")


class TestBarCells:
    @given(
        st.dictionaries(st.sampled_from(KINDS), st.integers(0, 10**6)),
        st.integers(len(KINDS), 300),
    )
    def test_fill_the_bar_and_show_every_kind_there_is(self, counts, width):
        cells = bar_cells(counts, width)
        present = {kind for kind, count in counts.items() if count}
        assert cells.keys() == present
        assert sum(cells.values()) == (width if present else 0)
        assert all(cells[kind] >= 1 for kind in present)

    @given(st.dictionaries(st.sampled_from(KINDS), st.integers(0, 1000)), st.integers(0, len(KINDS)))
    def test_are_none_if_the_kinds_do_not_fit(self, counts, width):
        present = sum(count > 0 for count in counts.values())
        assert sum(bar_cells(counts, width).values()) == (width if 0 < present <= width else 0)

    def test_are_proportional_to_the_counts(self):
        assert bar_cells({"succeeded": 50, "running": 25, "queued": 25}, 40) == {
            "succeeded": 20,
            "running": 10,
            "queued": 10,
        }


class TestItemProgress:
    def test_counts_items_by_kind_and_those_that_ended(self):
        progress = ItemProgress(0.0)
        progress.note(None, "queued", 0.0)
        progress.note(None, "dispatching", 0.0)
        progress.note("queued", "running", 1.0)
        progress.note("running", "cancelled", 2.0)
        assert progress.counts == {"cancelled": 1, "queued": 1, "running": 0}
        assert (progress.total, progress.ended, progress.left) == (2, 1, 1)

    def test_has_the_pace_at_which_items_end(self):
        progress = ItemProgress(0.0)
        for _ in range(30):
            progress.note(None, "running", 0.0)
        for second in range(10):
            progress.note("running", "succeeded", float(second))
        assert progress.pace(10.0) == 1.0

    def test_forgets_what_ended_long_ago(self):
        progress = ItemProgress(0.0)
        progress.note(None, "running", 0.0)
        progress.note(None, "running", 0.0)
        progress.note("running", "failed", 1.0)
        assert progress.pace(30.0) > 0
        assert progress.pace(2 + PACE_SECONDS) == 0

    def test_ignores_what_had_ended_before_in_the_pace(self):
        progress = ItemProgress(0.0)
        progress.note(None, "succeeded", 0.1)
        progress.note(None, "running", 0.1)
        assert progress.pace(1.0) == 0

    def test_counts_unknown_statuses_as_other(self):
        progress = ItemProgress(0.0)
        progress.note(None, "thinking", 0.0)
        assert progress.counts == {"other": 1}
        assert progress.left == 1


def test_a_board_begins_with_what_is_known_from_before(now_utc):
    batch_id = UUID(int=9)
    queued = BatchItemHandle(UUID(int=3), 1, UUID(int=2), "queued")
    board = Board(0.0, {batch_id: [ITEM, queued]})
    assert (board.overall.total, board.overall.ended) == (2, 1)
    running = BatchItemHandle(queued.id, 1, queued.run_id, "running")
    board.add(ItemTransition(batch_id, running, "queued", now_utc), 1.0)
    assert board.progress(batch_id).counts == {"succeeded": 1, "running": 1, "queued": 0}
    assert len(board.recent) == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.9, "9.9 s"), (59.4, "59 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (7500, "2 h 05 min")],
)
def test_durations_are_formatted_for_people(seconds, text):
    assert duration_text(seconds) == text


@pytest.mark.parametrize("count", [1, 3, 50])
async def test_a_frame_fits_every_size_of_terminal(session, now_utc, count):
    async with session.wait_for_batches([UUID(int=number) for number in range(count)]) as waits:
        board = Board(0.0, {})
        for batch_id in waits.waits:
            board.add(ItemTransition(batch_id, ITEM, None, now_utc), 1.0)
        for width, height in product([8, 30, 80, 200], [1, 5, 12, 40, None]):
            scene = Scene(waits, board, {}, ["a note"], 5.0, plain=False, over=height is None)
            lines = draw_frame(scene, width, height or 1)
            assert all(line.cell_len <= width for line in lines)
            assert len(lines) <= (height or 30)


NAMES = {UUID(int=1): "p", UUID(int=2): "画像の高解像度化バッチ", UUID(int=3): "a rather long name of a batch 🎉 ok"}


@pytest.fixture
async def scene(session, now_utc):
    """Three batches whose names differ in length, one of which has failed items."""
    async with session.wait_for_batches(NAMES) as waits:
        board = Board(0.0, {})
        for batch_id in NAMES:
            statuses = ["succeeded", "running", "failed" if batch_id.int == 2 else "queued"]
            for index in range(12):
                item = BatchItemHandle(UUID(int=index), index, UUID(int=2), statuses[index % 3])
                board.add(ItemTransition(batch_id, item, None, now_utc), 1.0)
        yield Scene(waits, board, NAMES, [], 5.0, plain=False)


class TestTheRows:
    """One row for each batch, in columns."""

    async def test_are_aligned_at_every_width(self, scene):
        for width in range(40, 251, 7):
            for plain in (False, True):
                waits = list(scene.waits.waits.values())
                rows = [row.plain for row in draw_rows(scene._replace(plain=plain), waits, width, overall=True)]
                assert len({cell_len(row) for row in rows}) == 1
                assert cell_len(rows[0]) <= width
                assert len({cell_len(row[: re.search("[█#]", row).start()]) for row in rows}) == 1
                assert len({cell_len(row[: re.search(r" \d+/\d+ ", row).start()]) for row in rows}) == 1

    @pytest.mark.parametrize("width", [40, 80, 120, 200])
    async def test_count_the_failed_items_beside_those_that_ended(self, scene, width):
        overall, _, row, _ = (
            row.plain for row in draw_rows(scene, list(scene.waits.waits.values()), width, overall=True)
        )
        assert re.search(r" 8/12 +4 failed", row)
        assert re.search(r" 16/36 +4 failed", overall)

    async def test_count_them_on_a_narrow_terminal_beside_thousands(self, scene):
        scene.board.overall.counts["succeeded"] += 5000
        scene.board.overall.ended += 5000
        (overall, *_) = draw_rows(scene, list(scene.waits.waits.values()), 40, overall=True)
        assert overall.plain.rstrip().endswith(" 5,016/5,036  4 failed")

    async def test_have_bars_that_do_not_grow_beyond_their_use(self, scene):
        (row, *_) = draw_rows(scene, list(scene.waits.waits.values()), 250, overall=False)
        assert len(re.search("█+▒+░+", row.plain)[0]) == 60


async def test_the_head_counts_the_failed_items(scene):
    assert draw_frame(scene, 80, 30)[0].plain == "3 batches: 16 of 36 items ended, 4 failed, 0 polls in 5.0 s"


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
async def test_texts_wrap_at_the_width_of_the_terminal(scene, width):
    text = " ".join(line.plain for line in draw_frame(scene._replace(notes=["some note " * 5]), width, 40))
    assert "█ succeeded" in text
    assert "░ queued" in text
    assert "Ctrl-C ends the watch; the batches keep running." in text
    assert text.count("some note") == 5


async def test_a_long_note_takes_two_lines(scene):
    lines = [line.plain for line in draw_frame(scene._replace(notes=["word " * 100]), 80, 40)]
    first, second = (line for line in lines if line.startswith("word"))
    assert not first.endswith("…")
    assert second.endswith("…")


class TestTheLastFrame:
    """The last picture, on the main screen, predicts nothing any more."""

    @pytest.mark.parametrize("count", [1, 50])
    async def test_predicts_nothing_for_batches_that_are_no_longer_followed(self, session, now_utc, count):
        async with session.wait_for_batches([UUID(int=number) for number in range(count)]) as waits:
            board = Board(0.0, {})
            running = BatchItemHandle(UUID(int=1), 0, UUID(int=2), "running")
            board.add(ItemTransition(UUID(int=0), running, None, now_utc), 1.0)
            board.add(ItemTransition(UUID(int=0), ITEM, "running", now_utc), 2.0)
            board.add(ItemTransition(UUID(int=0), running, None, now_utc), 3.0)
            scene = Scene(waits, board, {}, [], 5.0, plain=False)
            passing, lasting = (
                "\n".join(line.plain for line in draw_frame(scene._replace(over=over), 150, 30))
                for over in (False, True)
            )
            assert "ETA" in passing
            assert " now" in passing
            assert "ETA" not in lasting
            assert " now" not in lasting

    async def test_shows_no_time_left_once_all_items_have_ended(self, session, now_utc):
        async with session.wait_for_batches([UUID(int=number) for number in range(50)]) as waits:
            board = Board(0.0, {})
            board.add(ItemTransition(UUID(int=0), ITEM, None, now_utc), 1.0)
            text = "\n".join(line.plain for line in draw_frame(Scene(waits, board, {}, [], 5.0, plain=False), 150, 80))
            assert "ETA 0" not in text


@pytest.mark.looptime
async def test_the_time_left_is_the_estimate_of_the_wait():
    """Five rounds of ten seconds, one item at a time, of which two and a half are over."""
    rounds = [[(0.0, "queued"), (10.0 * one, "running"), (10.0 * one + 10, "succeeded")] for one in range(5)]
    wait = perform(rounds).wait(interval=1)
    task = asyncio.ensure_future(wait)
    await asyncio.sleep(25)
    now, board = asyncio.get_running_loop().time(), Board(0.0, {})
    waits = SimpleNamespace(waits={wait.batch_id: wait}, ended=[], estimate=wait.estimate)
    text = "\n".join(line.plain for line in draw_frame(Scene(waits, board, {}, [], now, plain=False), 150, 30))
    left = (wait.estimate().ends_at - datetime.now(UTC)).total_seconds()
    assert 15 < left < 40
    assert f"ETA {duration_text(left)}" in text
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.looptime
async def test_a_poll_that_will_not_be_made_is_not_announced():
    wait = play(ServerError(503, retry_after=13), body()).wait(max_outage=8)
    task = asyncio.ensure_future(wait)
    await asyncio.sleep(2)
    waits = SimpleNamespace(waits={wait.batch_id: wait}, ended=[])
    now = asyncio.get_running_loop().time()
    scene = Scene(waits, Board(now - 2, {}), {}, [], now, plain=False)
    text = "\n".join(line.plain for line in draw_frame(scene, 150, 30))
    assert "given up in 6.0 s" in text
    assert ", next" not in text
    assert f"{str(wait.batch_id)[:8]}: no valid response for 2 s of 8 s: HTTP 503" in text
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.looptime
@pytest.mark.parametrize("width", [50, 80])
async def test_the_age_and_the_limit_of_an_outage_are_shown_even_if_its_cause_is_cut(width):
    wait = play(ServerError(503, message="long " * 40)).wait()
    task = asyncio.ensure_future(wait)
    await asyncio.sleep(14.2)
    now = asyncio.get_running_loop().time()
    scene = Scene(SimpleNamespace(waits={wait.batch_id: wait}, ended=[]), Board(0.0, {}), {}, [], now, plain=False)
    shown = " ".join(line.plain for line in draw_frame(scene, width, 30))
    assert f"{str(wait.batch_id)[:8]}: no valid response for 14 s of 300 s: " in shown
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class TestTheLastTransitions:
    @staticmethod
    def draw(now_utc, *refs: str, plain: bool = False, batches: tuple[str, ...] = (), width: int = 100) -> list[str]:
        items = [BatchItemHandle(UUID(int=9), 0, UUID(int=2), "succeeded", ref) for ref in refs]
        transitions = [ItemTransition(UUID(int=1), item, "running", now_utc) for item in items]
        return [line.plain for line in draw_recent(transitions, batches or [""] * len(refs), width, plain=plain)]

    @given(st.lists(st.text(min_size=1), min_size=1, max_size=8), st.booleans())
    def test_are_in_columns_whatever_the_names_of_the_items(self, refs, plain):
        lines = self.draw(datetime.now(UTC), *refs, plain=plain)
        assert len({cell_len(line[: line.rindex("running ")]) for line in lines}) == 1
        assert not plain or all(line.isascii() for line in lines)

    def test_are_padded_and_cut_by_cells(self, now_utc):
        lines = self.draw(now_utc, "item-9", "item-10", "画像" * 20)
        assert [line[10:] for line in lines] == [
            "item-9                    running → succeeded",
            "item-10                   running → succeeded",
            "画像画像画像画像画像画…   running → succeeded",
        ]

    def test_have_a_column_for_the_batches_if_there_are_several(self, now_utc):
        lines = self.draw(now_utc, "item-9", "item-10", batches=("portraits", "写真"))
        assert [line[10:] for line in lines] == [
            "portraits  item-9   running → succeeded",
            "写真       item-10  running → succeeded",
        ]

    def test_have_no_time_and_no_previous_status_on_a_narrow_terminal(self, now_utc):
        names = ("画像の高解像度化バッチ", "p")
        assert self.draw(now_utc, "a-long-name-of-an-item", "item-9", batches=names, width=40) == [
            "画像の高解…   a-long-name-of…  succeeded",
            "p             item-9           succeeded",
        ]
