"""The command line between pipes, as scripts use it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import subprocess
import sys
import termios

import aiohttp
import msgspec
import pytest

from runflow_async import Batch, ItemTransition
from runflow_async.cli import main
from runflow_async.cli.bare import run_bare
from runflow_async.cli.signals import run_async
from runflow_async.emulator import faults
from tests.cli.terminal import COMMAND
from tests.rig import eventually

NEVER = [[(0.0, "running")]]
PIPE = asyncio.subprocess.PIPE


async def start(*arguments: object, **keywords: object) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *COMMAND, *(str(argument) for argument in arguments), stdout=PIPE, stderr=PIPE, **keywords
    )


async def test_a_transition_is_printed_as_soon_as_it_was_seen(emulator):
    process = await start("watch", "--json", emulator.create_scripted_batch(NEVER))
    line = await asyncio.wait_for(process.stdout.readline(), 60)  # though it goes on
    assert msgspec.json.decode(line, type=ItemTransition).current == "running"
    process.send_signal(signal.SIGINT)
    _, errors = await process.communicate()
    assert process.returncode == 130
    assert errors.decode().startswith("interrupted; ")
    assert "add --since FILE --save FILE to resume" in errors.decode()  # nothing was saved that it could begin at


async def test_sighup_ends_a_watch_cleanly(emulator, tmp_path):
    batch_id, state = emulator.create_scripted_batch(NEVER), tmp_path / "state"
    process = await start("watch", "--json", batch_id, "--save", state)
    assert await process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    _, errors = await process.communicate()
    assert process.returncode == 129
    assert f"--since {state}" in errors.decode()
    assert msgspec.json.decode(state.read_bytes(), type=Batch).items[0].status_code == "running"


async def test_a_reader_that_leaves_ends_the_watch_silently(emulator):
    batch_id = emulator.create_scripted_batch([[(0.0, "queued"), *((n / 20, f"step {n}") for n in range(1, 200))]])
    process = await start("watch", "--json", batch_id, "--interval", 0.05)
    await process.stdout.readline()
    process.stdout._transport.close()
    assert await asyncio.wait_for(process.wait(), 60) == 141
    assert await process.stderr.read() == b""


async def test_what_was_not_printed_is_not_saved(emulator, run, tmp_path, monkeypatch):
    state = tmp_path / "state"
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as output:  # noqa: ASYNC230, PTH123  # nobody reads it
        monkeypatch.setattr(sys, "stdout", output)
        ran = await run("watch", "--json", emulator.create_scripted_batch(NEVER), "--save", state)
    assert (ran.status, ran.err) == (141, "")
    assert state.read_bytes() == b""


@pytest.mark.slow
async def test_a_watch_that_is_killed_again_and_again_shows_everything(emulator, tmp_path):
    steps = [[(0.0, "queued"), *((n / 10, f"step {n}") for n in range(1, 60)), (6.0, "succeeded")]]
    batch_id, state = emulator.create_scripted_batch(steps), tmp_path / "state"
    seen = []
    while not seen or seen[-1].current != "succeeded":
        process = await start(
            "watch", "--json", batch_id, "--interval", 0.05, "--since", state, "--save", state, stdin=PIPE
        )
        first = await process.stdout.readline()
        others = asyncio.create_task(process.stdout.read())
        await asyncio.wait([others], timeout=0.8)
        if process.returncode is None:
            process.kill()
        await process.wait()
        lines = [first, *(await others).splitlines()]
        seen += [msgspec.json.decode(line, type=ItemTransition) for line in lines if line]
    # At least once and in order: each start goes on from a status that had been shown.
    shown = {None}
    for transition in seen:
        assert transition.previous in shown
        shown.add(transition.current)


@pytest.mark.slow
class TestBadStreams:
    """Standard streams that are closed or full; with buffering, as by default."""

    @staticmethod
    async def run(redirection: str, *arguments: object) -> tuple[int, str, str]:
        """Return the exit status and both outputs, with a redirection of the shell."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", f'"$@" {redirection}', "bash", *COMMAND, *map(str, arguments)),
            stdout=PIPE,
            stderr=PIPE,
            env=environment,
        )
        out, errors = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode, out.decode("latin-1"), errors.decode()

    @pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
    async def test_notes_that_cannot_be_written_change_nothing(self, emulator, redirection):
        batch_id = emulator.create_scripted_batch([[(0.0, "succeeded")]])
        emulator.faults.append(faults.status(503))
        status, out, _ = await self.run(redirection, "watch", batch_id)
        assert status == 0
        assert "succeeded, 1 of 1 succeeded" in out

    async def test_an_error_that_cannot_be_written_keeps_its_status(self):
        assert (await self.run("2>/dev/full", "get", "nope"))[0] == 2

    @pytest.mark.parametrize("command", [("watch", "--json"), ("wait",), ("get",)])
    async def test_a_full_disk_is_one_clear_error(self, emulator, command):
        batch_id = emulator.create_scripted_batch([[(0.0, "succeeded")]])
        status, _, errors = await self.run(">/dev/full", *command, batch_id)
        assert status == 7
        assert errors.splitlines() == [
            "error: cannot use the output: No space left on device; fix this and run the command again"
        ]

    @pytest.mark.parametrize("command", ["wait", "get"])
    async def test_a_closed_output_is_no_error(self, emulator, command):
        batch_id = emulator.create_scripted_batch([[(0.0, "succeeded")]])
        assert await self.run(">&-", command, batch_id) == (0, "", "")

    async def test_a_closed_input_holds_no_ids(self):
        status, _, errors = await self.run("<&-", "wait", "-")
        assert status == 2
        assert "no batch to wait for" in errors

    async def test_characters_that_the_encoding_lacks_are_escaped(self, emulator):
        batch_id = emulator.create_scripted_batch([[(0.0, "succeeded")]], client_refs=["größe"])
        status, out, _ = await self.run("", "watch", batch_id, "--json")
        assert (status, '"größe"'.encode().decode("latin-1") in out) == (0, True)
        status, out, _ = await self.run("| cat; exit ${PIPESTATUS[0]}", "watch", batch_id)
        assert status == 0
        os.environ["PYTHONIOENCODING"] = "ascii"
        try:
            status, out, _ = await self.run("", "watch", batch_id)
        finally:
            del os.environ["PYTHONIOENCODING"]
        assert status == 0
        assert "gr\\xf6\\xdfe" in out

    async def test_help_without_a_reader_exits_as_a_broken_pipe(self):
        assert (await self.run("| true; exit ${PIPESTATUS[0]}", "--help"))[0] == 141


def test_a_further_sighup_changes_nothing():
    """A shell sends one SIGHUP when its terminal is closed, and the kernel another."""
    before = signal.getsignal(signal.SIGHUP)

    async def main() -> int:
        signal.raise_signal(signal.SIGHUP)
        try:
            await asyncio.sleep(10)
        finally:
            signal.raise_signal(signal.SIGHUP)
        return 0

    try:
        assert run_async(main()) == 128 + signal.SIGHUP
        signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_an_ignored_signal_stays_ignored(number):
    """As nohup and a shell's background have it."""
    before = signal.signal(number, signal.SIG_IGN)

    async def main() -> int:
        signal.raise_signal(number)
        await asyncio.sleep(0)
        return 0

    try:
        assert run_async(main()) == 0
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_watch_whose_reader_stalls_is_ended_by_a_second_signal(emulator, number):
    """The buffered output is then dropped."""
    batch_id = emulator.create_scripted_batch([[(0.0, "queued")]] * 3000)
    command = [*COMMAND, "watch", "--json", str(batch_id)]
    # asyncio's own subprocesses count as running while something is in their pipes.
    with subprocess.Popen(command, stdout=PIPE, env=os.environ | {"PYTHONUNBUFFERED": ""}) as process:  # noqa: ASYNC220
        await asyncio.to_thread(process.stdout.read, 1)
        await asyncio.sleep(1)  # until the pipe is full
        process.send_signal(number)
        await asyncio.sleep(0.5)
        assert process.poll() is None
        process.send_signal(number)
        assert await asyncio.to_thread(process.wait, 60) == 128 + number


async def test_a_write_that_a_signal_interrupts_is_completed_even_unbuffered(emulator, run):
    """With PYTHONUNBUFFERED, as containers have it, Python itself would drop the rest."""
    batch_id = emulator.create_scripted_batch(NEVER * 1000)
    whole = (await run("get", batch_id)).out.encode()
    reader, writer = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "get", str(batch_id), stdout=writer, env=os.environ | {"PYTHONUNBUFFERED": "1"}
    )
    os.close(writer)
    with open(reader, "rb") as output:  # noqa: ASYNC230, PTH123  # read in a thread
        await eventually(lambda: _is_full(reader), within=20)
        process.send_signal(signal.SIGTERM)
        received = await asyncio.to_thread(output.read)
    assert await process.wait() in (0, 143)
    assert len(whole) > 100_000
    assert received == whole


def _is_full(pipe: int) -> bool:
    """Whether a pipe of 64 KiB holds all that it can."""
    waiting = fcntl.ioctl(pipe, termios.FIONREAD, bytes(4))
    return int.from_bytes(waiting, sys.byteorder) >= 65536


async def test_the_emulator_prints_its_url_and_serves_until_interrupted():
    process = await start("emulator", "--port", 0)
    lines = [(await process.stdout.readline()).decode() for _ in range(3)]
    url = next(word for line in lines for word in re.split(r"[\s=;,]", line) if word.startswith("http://127.0.0.1"))
    async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/batches/x") as response:
        assert response.status == 401
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert process.returncode == 0


@pytest.mark.slow
async def test_the_demo_prints_lines():
    process = await start("demo")
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert b"running     -> succeeded" in out


class TestWithoutTheExtra:
    @pytest.mark.parametrize("arguments", [["--help"], ["watch", "--help"]])
    def test_help_says_what_to_install_and_is_a_success(self, capsys, arguments):
        assert run_bare(arguments) == 0
        shown = capsys.readouterr()
        assert "pip install 'runflow-async[cli]'" in shown.out
        assert re.search(r"^ +demo  ", shown.out, re.MULTILINE)
        assert shown.err == ""

    def test_the_version_is_printed(self, capsys):
        assert run_bare(["--version"]) == 0
        without = capsys.readouterr().out
        assert main(["--version"]) == 0
        assert without == capsys.readouterr().out

    def test_a_command_has_its_own_help_and_rejects_invalid_options(self, capsys):
        assert run_bare(["emulator", "--help"]) == 0
        assert "--port" in capsys.readouterr().out
        assert run_bare(["emulator", "--port", "many"]) == 2

    @pytest.mark.parametrize("arguments", [[], ["watch", "x"]])
    def test_other_commands_say_in_one_line_what_to_install(self, capsys, arguments):
        assert run_bare(arguments) == 2
        shown = capsys.readouterr()
        assert "pip install 'runflow-async[cli]'" in shown.err
        assert len(shown.err.splitlines()) == 1

    async def test_a_taken_port_is_an_error(self, emulator, capsys):
        port = emulator.url.rsplit(":", 1)[1]
        assert await asyncio.to_thread(run_bare, ["emulator", "--port", port]) == 2
        errors = capsys.readouterr().err
        assert "pass another --port" in errors
        assert len(errors.splitlines()) == 1

    async def test_the_emulator_runs_and_imports_neither_click_nor_rich(self):
        """They are hidden from a process, as if they were not installed."""
        hide = (
            "import importlib.util as u, sys; found = u.find_spec\n"
            "u.find_spec = lambda name, *rest: None if name in ('click', 'rich') else found(name, *rest)\n"
            "from runflow_async.cli import main; status = main(sys.argv[1:])\n"
            "print({'click', 'rich'} & set(sys.modules)); sys.exit(status)"
        )
        command = [sys.executable, "-c", hide, "emulator", "--port", "0"]
        process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
        assert (await process.stdout.readline()).startswith(b"listening on http://127.0.0.1:")
        process.terminate()
        out, _ = await process.communicate()
        assert out.splitlines()[-1] == b"set()"
        assert process.returncode == 0
