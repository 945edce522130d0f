"""What each command prints without a terminal, and its exit status."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import logging
import math
import os
import re
import sys
from uuid import UUID, uuid4

import msgspec
import pytest

import runflow_async
from runflow_async import Batch, BatchItem, CheckpointError, ItemTransition, RunflowSession
from runflow_async.cli import main, statefile
from runflow_async.emulator import faults
from tests.rig import eventually, refused_port

QUICK = [[(0.0, "queued"), (2.0, "running"), (3.0, "succeeded")]]
"""For an emulator whose time goes by with the requests."""
NEVER = [[(0.0, "running")]]


def ended(*statuses: str) -> list[list[tuple[float, str]]]:
    return [[(0.0, status)] for status in statuses]


class TestGet:
    async def test_prints_the_batch_as_one_line_of_json(self, emulator, run):
        batch_id = emulator.create_scripted_batch(ended("succeeded", "failed"))
        ran = await run("get", batch_id)
        batch = msgspec.json.decode(ran.out, type=Batch)
        assert ran.out.count("\n") == 1
        assert (ran.status, ran.err) == (0, "")
        assert (batch.id, batch.items_failed, len(batch.items)) == (batch_id, 1, 2)

    async def test_reads_the_key_from_a_file(self, emulator, run, monkeypatch, tmp_path):
        monkeypatch.setenv("RUNFLOW_API_KEY", "wrong")
        (tmp_path / "key").write_text(f"{emulator.api_key}\n")
        batch_id = emulator.create_scripted_batch(ended("succeeded"))
        assert (await run("get", batch_id, "--api-key-file", tmp_path / "key")).status == 0
        assert (await run("--api-key-file", tmp_path / "key", "get", batch_id)).status == 0

    async def test_takes_the_address_and_the_organisation_from_options(self, emulator, run, monkeypatch):
        monkeypatch.delenv("RUNFLOW_BASE_URL")
        batch_id = emulator.create_scripted_batch(ended("succeeded"))
        organization = uuid4()
        ran = await run("get", batch_id, "--base-url", emulator.url, "--organization-id", organization)
        assert ran.status == 0
        assert emulator.requests[-1].headers["X-Organization-Id"] == str(organization)

    @pytest.mark.usefixtures("quick_retries")
    async def test_shows_every_attempt_that_failed(self, run, monkeypatch):
        batch_id = uuid4()
        with refused_port() as port:
            monkeypatch.setenv("RUNFLOW_BASE_URL", f"http://127.0.0.1:{port}")
            ran = await run("get", batch_id)
        assert ran.status == 6
        *attempts, error = ran.err.splitlines()
        assert error.startswith(f"error: batch {batch_id}: cannot connect")
        assert [re.sub(r" \(.*", "", line) for line in attempts] == [
            f"batch {batch_id}: attempt {number} failed" for number in (1, 2, 3, 4)
        ]

    def test_has_no_option_for_the_key(self, capsys):
        assert main(["get", str(uuid4()), "--api-key", "rf_live_secret"]) == 2
        assert "rf_live_secret" not in capsys.readouterr().err


class TestItems:
    async def test_prints_a_json_array_with_one_item_per_line(self, emulator, run):
        batch_id = emulator.create_batch(items=230, duration=0.01)
        ran = await run("items", batch_id)
        found = msgspec.json.decode(ran.out, type=list[BatchItem])
        assert [item.sequence_index for item in found] == list(range(230))
        assert all(json.loads(line.rstrip(",")) for line in ran.out.splitlines()[1:-1])

    async def test_of_an_unknown_batch_exits_with_not_found(self, emulator, run):
        ran = await run("items", uuid4())
        assert ran.status == 5
        assert "404" in ran.err


class TestExitStatus:
    @pytest.mark.parametrize(
        ("statuses", "expected"),
        [
            (["succeeded", "succeeded"], 0),
            (["succeeded", "failed"], 1),
            (["canceled"], 1),
            (["cancelled", "succeeded"], 1),
        ],
    )
    @pytest.mark.parametrize("command", ["wait", "watch"])
    async def test_follows_from_how_the_items_ended(self, emulator, run, command, statuses, expected):
        assert (await run(command, emulator.create_scripted_batch(ended(*statuses)))).status == expected

    async def test_is_1_for_a_batch_that_failed_without_its_items(self, emulator, run):
        batch_id = emulator.create_scripted_batch(ended("succeeded"), status_timeline=[(0.0, "failed")])
        assert (await run("wait", batch_id)).status == 1

    @pytest.mark.parametrize(
        ("status", "expected"), [(401, 4), (403, 4), (503, 6), (429, 6), (400, 7), (402, 4), (302, 7)]
    )
    async def test_follows_from_what_went_wrong(self, emulator, run, status, expected):
        emulator.faults.append(faults.status(status, times=math.inf))
        ran = await run("wait", emulator.create_scripted_batch(NEVER), "--max-outage", 0.1, "--timeout", 10)
        assert ran.status == expected
        assert len(ran.err.splitlines()) == 1
        assert ran.err.startswith("error: batch ")

    @pytest.mark.usefixtures("short_grace")
    async def test_is_5_when_an_id_is_unknown_after_the_grace_for_new_batches(self, emulator, run):
        ran = await run("wait", batch_id := uuid4())
        assert ran.status == 5
        assert ran.err.startswith(f"error: batch {batch_id}: HTTP 404")

    async def test_is_3_when_the_timeout_expires(self, emulator, run):
        batch_id = emulator.create_scripted_batch(NEVER)
        ran = await run("wait", batch_id, "--timeout", 0.1)
        assert ran.status == 3
        assert ran.err == (
            f"error: batch {batch_id}: timed out (last seen 'running'); it keeps running: "
            "run the command again with a longer --timeout\n"
        )

    async def test_is_3_when_the_timeout_expires_before_the_first_poll(self, run):
        ran = await run("wait", uuid4(), "--timeout", 1e-9)
        assert ran.status == 3
        assert "timed out (never seen); it keeps running" in ran.err

    async def test_is_6_when_nothing_responds(self, run, monkeypatch):
        with refused_port() as port:
            monkeypatch.setenv("RUNFLOW_BASE_URL", f"http://127.0.0.1:{port}")
            ran = await run("wait", uuid4(), "--max-outage", 0.1)
        assert ran.status == 6
        assert "cannot connect" in ran.err
        assert "check the network" in ran.err

    async def test_is_the_highest_of_several_batches(self, emulator, run):
        well, badly = (emulator.create_scripted_batch(ended(status)) for status in ("succeeded", "failed"))
        assert (await run("wait", well, badly)).status == 1
        emulator.faults.append(faults.status(403, batch_id=well))
        assert (await run("wait", well, badly)).status == 4

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["wait"],
            ["wait", "8c1f"],
            ["wait", "../../v1/admin"],
            ["get"],
            ["frobnicate"],
            ["watch", str(UUID(int=1)), "--interval", "0"],
            ["watch", str(UUID(int=1)), "--timeout", "soon"],
            ["watch", str(UUID(int=1)), "--timeout", "-1"],
            ["watch", str(UUID(int=1)), "--since", "missing.ndjson"],
            ["get", str(UUID(int=1)), "--base-url", "http://example.com"],
            ["get", str(UUID(int=1)), "--api-key-file", "missing"],
            ["timeline", "missing.ndjson", "-o", "out.svg"],
            ["emulator", "--port", "many"],
        ],
    )
    def test_is_2_for_a_usage_error(self, capsys, arguments):
        assert main(arguments) == 2
        assert arguments == [] or len(capsys.readouterr().err.splitlines()) == 1


class TestTheKey:
    @pytest.mark.parametrize("key", ["", "two words", "späť", "with\nline"])
    def test_an_unusable_key_exits_with_4_and_is_not_shown(self, monkeypatch, capsys, key):
        monkeypatch.setenv("RUNFLOW_API_KEY", key)
        assert main(["get", str(uuid4())]) == 4
        shown = capsys.readouterr().err
        assert "API key" in shown
        assert not key or key not in shown

    def test_a_missing_key_is_an_error_that_says_how_to_pass_it(self, monkeypatch, capsys):
        monkeypatch.delenv("RUNFLOW_API_KEY")
        assert main(["wait", str(uuid4())]) == 4
        assert capsys.readouterr().err == "error: no API key: set RUNFLOW_API_KEY, or pass --api-key-file FILE\n"

    def test_in_a_variable_that_holds_more_than_the_key_says_so(self, capsys, monkeypatch):
        monkeypatch.setenv("RUNFLOW_API_KEY", "'rf_x'")
        assert main(["get", str(uuid4())]) == 4
        assert "RUNFLOW_API_KEY must hold the key alone, without its name or quotes" in capsys.readouterr().err

    @pytest.mark.parametrize("content", ["RUNFLOW_API_KEY=rf_x\n", "export RUNFLOW_API_KEY=rf_x", '"rf_x"'])
    def test_in_a_file_that_holds_more_than_the_key_says_so(self, capsys, tmp_path, content):
        (tmp_path / "key").write_text(content)
        assert main(["get", str(uuid4()), "--api-key-file", str(tmp_path / "key")]) == 4
        assert "must hold the key alone, without its name or quotes" in capsys.readouterr().err

    def test_an_empty_key_file_is_an_error_that_names_the_file(self, tmp_path, capsys):
        (tmp_path / "key").write_text("\n")
        assert main(["get", str(uuid4()), "--api-key-file", str(tmp_path / "key")]) == 4
        assert str(tmp_path / "key") in capsys.readouterr().err

    async def test_a_wrong_key_is_an_error_that_says_where_to_look_and_does_not_show_it(
        self, emulator, run, monkeypatch
    ):
        monkeypatch.setenv("RUNFLOW_API_KEY", "rf_live_canary")
        ran = await run("get", emulator.create_scripted_batch(NEVER), "--debug")
        assert ran.status == 4
        assert "check RUNFLOW_API_KEY, or the file given with --api-key-file" in ran.err
        assert "Traceback" in ran.err
        assert "canary" not in ran.err + ran.out


class TestWait:
    @pytest.mark.usefixtures("quick_retries")
    async def test_is_silent_until_the_end(self, stepping_emulator, run):
        stepping_emulator.faults.append(faults.status(503))
        batch_id = stepping_emulator.create_scripted_batch(QUICK)
        ran = await run("wait", batch_id, "--interval", 0.01)
        assert (ran.status, ran.out, ran.err) == (0, f"{batch_id}  succeeded, 1 of 1 succeeded\n", "")

    async def test_shows_an_error_of_many_batches_once(self, emulator, run):
        emulator.faults.append(faults.status(403, times=math.inf))
        ran = await run("wait", *(uuid4() for _ in range(25)))
        assert ran.status == 4
        assert len(ran.err.splitlines()) == 1
        assert ran.err.startswith("error: 25 batches (")


class TestWatch:
    async def test_prints_a_line_for_each_transition_and_each_end(self, stepping_emulator, run):
        batch_id = stepping_emulator.create_scripted_batch([[(0.0, "queued"), (2.0, "running"), (3.0, "succeeded")]])
        ran = await run("watch", batch_id, "--interval", 0.01)
        shown = [line.split("  ", 1)[1] for line in ran.out.splitlines()]
        assert shown == [
            f"{batch_id}  item-0  (new) -> queued",
            f"{batch_id}  item-0  queued -> running",
            f"{batch_id}  item-0  running -> succeeded",
            f"{batch_id}  succeeded, 1 of 1 succeeded",
        ]

    async def test_prints_json_lines_that_are_transitions(self, stepping_emulator, run):
        batch_ids = [stepping_emulator.create_scripted_batch(QUICK * 3) for _ in range(2)]
        ran = await run("watch", "--json", *batch_ids, "--interval", 0.01)
        found = [msgspec.json.decode(line, type=ItemTransition) for line in ran.out.splitlines()]
        assert {transition.batch_id for transition in found} == set(batch_ids)
        assert [transition.current for transition in found].count("succeeded") == 6

    @pytest.mark.usefixtures("quick_retries")
    async def test_does_not_report_a_failure_that_the_next_attempt_fixes(self, stepping_emulator, run):
        stepping_emulator.faults.append(faults.status(503))
        batch_id = stepping_emulator.create_scripted_batch(QUICK)
        ran = await run("watch", batch_id, "--interval", 0.01)
        assert (ran.status, ran.err) == (0, "")

    async def test_escapes_texts_from_the_server(self, emulator, run):
        batch_id = emulator.create_scripted_batch(ended("\x1b[31mred"), client_refs=["two\nlines"])
        ran = await run("watch", batch_id, "--timeout", 0)
        assert "\x1b" not in ran.out
        assert len(ran.out.splitlines()) == 1

    async def test_shows_a_failed_wait_beside_the_others(self, emulator, run):
        batch_id = emulator.create_scripted_batch(ended("succeeded"))
        other = emulator.create_scripted_batch(ended("succeeded"))
        emulator.faults.append(faults.status(403, batch_id=other))
        ran = await run("watch", batch_id, other)
        assert ran.status == 4
        assert f"{batch_id}  succeeded, 1 of 1 succeeded" in ran.out
        assert str(other) in ran.err


class TestAStateFile:
    async def test_lets_the_next_watch_show_only_what_is_new(self, stepping_emulator, run, tmp_path):
        state = tmp_path / "state.ndjson"
        script = [[(0.0, "queued"), (2.0, "succeeded")], [(0.0, "succeeded")]]
        batch_id = stepping_emulator.create_scripted_batch(script)
        first = await run("watch", batch_id, "--json", "--timeout", 0, "--save", state)
        second = await run("watch", batch_id, "--json", "--interval", 0.01, "--since", state, "--save", state)
        third = await run("watch", batch_id, "--json", "--since", state)
        assert [ran.out.count("\n") for ran in (first, second, third)] == [2, 1, 0]
        assert [ran.status for ran in (first, second, third)] == [3, 0, 0]

    async def test_may_be_missing_at_first_if_it_is_also_saved(self, emulator, run, tmp_path):
        batch_id = emulator.create_scripted_batch(ended("succeeded"))
        assert (await run("watch", batch_id, "--since", tmp_path / "s", "--save", tmp_path / "s")).status == 0
        ran = await run("results", batch_id, "--since", tmp_path / "s")
        assert (ran.status, ran.out) == (2, "")
        assert "was saved by 'watch', and 'results' needs a file of its own" in ran.err
        saved = (tmp_path / "s").read_bytes()
        assert (await run("results", batch_id, "--save", tmp_path / "s")).status == 2
        assert (tmp_path / "s").read_bytes() == saved
        assert len((tmp_path / "s").read_text().splitlines()) == 1

    async def test_keeps_batches_that_are_not_watched_this_time(self, emulator, run, tmp_path):
        one, other = (emulator.create_scripted_batch(ended("succeeded")) for _ in range(2))
        await run("watch", one, "--save", tmp_path / "s")
        await run("watch", other, "--since", tmp_path / "s", "--save", tmp_path / "s")
        assert len((tmp_path / "s").read_text().splitlines()) == 2

    async def test_can_be_the_output_of_get(self, emulator, run, tmp_path):
        batch_id = emulator.create_scripted_batch(ended("succeeded"))
        (tmp_path / "s").write_text((await run("get", batch_id)).out)
        assert "->" not in (await run("watch", batch_id, "--since", tmp_path / "s")).out

    @pytest.mark.parametrize("content", ["nonsense", '{"previous": null}', "[1]", "\xff"])
    async def test_with_other_content_is_an_error(self, run, tmp_path, content):
        (tmp_path / "s").write_text(content, encoding="latin-1")
        ran = await run("watch", uuid4(), "--since", tmp_path / "s")
        assert ran.status == 2
        assert "does not contain snapshots as --save writes them" in ran.err

    @pytest.mark.parametrize("place", ["pipe", "folder"])
    async def test_replaces_only_regular_files(self, run, tmp_path, place):
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "folder").mkdir()
        ran = await run("watch", uuid4(), "--save", tmp_path / place)
        assert ran.status == 2
        assert (tmp_path / "pipe").is_fifo()

    async def test_that_cannot_be_written_is_an_error_before_anything_is_shown(self, emulator, run, tmp_path):
        batch_id = emulator.create_scripted_batch(ended("succeeded"))
        ran = await run("watch", batch_id, "--save", tmp_path / "missing" / "s")
        assert (ran.status, ran.out) == (2, "")
        assert "cannot write" in ran.err

    async def test_that_is_a_link_stays_one_and_keeps_its_mode(self, emulator, run, tmp_path):
        (tmp_path / "state").touch(0o600)
        (tmp_path / "link").symlink_to(tmp_path / "state")
        batch_id = emulator.create_scripted_batch(ended("succeeded"))
        assert (await run("watch", batch_id, "--save", tmp_path / "link")).status == 0
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o600
        assert str(batch_id) in (tmp_path / "state").read_text()


class TestIdsFromStandardInput:
    @pytest.fixture
    def standard_input(self, monkeypatch):
        """Set the content of standard input."""

        def hold(content: bytes) -> None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), "ascii"))

        return hold

    @pytest.mark.parametrize(
        "form",
        [
            "{}\n{} {}\n",
            "\t{}  \r\n\r\n\n{}\f{}",
            "# three: {{}}\n{} # the first\n  #\n{}#\n{}",
            "{}\n\ufeff{}\n\ufeff\n{}",
        ],
    )
    async def test_are_separated_by_white_space_and_comments(self, emulator, run, standard_input, form):
        batch_ids = [str(emulator.create_scripted_batch(ended("succeeded"))) for _ in range(3)]
        standard_input(form.format(*batch_ids).encode())
        ran = await run("wait", "-")
        assert [line.split()[0] for line in ran.out.splitlines()] == batch_ids

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
    async def test_are_read_in_the_encoding_that_a_mark_names(self, emulator, run, standard_input, encoding):
        batch_id = str(emulator.create_scripted_batch(ended("succeeded")))
        standard_input(f"{batch_id}  # größer\r\n".encode(encoding))
        ran = await run("wait", "-")
        assert (ran.status, ran.out) == (0, f"{batch_id}  succeeded, 1 of 1 succeeded\n")

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("größe".encode("latin-1"), "standard input is not UTF-8 text (byte 3); save it as UTF-8"),
            ("8c1f".encode("utf-16-le"), "standard input contains NUL characters; save it as UTF-8"),
            (b"\xff\xfe\x00", "ID must be a UUID, such as"),
        ],
    )
    async def test_that_are_not_text_are_a_usage_error(self, run, standard_input, content, reason):
        standard_input(content)
        ran = await run("wait", "-")
        assert ran.status == 2
        assert ran.err.startswith(f"error: {reason}")
        assert len(ran.err.splitlines()) == 1

    @pytest.mark.parametrize("content", [b"", b"\n", b"# none yet\n"])
    async def test_without_any_are_a_usage_error(self, run, standard_input, content):
        standard_input(content)
        assert (await run("wait", "-")).status == 2

    async def test_that_cannot_be_read_are_a_usage_error(self, run, monkeypatch):
        class Terminal(io.RawIOBase):
            """The terminal of a process that is in the background."""

            def readable(self) -> bool:
                return True

            def readinto(self, _buffer: object) -> int:
                raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Terminal())))
        ran = await run("wait", "-")
        assert ran.status == 2
        assert ran.err.startswith("error: cannot read standard input: Input/output error")


class TestErrors:
    async def test_have_their_traceback_with_debug(self, emulator, run):
        emulator.faults.append(faults.status(403))
        ran = await run("wait", uuid4(), "--debug")
        assert ran.status == 4
        assert "Traceback" in ran.err
        assert "PermissionDeniedError" in ran.err

    async def test_leave_no_log_handler_behind(self, emulator, run):
        before = list(logging.getLogger("runflow_async").handlers)
        await run("get", uuid4(), "--debug")
        assert logging.getLogger("runflow_async").handlers == before

    async def test_that_are_unexpected_are_one_line_too(self, emulator, run, monkeypatch):
        def fail(*_arguments: object) -> None:
            raise ArithmeticError("so it is")

        monkeypatch.setattr("runflow_async.cli.watching.outcome", fail)
        ran = await run("wait", emulator.create_scripted_batch(ended("succeeded")))
        assert ran.status == 7
        assert ran.err == "error: ArithmeticError: so it is\n"


def test_version_and_help_are_there(capsys):
    assert main(["--version"]) == 0
    assert runflow_async.__version__ in capsys.readouterr().out
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in ("get", "items", "watch", "wait", "timeline", "emulator", "demo"):
        assert f"  {command} " in shown


def test_a_taken_port_is_an_error(emulator, capsys):
    port = emulator.url.rsplit(":", 1)[1]
    assert main_in_thread(["emulator", "--port", port]) == 2
    assert f"cannot listen on port {port}" in capsys.readouterr().err


def main_in_thread(arguments: list[str]) -> int:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor() as threads:
        return threads.submit(main, arguments).result()


class TestTimeline:
    @pytest.fixture
    async def events(self, stepping_emulator, run, tmp_path):
        """What a watch printed, in a file."""
        batch_id = stepping_emulator.create_scripted_batch([[(0.0, "queued"), (2.0, "running"), (3.0, "failed")]] * 3)
        file = tmp_path / "events.ndjson"
        file.write_text((await run("watch", "--json", batch_id, "--interval", 0.01)).out)
        return file

    @pytest.mark.parametrize("ending", ["svg", "png", "html"])
    async def test_draws_what_a_watch_printed(self, run, events, tmp_path, ending):
        picture = tmp_path / f"timeline.{ending}"
        assert await run("timeline", events, "-o", picture) == (0, "", "")
        assert picture.stat().st_size > 1000

    async def test_says_that_a_line_is_truncated_and_draws_the_others(self, run, events, tmp_path):
        events.write_text(events.read_text()[:-40])
        ran = await run("timeline", events, "-o", tmp_path / "timeline.svg")
        assert ran.status == 0
        assert "truncated" in ran.err
        assert (tmp_path / "timeline.svg").exists()

    async def test_names_the_supported_endings(self, run, events, tmp_path):
        ran = await run("timeline", events, "-o", tmp_path / "timeline.pdf")
        assert ran.status == 2
        assert ".svg" in ran.err

    async def test_without_matplotlib_says_what_to_install(self, run, events, tmp_path, monkeypatch):
        for name in [name for name in sys.modules if name.startswith("runflow_async.cli.timeline")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        ran = await run("timeline", events, "-o", tmp_path / "timeline.svg")
        assert ran.status == 2
        assert ran.err == "error: the timeline needs matplotlib: pip install 'runflow-async[plot]'\n"


async def test_a_key_file_that_is_not_text_is_an_error(run, tmp_path):
    (tmp_path / "key").write_bytes("schlüssel".encode("latin-1"))
    ran = await run("get", uuid4(), "--api-key-file", tmp_path / "key")
    assert ran.status == 2
    assert f"the key file {tmp_path / 'key'} is not UTF-8 text" in ran.err
    assert "schl" not in ran.err


class TestFilesAsPowerShellWritesThem:
    """UTF-16 with a byte order mark."""

    async def test_may_hold_the_key(self, emulator, run, tmp_path):
        (tmp_path / "key").write_text(f"{emulator.api_key}\r\n", "utf-16")
        batch_id = emulator.create_scripted_batch(ended("succeeded"))
        assert (await run("get", batch_id, "--api-key-file", tmp_path / "key")).status == 0

    async def test_may_hold_what_was_shown_earlier(self, emulator, run, tmp_path):
        batch_id = emulator.create_scripted_batch(ended("succeeded"))
        (tmp_path / "s").write_text((await run("get", batch_id)).out, "utf-16")
        ran = await run("watch", batch_id, "--since", tmp_path / "s")
        assert (ran.status, "->" in ran.out) == (0, False)

    async def test_may_hold_the_events_of_a_timeline(self, stepping_emulator, run, tmp_path):
        batch_id = stepping_emulator.create_scripted_batch(QUICK)
        events = (await run("watch", "--json", batch_id, "--interval", 0.01)).out
        (tmp_path / "events").write_text(events, "utf-16")
        assert await run("timeline", tmp_path / "events", "-o", tmp_path / "timeline.svg") == (0, "", "")


async def test_state_is_written_while_the_watch_goes_on(emulator, tmp_path, monkeypatch):
    monkeypatch.setattr(statefile, "SHORTEST_PAUSE_SECONDS", 0.05)
    state = statefile.StateFile("watch", [], tmp_path / "state")
    async with RunflowSession(emulator.api_key, base_url=emulator.url) as session:
        waits = session.wait_for_batches([emulator.create_scripted_batch(NEVER)], interval=0.05, checkpoint=state)
        await anext(waits)
        pending = asyncio.ensure_future(anext(waits))
        await eventually((tmp_path / "state").exists)
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)
    assert len(statefile.read_snapshots(tmp_path / "state", "watch")[0].items) == 1


def test_state_that_cannot_be_written_leaves_nothing_half_written(tmp_path):
    state = statefile.StateFile("watch", [], tmp_path / "state")
    (tmp_path / "state").mkdir()
    with pytest.raises(CheckpointError, match="cannot write"):
        state.write()
    assert list(tmp_path.iterdir()) == [tmp_path / "state"]


async def test_state_that_can_no_longer_be_written_ends_the_watch(emulator, tmp_path, monkeypatch):
    monkeypatch.setattr(statefile, "SHORTEST_PAUSE_SECONDS", 0.05)
    state = statefile.StateFile("watch", [], tmp_path / "missing" / "state")
    lively = [[(0.0, "queued"), *((n / 20, f"step {n}") for n in range(1, 100))]]
    async with RunflowSession(emulator.api_key, base_url=emulator.url) as session:
        waits = session.wait_for_batches([emulator.create_scripted_batch(lively)], interval=0.05, checkpoint=state)
        with pytest.raises(CheckpointError, match="cannot write"):
            async for _ in waits:
                pass


async def test_a_command_that_does_not_exist_is_answered_with_one_that_does(run):
    ran = await run("wach", "7")
    assert ran.status == 2
    suggested = "error: No such command 'wach'. Did you mean 'watch'? See 'runflow-async --help'\n"
    assert ran.err in {suggested, "error: No such command 'wach'; see 'runflow-async --help'\n"}  # of older versions
