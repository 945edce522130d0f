"""`run`, `resubmit` and `callbacks`, against the emulator."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from uuid import UUID

import msgspec
import pytest

from runflow_async import CallbackDelivery, ItemTransition
from runflow_async.emulator import faults
from tests.cli.terminal import COMMAND
from tests.emulator.test_callbacks import ENDED, receiving, settle
from tests.rig import eventually

MODEL = "acme/upscale"
QUICK = ("--interval", 0.02)


def script(emulator, *statuses):
    return emulator.create_scripted_batch(
        [[(0.0, status)] for status in statuses], inputs=[{"number": number} for number in range(len(statuses))]
    )


@pytest.fixture
def inputs(tmp_path):
    """A file of two inputs, one of them with a name, and an empty line."""
    file = tmp_path / "inputs.jsonl"
    file.write_text('{"prompt": "a cat", "client_ref": "cat"}\n\n{"prompt": "a dog"}\n')
    return file


class TestRun:
    async def test_creates_a_batch_and_shows_what_happens(self, emulator, run, inputs):
        emulator.script_next([[(0.0, "queued"), (0.05, "succeeded")]])
        ran = await run("run", MODEL, inputs, *QUICK)
        assert ran.status == 0
        assert ran.err.splitlines()[0] == f"created batch {emulator.created[0]}"
        shown = [line.split("  ", 2)[2] for line in ran.out.splitlines()]
        assert shown[:2] == ["cat  (new) -> queued", "item-1  (new) -> queued"] or "cat  (new) -> queued" in shown
        assert "cat  queued -> succeeded" in shown

    async def test_with_a_key_that_was_used_for_other_inputs_says_so_in_the_terms_of_the_command_line(
        self, emulator, run, inputs
    ):
        emulator.script_next([[(0.0, "succeeded")]])
        assert (await run("run", MODEL, inputs, *QUICK, "--idempotency-key", "one")).status == 0
        inputs.write_text('{"prompt": "a bird"}\n')
        ran = await run("run", MODEL, inputs, *QUICK, "--idempotency-key", "one")
        assert ran.err.startswith("error: nothing was created: HTTP 409 ")
        assert "this --idempotency-key was used for other arguments" in ran.err
        assert "idempotency_key" not in ran.err

    async def test_with_an_empty_idempotency_key_is_refused_as_from_a_variable_that_is_not_set(
        self, emulator, run, inputs
    ):
        ran = await run("run", MODEL, inputs, "--idempotency-key", "")
        assert ran.status == 2
        assert ran.err.startswith("error: --idempotency-key must be 1 to 255 visible ASCII characters")
        assert emulator.created == []

    async def test_that_gave_up_says_how_to_go_on_without_another_batch(self, emulator, run, inputs):
        emulator.script_next([[(0.0, "running")]])
        ran = await run("run", MODEL, inputs, *QUICK, "--timeout", "0.2")
        assert ran.status == 3
        assert "use 'watch' with the ids above, or the same command with --idempotency-key " in ran.err

    async def test_without_a_key_leaves_no_folder_behind(self, run, inputs, tmp_path, monkeypatch):
        monkeypatch.delenv("RUNFLOW_API_KEY")
        assert (await run("run", MODEL, inputs, "--save", tmp_path / "out")).status == 4
        assert not (tmp_path / "out").exists()

    async def test_as_json_prints_transitions(self, emulator, run, inputs):
        emulator.script_next([[(0.0, "queued"), (0.05, "succeeded")]])
        ran = await run("run", MODEL, inputs, "--json", *QUICK)
        found = [msgspec.json.decode(line, type=ItemTransition).current for line in ran.out.splitlines()]
        assert sorted(found) == ["queued", "queued", "succeeded", "succeeded"]

    async def test_saves_the_outputs(self, emulator, run, inputs, tmp_path):
        emulator.script_next([[(0.0, "succeeded")]])
        ran = await run("run", MODEL, inputs, "--save", tmp_path / "out")
        files = [path for path in (tmp_path / "out").glob("*/*") if path.is_file()]
        assert ran.status == 0
        assert {path.parent.name for path in files} == {"cat", "1"}
        assert sorted(line for line in ran.out.splitlines() if line.startswith(str(tmp_path))) == sorted(
            map(str, files)
        )

    async def test_creates_nothing_if_the_outputs_cannot_be_saved(self, emulator, run, inputs):
        ran = await run("run", MODEL, inputs, "--save", inputs / "below")
        assert (ran.status, ran.out) == (2, "")
        assert ran.err.startswith(f"error: cannot save in {inputs}/below: Not a directory; choose another folder")
        assert not emulator.requests

    async def test_exits_with_1_if_an_item_fails(self, emulator, run, inputs):
        emulator.script_next([[(0.0, "succeeded")], [(0.0, "failed")]])
        assert (await run("run", MODEL, inputs)).status == 1

    async def test_reads_standard_input(self, emulator):
        emulator.script_next([[(0.0, "succeeded")]])
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "run", MODEL, "-", stdin=pipe, stdout=pipe, stderr=pipe
        )
        await process.communicate(b'{"prompt": "x"}\n')
        assert process.returncode == 0
        assert json.loads(emulator.requests[0].body) == {"input": [{"prompt": "x"}]}

    async def test_makes_several_batches_of_many_inputs(self, emulator, run, tmp_path):
        for _ in range(2):
            emulator.script_next([[(0.0, "succeeded")]])
        (tmp_path / "many").write_text('{"prompt": "x"}\n' * 101)
        ran = await run("run", MODEL, tmp_path / "many")
        assert ran.status == 0
        assert [line.startswith("created batch ") for line in ran.err.splitlines()] == [True, True]

    async def test_with_a_key_creates_nothing_twice(self, emulator, run, inputs):
        emulator.script_next([[(0.0, "succeeded")]])
        for _ in range(2):
            assert (await run("run", MODEL, inputs, "--idempotency-key", "mine")).status == 0
        assert len(emulator.created) == 1

    @pytest.mark.parametrize(
        ("content", "text"),
        [
            ("", "no inputs in"),
            ('{"a": 1}\n[2]\n', "line 2 is no JSON object"),
            ('{"a": 1', "line 1 is no JSON object"),
            ('{"client_ref": 7}', "must be a text"),
        ],
    )
    async def test_names_a_bad_line(self, emulator, run, tmp_path, content, text):
        (tmp_path / "bad").write_text(content)
        ran = await run("run", MODEL, tmp_path / "bad")
        assert ran.status == 2
        assert text in ran.err
        assert not emulator.requests

    async def test_says_what_is_wrong_with_the_model(self, run, inputs):
        ran = await run("run", "upscale", inputs)
        assert (ran.status, ran.out) == (2, "")
        assert "'owner/slug'" in ran.err

    async def test_needs_credit(self, emulator, run, inputs):
        emulator.faults.append(faults.status(402, code="INSUFFICIENT_CREDIT", route="create"))
        ran = await run("run", MODEL, inputs)
        assert "add credit" in ran.err
        assert ran.status == 4

    async def test_interrupted_says_how_to_go_on(self, emulator, inputs):
        emulator.script_next([[(0.0, "running")]])
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*COMMAND, "run", MODEL, str(inputs), stdout=pipe, stderr=pipe)
        await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
        assert process.returncode == 130
        assert f"created batch {emulator.created[0]}" in errors.decode()
        assert "use 'watch' with the ids above" in errors.decode()

    async def test_interrupted_before_it_knows_the_ids_can_go_on(self, emulator, run, inputs):
        emulator.script_next([[(0.0, "succeeded")]])
        emulator.faults.append(faults.hang(route="create"))
        pipe = asyncio.subprocess.PIPE
        command = [*COMMAND, "run", MODEL, str(inputs)]
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
        await eventually(lambda: emulator.created)
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
        assert process.returncode == 130
        (key,) = re.findall(r"--idempotency-key (\w+)", errors.decode())
        ran = await run("run", MODEL, inputs, "--idempotency-key", key)
        assert ran.status == 0
        assert f"created batch {emulator.created[0]}" in ran.err
        assert len(emulator.created) == 1


class TestResubmit:
    async def test_follows_a_batch_of_what_failed(self, emulator, run):
        emulator.script_next([[(0.0, "succeeded")]])
        ran = await run("resubmit", MODEL, script(emulator, "succeeded", "failed"))
        assert ran.status == 0
        assert ran.err.splitlines()[0] == f"created batch {emulator.created[0]}"
        (body,) = (json.loads(request.body) for request in emulator.requests if request.method == "POST")
        assert body["input"] == [{"number": 1, "client_ref": "item-1"}]

    async def test_saves_the_files_of_the_new_batch(self, emulator, run, tmp_path):
        emulator.script_next([[(0.0, "succeeded")]])
        ran = await run("resubmit", MODEL, script(emulator, "failed"), "--save", str(tmp_path / "files"))
        assert ran.status == 0
        assert (tmp_path / "files" / "item-0" / "0.png").exists()

    async def test_finds_a_folder_of_no_use_before_it_creates(self, emulator, run, tmp_path):
        (tmp_path / "files").touch()
        ran = await run("resubmit", MODEL, script(emulator, "failed"), "--save", str(tmp_path / "files"))
        assert ran.status == 2
        assert emulator.created == []

    async def test_says_that_nothing_failed(self, emulator, run):
        ran = await run("resubmit", MODEL, script(emulator, "succeeded"))
        assert (ran.status, ran.out) == (0, "")
        assert "nothing to send again: no item of batch" in ran.err
        assert emulator.created == []

    async def test_of_a_batch_that_runs_is_an_error(self, emulator, run):
        ran = await run("resubmit", MODEL, script(emulator, "failed", "running"))
        assert ran.status == 7
        assert "wait for its end first" in ran.err

    @pytest.mark.parametrize("option", ["--timeout", "--interval", "--max-outage"])
    async def test_creates_nothing_with_an_option_that_makes_no_sense(self, emulator, run, option):
        ran = await run("resubmit", MODEL, script(emulator, "failed"), option, "-1")
        assert ran.status == 2
        assert emulator.created == []


class TestCallbacks:
    async def test_are_shown_one_per_line(self, emulator, run):
        async with receiving(500) as receiver:
            batch_id = emulator.create_scripted_batch([ENDED], callback_url=receiver.url)
            await settle(emulator)
        ran = await run("callbacks", batch_id)
        (line,) = ran.out.splitlines()
        assert msgspec.json.decode(line, type=CallbackDelivery).attempt_count == 2

    async def test_are_sent_again(self, emulator, run):
        async with receiving() as receiver:
            batch_id = emulator.create_scripted_batch([ENDED], callback_url=receiver.url)
            await settle(emulator)
            ran = await run("callbacks", batch_id, "--redeliver")
        assert ran.status == 0
        ids = [msgspec.json.decode(line, type=CallbackDelivery).id for line in ran.out.splitlines()]
        assert len(ids) == 2
        assert UUID(ran.err.split()[1]) == ids[1]

    async def test_that_do_not_exist_are_no_error(self, emulator, run):
        ran = await run("callbacks", script(emulator, "running"))
        assert (ran.status, ran.out) == (0, "")
        assert "or it has none" in ran.err

    async def test_of_a_running_batch_cannot_be_sent_again(self, emulator, run):
        ran = await run("callbacks", script(emulator, "running"), "--redeliver")
        assert ran.status == 7
        assert "only the callback of a batch that has ended" in ran.err
