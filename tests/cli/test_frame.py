"""What the live view makes of numbers: bars, paces, and lines that fit."""

from __future__ import annotations

import math
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runflow_async.cli.bars import bar_cells
from runflow_async.cli.board import KINDS, PACE_SPAN, Board, Progress
from runflow_async.cli.frame import Scene, draw_frame, seconds_text
from runflow_async.models import BatchItemHandle
from runflow_async.transitions import ItemTransition

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
    def test_are_none_where_the_kinds_do_not_fit(self, counts, width):
        present = sum(count > 0 for count in counts.values())
        assert sum(bar_cells(counts, width).values()) == (width if 0 < present <= width else 0)

    def test_are_shared_out_by_the_counts(self):
        assert bar_cells({"succeeded": 50, "running": 25, "queued": 25}, 40) == {
            "succeeded": 20,
            "running": 10,
            "queued": 10,
        }


class TestProgress:
    def test_counts_items_by_kind_and_those_that_ended(self):
        progress = Progress(0.0)
        progress.note(None, "queued", 0.0)
        progress.note(None, "dispatching", 0.0)
        progress.note("queued", "running", 1.0)
        progress.note("running", "cancelled", 2.0)
        assert progress.counts == {"cancelled": 1, "queued": 1, "running": 0}
        assert (progress.total, progress.ended, progress.left) == (2, 1, 1)

    def test_foretells_the_end_from_the_pace(self):
        progress = Progress(0.0)
        for _ in range(30):
            progress.note(None, "running", 0.0)
        for second in range(10):
            progress.note("running", "succeeded", float(second))
        assert progress.pace(10.0) == 1.0
        assert progress.eta(10.0) == 20.0

    def test_forgets_what_ended_long_ago(self):
        progress = Progress(0.0)
        progress.note(None, "running", 0.0)
        progress.note(None, "running", 0.0)
        progress.note("running", "failed", 1.0)
        assert progress.eta(30.0) == 30.0
        assert progress.eta(2 + PACE_SPAN) == math.inf

    def test_takes_no_pace_from_what_had_ended_before_it_was_watched(self):
        progress = Progress(0.0)
        progress.note(None, "succeeded", 0.1)
        progress.note(None, "running", 0.1)
        assert progress.eta(1.0) == math.inf

    def test_keeps_unknown_statuses_apart(self):
        progress = Progress(0.0)
        progress.note(None, "thinking", 0.0)
        assert progress.counts == {"other": 1}
        assert progress.left == 1


def test_a_board_begins_with_what_is_known_from_before(now_utc):
    batch_id = UUID(int=9)
    queued = BatchItemHandle(UUID(int=3), 1, UUID(int=2), "queued")
    board = Board(0.0, {batch_id: [ITEM, queued]})
    assert (board.overall.total, board.overall.ended) == (2, 1)
    running = BatchItemHandle(queued.id, 1, queued.run_id, "running")
    board.take(ItemTransition(batch_id, running, "queued", now_utc), 1.0)
    assert board.progress(batch_id).counts == {"succeeded": 1, "running": 1, "queued": 0}
    assert len(board.recent) == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.9, "9.9 s"), (59.4, "59 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (7500, "2 h 05 min")],
)
def test_lengths_of_time_are_said_as_people_say_them(seconds, text):
    assert seconds_text(seconds) == text


@pytest.mark.parametrize("count", [1, 3, 50])
@pytest.mark.parametrize("height", [1, 5, 12, 40, None])
@pytest.mark.parametrize("width", [8, 30, 80, 200])
async def test_a_frame_fits_whatever_the_terminal_is(session, now_utc, count, height, width):
    waits = session.wait_for_batches([UUID(int=number) for number in range(count)])
    board = Board(0.0, {})
    for batch_id in waits.waits:
        board.take(ItemTransition(batch_id, ITEM, None, now_utc), 1.0)
    lines = draw_frame(Scene(waits, board, {}, ["a note"], 5.0, plain=False), width, height)
    assert all(line.cell_len <= width for line in lines)
    assert len(lines) <= (height or 25)
