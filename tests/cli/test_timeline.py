"""The timeline: what is read from a file of transitions, and what the picture of it shows."""

from __future__ import annotations

import os
import random
import time
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from uuid import UUID, uuid5

import matplotlib as mpl
import msgspec
import pytest
from matplotlib import image

from runflow_async import BatchItemHandle, ConfigurationError, ItemTransition
from runflow_async.cli.timeline import draw_timeline, read_lifelines
from runflow_async.cli.timeline.layout import TALLEST, lay_out, thin_out
from runflow_async.cli.timeline.lifelines import STRAGGLING
from runflow_async.cli.timeline.looks import seconds_text

ONE, TWO = UUID(int=1), UUID(int=2)
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"


def story(index: int, *steps: tuple[str, float], batch: UUID = ONE, ref: str | None = "") -> list[bytes]:
    """The lines of one item that was seen to go through these statuses, each at so many seconds."""
    item_id = uuid5(batch, str(index))
    previous, lines = None, []
    for status, at in steps:
        name = f"ref-{index}" if ref == "" else ref
        item = BatchItemHandle(item_id, index, UUID(int=9), status, name)
        lines.append(encode(ItemTransition(batch, item, previous, START + timedelta(seconds=at))))
        previous = status
    return lines


def encode(transition: ItemTransition) -> bytes:
    return msgspec.json.encode(transition) + b"\n"


def ran(index: int, length: float, outcome: str = "succeeded", **keywords) -> list[bytes]:
    """An item that waited a second and ran for so many."""
    return story(index, ("queued", 0), ("running", 1), (outcome, 1 + length), **keywords)


def only_item(lines):
    (batch,) = read_lifelines(lines).batches
    (item,) = batch.items
    return item


def statuses(item) -> list[tuple[str, float, float]]:
    return [tuple(stay) for stay in item.stays]


# What the file says


def test_an_item_has_its_statuses_by_seconds_since_the_first_event():
    item = only_item(story(0, ("queued", 10), ("dispatching", 11), ("running", 12.5), ("succeeded", 15)))
    assert statuses(item) == [
        ("queued", 0, 1),
        ("dispatching", 1, 2.5),
        ("running", 2.5, 5),
        ("succeeded", 5, 5),
    ]
    assert (item.outcome, item.begin, item.end) == ("succeeded", 0, 5)


def test_seconds_count_from_the_first_event_of_all_batches():
    lifelines = read_lifelines(story(0, ("queued", 3), batch=TWO) + story(0, ("queued", 1), batch=ONE))
    assert lifelines.began_at == START + timedelta(seconds=1)
    assert lifelines.duration == 2
    assert [(batch.batch_id, batch.items[0].begin) for batch in lifelines.batches] == [(ONE, 0), (TWO, 2)]


def test_lines_may_be_repeated_and_in_any_order():
    lines = [line for i in range(5) for b in (ONE, TWO) for line in ran(i, 2 + i, batch=b)]
    expected = read_lifelines(lines)
    for seed in range(20):
        shuffled = random.Random(seed).choices(lines, k=30) + lines
        random.Random(seed).shuffle(shuffled)
        assert {batch.batch_id: batch for batch in read_lifelines(shuffled).batches} == {
            batch.batch_id: batch for batch in expected.batches
        }


def test_what_a_restarted_watch_prints_again_counts_from_the_first_time():
    first = story(0, ("queued", 0), ("running", 1))
    again = story(0, ("running", 8), ("succeeded", 9))
    assert statuses(only_item(first + again)) == [("queued", 0, 1), ("running", 1, 9), ("succeeded", 9, 9)]


def test_an_item_ignores_statuses_after_its_terminal_one():
    item = only_item(story(0, ("queued", 0), ("failed", 2), ("running", 3), ("succeeded", 4)))
    assert statuses(item) == [("queued", 0, 2), ("failed", 2, 2)]


def test_an_item_may_go_back_to_the_queue():
    item = only_item(story(0, ("queued", 0), ("running", 1), ("queued", 2), ("running", 5), ("succeeded", 6)))
    assert [stay.status for stay in item.stays] == ["queued", "running", "queued", "running", "succeeded"]
    assert item.run == 5


def test_an_unfinished_item_lasts_until_the_last_event_of_all_batches():
    lifelines = read_lifelines(story(0, ("queued", 0), ("running", 1)) + ran(0, 8, batch=TWO))
    item = lifelines.batches[0].items[0]
    assert statuses(item) == [("queued", 0, 1), ("running", 1, 9)]
    assert item.outcome is None


def test_a_resumed_watch_knows_the_earlier_status_of_an_item():
    """A resumed watch prints only changes, so the item had its earlier status from the start."""
    unchanged = story(0, ("queued", 0), ("running", 1), ("succeeded", 7))[2:]
    lifelines = read_lifelines(story(1, ("queued", 2), ("running", 3))[1:] + unchanged)
    first, second = lifelines.batches[0].items
    assert statuses(first) == [("running", 0, 4), ("succeeded", 4, 4)]
    assert statuses(second) == [("queued", 0, 0), ("running", 0, 4)]
    assert first.run is None


def test_items_stand_in_sequence_order():
    lifelines = read_lifelines(ran(2, 1) + ran(0, 9) + ran(1, 5))
    assert [item.sequence_index for item in lifelines.batches[0].items] == [0, 1, 2]


def test_items_of_two_batches_may_share_an_id():
    lines = ran(0, 1) + [line.replace(str(ONE).encode(), str(TWO).encode()) for line in ran(0, 2)]
    assert [len(batch.items) for batch in read_lifelines(lines).batches] == [1, 1]


@pytest.mark.parametrize(
    ("ref", "name"), [("cat", "cat"), (None, "item 7"), ("a\nb\x1b[2J\u202e", "a\\nb\\x1b[2J\\u202e")]
)
def test_an_item_is_called_by_its_printable_reference_else_by_its_number(ref, name):
    assert only_item(story(7, ("queued", 0), ref=ref)).name == name


@pytest.mark.parametrize(
    ("steps", "wait", "run"),
    [
        ([("queued", 0), ("dispatching", 1), ("running", 3), ("succeeded", 7)], 3, 4),
        ([("queued", 0), ("running", 3), ("queued", 4), ("running", 5), ("failed", 9)], 3, 6),
        ([("queued", 0), ("running", 3)], 3, 0),
        ([("running", 0), ("succeeded", 7)], None, None),
        ([("running", 0), ("queued", 1), ("running", 2), ("succeeded", 7)], None, None),
        ([("queued", 0), ("canceled", 7)], None, None),
        ([("queued", 0), ("succeeded", 7)], None, None),
        ([("succeeded", 0)], None, None),
    ],
)
def test_only_waits_and_runs_whose_start_was_seen_count(steps, wait, run):
    item = only_item(story(0, *steps))
    assert (item.wait, item.run) == (wait, run)


def test_a_batch_has_the_medians_of_its_waits_and_runs():
    lines = [line for i, length in enumerate((2, 4, 30)) for line in ran(i, length)]
    batch = read_lifelines(lines + story(3, ("queued", 0), ("running", 5))).batches[0]
    assert batch.median_wait == 1
    assert batch.median_run == 4


def test_a_batch_without_runs_has_no_medians():
    batch = read_lifelines(story(0, ("queued", 0), ("canceled", 3))).batches[0]
    assert (batch.median_wait, batch.median_run) == (None, None)
    assert not batch.is_straggler(batch.items[0])


def test_a_straggler_ran_over_two_and_a_half_times_as_long_as_the_median():
    assert STRAGGLING == 2.5
    lines = [line for i, length in enumerate((4, 4, 4, 10, 10.1)) for line in ran(i, length)]
    batch = read_lifelines(lines).batches[0]
    assert [batch.is_straggler(item) for item in batch.items] == [False, False, False, False, True]


def test_an_unfinished_item_can_be_a_straggler():
    lines = ran(0, 2) + ran(1, 2) + story(2, ("queued", 0), ("running", 1)) + story(3, ("queued", 9))
    batch = read_lifelines(lines).batches[0]
    assert [batch.is_straggler(item) for item in batch.items] == [False, False, True, False]


def test_runs_are_compared_within_their_batch():
    lines = ran(0, 2) + ran(1, 2) + ran(0, 20, batch=TWO) + ran(1, 21, batch=TWO)
    assert not any(batch.is_straggler(item) for batch in read_lifelines(lines).batches for item in batch.items)


def test_blank_lines_and_carriage_returns_are_ignored():
    lines = [b"\n", *(line.replace(b"\n", b"\r\n") for line in ran(0, 2)), b"  \r\n", b""]
    assert read_lifelines(lines) == read_lifelines(ran(0, 2))


def test_a_truncated_last_line_is_skipped_with_a_note():
    lines = ran(0, 2, ref="é")
    expected = read_lifelines(lines[:2]).batches
    for length in range(1, len(lines[2]) - 1):
        lifelines = read_lifelines([*lines[:2], lines[2][:length]])
        assert lifelines.batches == expected
        assert lifelines.note == "line 3 is truncated and was skipped: its writer was probably killed"


def test_a_last_line_may_lack_its_newline():
    lines = ran(0, 2)
    assert read_lifelines([*lines[:2], lines[2].rstrip()]) == read_lifelines(lines)


LINE = ran(0, 1)[0]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"hello\n", "malformed"),
        (LINE[:50] + b"\n", "truncated"),
        (LINE[:50] + LINE, "malformed"),
        (b"\xff\xfe\n", "malformed"),
        (b"{}\n", "missing required field `batch_id`"),
        (b"{}", "missing required field `batch_id`"),
        (b"[]\n", "Expected `object`, got `array`"),
        (b"[" * 100_000 + b"\n", "got `array`"),
        (LINE.replace(b"queued", b"\xc3"), "utf-8"),
        (LINE.replace(b'"status_code":"queued"', b'"status_code":7'), "$.item.status_code"),
        (LINE.replace(b"00Z", b"00").replace(b"05Z", b"05"), "observed_at has no time zone"),
    ],
)
def test_an_invalid_line_is_an_error_with_its_number_and_the_reason(line, reason):
    with pytest.raises(ValueError, match="line 2 is not a transition") as caught:
        read_lifelines([LINE, line])
    assert reason in str(caught.value)
    assert "`runflow-async watch --json` prints" in str(caught.value)


def test_a_truncated_line_before_others_is_an_error():
    with pytest.raises(ConfigurationError, match="line 1 is not a transition"):
        read_lifelines([LINE[:50], LINE])


@pytest.mark.parametrize("lines", [[], [b"\n", b" \n"], [LINE[:50]]])
def test_a_file_without_events_is_an_error_that_says_how_to_get_some(lines):
    with pytest.raises(ConfigurationError, match=r"no events to draw.*watch --json BATCH_ID > events\.ndjson"):
        read_lifelines(lines)


async def test_the_whole_of_a_real_watch_is_read(emulator, session):
    ids = [emulator.create_batch(items=12, duration=0.1, fail=0.25, cancel=0.25), emulator.create_batch(2, 0.05)]
    waits = session.wait_for_batches(ids, interval=0.01)
    began = time.monotonic()
    lines = [encode(transition) async for transition in waits]
    took = time.monotonic() - began
    lifelines = read_lifelines(lines)
    for batch in lifelines.batches:
        ended = {item.id: item.status_code for item in waits.waits[batch.batch_id].result().items}
        assert {item.item_id: item.outcome for item in batch.items} == ended
        assert 0 <= batch.median_run <= lifelines.duration
    assert {batch.batch_id for batch in lifelines.batches} == set(ids)
    assert 0 < lifelines.duration <= took


# Where things go


@pytest.mark.parametrize(
    "sizes", [[1], [24, 24], [100], [1000], [10_000], [1] * 300, [100] * 100, [10] * 1000, [1, 5000, 1]]
)
def test_rows_fill_a_bounded_height_without_overlaps(sizes):
    layout = lay_out(sizes)
    assert layout.height <= TALLEST + 1e-6
    for size, block in zip(sizes, layout.blocks, strict=True):
        assert block.bottom - block.top == pytest.approx(size * layout.pitch)
    assert all(upper.bottom <= lower.top + 1e-6 for upper, lower in pairwise(layout.blocks))


def test_headings_and_labels_are_left_out_if_they_take_too_much_room():
    assert lay_out([5] * 20).has_headings
    assert not lay_out([5] * 21).has_headings
    assert lay_out([100]).has_labels
    assert not lay_out([200]).has_labels


def test_of_places_too_near_to_each_other_the_best_is_kept():
    assert thin_out([50.0, 55.0, 41.0, 59.0, 20.0], 9.0) == [0, 2, 3, 4]
    assert thin_out([], 9.0) == []


@pytest.mark.parametrize(
    ("length", "text"), [(0, "0.00 s"), (0.046, "0.05 s"), (12.34, "12.3 s"), (123.4, "123 s"), (36000, "36,000 s")]
)
def test_durations_have_three_digits_at_most(length, text):
    assert seconds_text(length) == text


# What the picture shows


@pytest.fixture(scope="module")
def draw(tmp_path_factory):
    """Draws lines of events, the same ones once, and answers with the SVG's root."""
    file = tmp_path_factory.mktemp("timeline") / "timeline.svg"

    @cache
    def drawn(lines: tuple[bytes, ...]):
        draw_timeline(read_lifelines(lines), file)
        return ET.fromstring(file.read_bytes())

    return lambda lines: drawn(tuple(lines))


@pytest.fixture
def page(tmp_path):
    def page(lines) -> str:
        draw_timeline(read_lifelines(lines), tmp_path / "timeline.html")
        return (tmp_path / "timeline.html").read_text("utf-8")

    return page


def group(root, gid):
    return root.find(f".//{SVG}g[@id='{gid}']")


def bars(root, gid) -> int:
    found = group(root, gid)
    return 0 if found is None else len(found.findall(f".//{SVG}path"))


def marks(root, gid) -> int:
    found = group(root, gid)
    return 0 if found is None else len(found.findall(f".//{SVG}use"))


def texts(root) -> list[str]:
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


MANY = [
    *story(0, ("queued", 0), ("dispatching", 1), ("running", 2), ("succeeded", 4)),
    *story(1, ("queued", 0), ("dispatching", 1), ("running", 2), ("failed", 5)),
    *story(2, ("queued", 0), ("running", 2), ("canceled", 3)),
    *story(3, ("queued", 0), ("cancelled", 3)),
    *story(4, ("queued", 0), ("running", 2), ("queued", 3), ("running", 4)),
    *story(5, ("queued", 0), ("warming up", 1), ("paused", 2), ("partial_succeeded", 3)),
]


def test_each_stay_is_a_bar_in_the_look_of_its_status(draw):
    root = draw(MANY)
    assert {name: bars(root, f"bars-{name}") for name in ("queued", "dispatching", "running", "other")} == {
        "queued": 7,
        "dispatching": 2,
        "running": 5,
        "other": 2,
    }


def test_each_end_has_the_mark_of_its_outcome(draw):
    root = draw(MANY)
    assert bars(root, "ends-succeeded") == 1
    assert {name: marks(root, f"ends-{name}") for name in ("failed", "cancelled", "partly-succeeded", "not-ended")} == {
        "failed": 1,
        "cancelled": 2,
        "partly-succeeded": 1,
        "not-ended": 1,
    }


def test_the_title_and_the_key_count(draw):
    shown = texts(draw(MANY))
    assert "6 items of 1 batch: 1 succeeded, 1 partly succeeded, 1 failed, 2 cancelled, 1 not ended" in shown
    for entry in ("queued", "dispatching", "running", "failed (1)", "cancelled (2)", "not ended (1)"):
        assert entry in shown


def test_unknown_statuses_are_named_in_the_key(draw):
    assert "other: paused, warming up" in texts(draw(MANY))
    assert "other: a, b, c, …" in texts(draw(story(0, *((status, i) for i, status in enumerate("abcde")))))


def test_the_key_explains_only_what_is_drawn(draw):
    shown = texts(draw(ran(0, 1)))
    assert not any(word in text for text in shown for word in ("failed", "dispatching", "other", "straggler"))


def test_each_batch_has_a_heading_with_its_counts_and_medians(draw):
    shown = texts(draw(ran(0, 2) + ran(1, 4, "failed") + ran(0, 3, batch=TWO)))
    assert str(ONE) in shown
    assert "2 items · 1 succeeded · 1 failed · median wait 1.00 s · median run 3.00 s" in shown
    assert str(TWO) in shown
    assert "1 item · 1 succeeded · median wait 1.00 s · median run 3.00 s" in shown


def test_the_axis_names_the_instant_of_the_first_event(draw):
    later = [line.replace(b"05Z", b"05+02:00") for line in ran(0, 1)]
    assert "seconds since the first event, 2026-01-02 03:04:05 UTC" in texts(draw(ran(0, 1)))
    assert "seconds since the first event, 2026-01-02 01:04:05 UTC" in texts(draw(later))


def test_stragglers_are_framed_and_named_and_the_key_has_the_rule(draw):
    root = draw(ran(0, 2) + ran(1, 2) + ran(2, 2) + ran(3, 9))
    assert bars(root, "stragglers") == 1
    assert "◀ ref-3: 9.00 s, 4.5x" in texts(root)
    assert "straggler (1): ran over 2.5x as long as the median of its batch" in texts(root)


def test_names_of_what_failed_or_was_cancelled_carry_its_sign(draw):
    shown = texts(draw(ran(0, 2) + ran(1, 2, "failed") + ran(2, 2, "canceled")))
    assert {"ref-0", "✖ ref-1", "■ ref-2"} <= set(shown)


@pytest.mark.parametrize(
    ("ref", "shown"),
    [
        ("<script>alert(1)</script>"[:22], "<script>alert(1)</scri"),
        ("a & b]]>", "a & b]]>"),
        ("$x^2$ \\frac", "$x^2$ \\frac"),
        ("nul\x00", "nul\\x00"),
        ("x" * 50, "x" * 21 + "…"),
        ("写" * 20, "写" * 10 + "…"),
    ],
)
def test_names_are_shown_unchanged_but_cut(draw, ref, shown):
    assert shown in texts(draw(ran(0, 1, ref=ref)))


def test_names_that_the_font_lacks_are_drawn_without_a_warning(tmp_path):
    draw_timeline(read_lifelines(ran(0, 1, ref="写真 🎉")), tmp_path / "timeline.png")


def test_without_room_for_headings_items_or_batches_are_labelled(draw):
    few = [line for i in range(21) for line in ran(0, 1, "failed" if i else "succeeded", batch=UUID(int=i << 96))]
    assert {"00000000 ref-0", "✖ 00000001 ref-0"} <= set(texts(draw(few)))
    many = [
        line
        for b in range(21)
        for i in range(20)
        for line in ran(i, 1, "failed" if b and i < 3 else "succeeded", batch=UUID(int=b << 96))
    ]
    assert {"00000000", "✖ 3  00000001"} <= set(texts(draw(many)))


def test_one_event_makes_a_picture(draw):
    root = draw(story(0, ("queued", 0)))
    assert marks(root, "ends-not-ended") == 1
    assert "1 item of 1 batch: 1 not ended" in texts(root)


def test_a_thousand_items_are_bars_and_marks_without_names(draw):
    lines = [line for i in range(1000) for line in ran(i, 2 + i % 3, "failed" if i % 10 == 0 else "succeeded")]
    root = draw(lines)
    assert (bars(root, "bars-running"), marks(root, "ends-failed")) == (1000, 100)
    assert len(texts(root)) < 40


@pytest.mark.slow
@pytest.mark.parametrize("batches", [1, 1000])
def test_ten_thousand_items_make_every_kind_of_file(tmp_path, batches):
    lines = [
        line
        for i in range(10_000)
        for line in ran(
            i, 20 if i % 50 == 7 else 2, "failed" if i % 10 == 0 else "succeeded", batch=UUID(int=i % batches)
        )
    ]
    lifelines = read_lifelines(lines)
    for ending in ("svg", "png", "html"):
        draw_timeline(lifelines, tmp_path / f"timeline.{ending}")
    root = ET.fromstring((tmp_path / "timeline.svg").read_bytes())
    assert (bars(root, "bars-running"), marks(root, "ends-failed")) == (10_000, 1000)
    assert len(texts(root)) < 70
    height, width, _ = image.imread(tmp_path / "timeline.png").shape
    assert (width, height <= 3000) == (1800, True)


# The page around it


def test_the_page_describes_the_item_under_the_pointer(page):
    drawn = page(ran(0, 2) + ran(1, 2) + ran(2, 9, "failed") + story(3, ("queued", 0)))
    root = ET.fromstring(drawn[drawn.index("<svg") : drawn.index("</svg>") + 6])
    titles = [title.text.splitlines() for title in root.iter(f"{SVG}title")]
    assert titles[2] == [
        "ref-2",
        f"item 2, id {uuid5(ONE, '2')}",
        f"batch {ONE}",
        "queued for 1.00 s",
        "running for 9.00 s",
        "failed at 10.0 s",
        "straggler: ran 4.5x as long as the median of its batch",
    ]
    assert titles[3][3:] == ["queued for 10.0 s, not ended"]
    assert len(titles) == 4


def test_the_area_for_the_pointer_covers_the_bars_of_its_item(page):
    drawn = page(ran(0, 2) + ran(1, 5) + ran(0, 3, batch=TWO))
    root = ET.fromstring(drawn[drawn.index("<svg") : drawn.index("</svg>") + 6])
    queued, running = (group(root, f"bars-{name}").findall(f".//{SVG}path") for name in ("queued", "running"))
    areas = group(root, "items").findall(f"{SVG}rect")
    assert len(areas) == 3
    for area, first, last in zip(areas, queued, running, strict=True):
        left, top, width, height = (float(area.get(name)) for name in ("x", "y", "width", "height"))
        (x0, upper), (x1, lower) = edges(first)[0], edges(last)[1]
        assert (left, left + width) == pytest.approx((x0, x1), abs=0.02)
        assert top < upper < lower < top + height


def edges(path) -> tuple[tuple[float, float], tuple[float, float]]:
    """The upper left and the lower right corner of a bar."""
    numbers = [float(word) for word in path.get("d").split() if word[0] in "0123456789-"]
    return (min(numbers[::2]), min(numbers[1::2])), (max(numbers[::2]), max(numbers[1::2]))


def test_texts_from_the_server_are_escaped_in_the_page(page):
    drawn = page(story(0, ("queued", 0), ("<b>odd</b>", 1), ref="</svg><script>alert(1)</script>"))
    assert "<script" not in drawn
    assert "<b>odd" not in drawn
    assert drawn.count("</svg>") == 1
    assert "other: &lt;b&gt;odd&lt;/b&gt;" in drawn
    assert "&lt;/svg&gt;&lt;script&gt;" in drawn


def test_the_page_loads_nothing(page):
    drawn = page(MANY).replace("http://www.w3.org/2000/svg", "").replace("http://www.w3.org/1999/xlink", "")
    assert "http" not in drawn
    assert 'name="viewport"' in drawn


def test_title_and_key_are_in_the_page_but_not_in_its_drawing(page):
    drawn = page(ran(0, 2) + ran(1, 2, "failed"))
    heading = "2 items of 1 batch: 1 succeeded, 1 failed"
    assert f"<h1>{heading}</h1>" in drawn
    assert "✖</b>failed (1)</li>" in drawn
    assert heading not in drawn[drawn.index("<svg") :]


def test_a_page_of_too_many_items_describes_none(page):
    drawn = page([line for i in range(2001) for line in story(i, ("queued", 0))])
    assert drawn.count("<title>") == 1
    assert 'id="items"' not in drawn


# The file


def settings() -> dict[str, object]:
    """All but the backend, which is chosen when somebody looks at it."""
    return {name: mpl.rcParams[name] for name in mpl.rcParams if name != "backend"}


@pytest.mark.parametrize("ending", ["svg", "PNG", "html"])
def test_the_same_events_give_the_same_bytes_whatever_matplotlib_is_set_to(tmp_path, ending):
    """They do not say when, and by what, they were drawn; an ending may be in capitals."""
    lifelines = read_lifelines(MANY)
    draw_timeline(lifelines, tmp_path / f"one.{ending}")
    with mpl.rc_context({"font.size": 30, "svg.hashsalt": None, "axes.facecolor": "black", "svg.fonttype": "path"}):
        before = settings()
        draw_timeline(lifelines, tmp_path / f"two.{ending}")
        assert settings() == before
    content = (tmp_path / f"one.{ending}").read_bytes()
    assert content == (tmp_path / f"two.{ending}").read_bytes()
    assert not any(word in content.lower() for word in (b"matplotlib version", b"metadata", b"software"))
    assert ending != "PNG" or image.imread(tmp_path / "one.PNG").shape[1] == 1800


@pytest.mark.parametrize("name", ["timeline.pdf", "timeline", "svg"])
def test_another_ending_is_an_error_that_names_the_three(tmp_path, name):
    with pytest.raises(ConfigurationError, match=rf"\.svg, \.png or \.html, not '{name}'"):
        draw_timeline(read_lifelines(MANY), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_replaced_also_through_a_link(tmp_path):
    (tmp_path / "old.svg").write_text("old")
    (tmp_path / "link.svg").symlink_to("old.svg")
    draw_timeline(read_lifelines(MANY), tmp_path / "link.svg")
    assert (tmp_path / "link.svg").is_symlink()
    assert "</svg>" in (tmp_path / "old.svg").read_text("utf-8")


def test_an_existing_file_stays_whole_if_the_disk_is_full(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    path = tmp_path / "timeline.svg"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigurationError, match=r"cannot write .*timeline\.svg: No space left on device"):
        draw_timeline(read_lifelines(MANY), path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["timeline.svg"]
    assert path.read_text() == "old"


def test_a_folder_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match=r"cannot write .*timeline\.svg: No such file or directory"):
        draw_timeline(read_lifelines(MANY), tmp_path / "nowhere" / "timeline.svg")
