"""`results`: each item with its result as it ends, as a table's lines or as JSON."""

from __future__ import annotations

import msgspec
import pytest

from runflow_async import BatchItem

SOON = [[(0.0, "running"), (0.03, "succeeded")], [(0.0, "running"), (0.06, "succeeded")]]


def items_in(text: str) -> list[BatchItem]:
    return msgspec.json.Decoder(BatchItem).decode_lines(text)


class TestResults:
    async def test_are_whole_items_one_per_line_with_json(self, emulator, run):
        batch_id = emulator.create_scripted_batch(SOON)
        ran = await run("results", batch_id, "--json", "--interval", 0.02)
        items = items_in(ran.out)
        assert (ran.status, ran.err) == (0, "")
        assert sorted(item.sequence_index for item in items) == [0, 1]
        assert all(item.output and item.batch_id == batch_id for item in items)

    async def test_are_lines_of_a_table_without_json(self, emulator, run):
        batch_id = emulator.create_scripted_batch(
            [[(0.0, "succeeded")], [(0.0, "failed")]], client_refs=["a\x1b[2J", "b"]
        )
        ran = await run("results", batch_id)
        first, second = ran.out.splitlines()
        assert ran.status == 1
        assert first.split()[1] == "succeeded"
        assert ".png" in first
        assert "\x1b" not in ran.out
        assert second.split()[:2] == ["b", "failed"]
        assert "ITEM_FAILED" in second

    async def test_resume_from_what_was_saved(self, stepping_emulator, run, tmp_path):
        batch_id = stepping_emulator.create_scripted_batch(
            [[(0.0, "succeeded")], [(0.0, "succeeded")], [(0.0, "running"), (9.0, "succeeded")]]
        )
        command = "results", batch_id, "--json", "--interval", 0.01, "--since", tmp_path / "f", "--save", tmp_path / "f"
        first = await run(*command, "--timeout", 0)
        assert first.status == 3
        second = await run(*command)
        assert second.status == 0
        indexes = [[item.sequence_index for item in items_in(ran.out)] for ran in (first, second)]
        assert sorted(indexes[0] + indexes[1]) == [0, 1, 2]
        assert 2 in indexes[1]
        assert (await run(*command)).out == ""

    @pytest.mark.parametrize(("status", "expected"), [(401, 4), (404, 5)])
    @pytest.mark.usefixtures("short_grace")
    async def test_exit_as_wait_does(self, emulator, run, status, expected):
        batch_id = "11111111-2222-4333-8444-555555555555" if status == 404 else emulator.create_scripted_batch(SOON)
        key = ["--timeout", 5] if status == 404 else ["--api-key-file", "/dev/null"]
        assert (await run("results", batch_id, *key)).status == expected
