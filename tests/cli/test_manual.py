"""The manual page and the completions that come with the wheel."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from runflow_async.cli.commands import program
from tests.cli.terminal import terminal

ROOT = Path(__file__).parent.parent.parent
SHARE = ROOT / "share"
COMPLETIONS = {
    "bash": SHARE / "bash-completion" / "completions" / "runflow-async",
    "zsh": SHARE / "zsh" / "site-functions" / "_runflow-async",
    "fish": SHARE / "fish" / "vendor_completions.d" / "runflow-async.fish",
}
LINES = {
    "wa": {"wait", "watch"},
    "watch --s": {"--save", "--since"},
    "--debug get --b": {"--base-url"},
    "--base-url x ge": {"get"},
    "watch --save in": {"inputs.jsonl"},
    "run acme/upscale in": {"inputs.jsonl"},
    "get in": set(),
    "watch --timeout in": set(),
    "timeline --": {"--output", "--debug", "--help"},
}
"""What is completed to what, in a folder with the file `inputs.jsonl`."""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "inputs.jsonl").touch()
    monkeypatch.chdir(tmp_path)


def test_they_are_as_the_commands_have_them():
    """`python docs/write_manual.py` writes them anew."""
    files = runpy.run_path(str(ROOT / "docs" / "write_manual.py"))["FILES"]
    assert {path: (SHARE / path).read_text() == write() for path, write in files.items()} == dict.fromkeys(files, True)
    assert {path.relative_to(SHARE).as_posix() for path in SHARE.rglob("*") if path.is_file()} == set(files)


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"there is no {program}")


def printed_by(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@needs("bash")
def test_bash_completes_commands_options_and_files():
    asked = "; ".join(
        f"COMP_WORDS=(runflow-async {line}); COMP_CWORD={len(line.split())}; _runflow_async; echo ${{COMPREPLY[*]}}"
        for line in LINES
    )
    shown = printed_by("bash", "-c", f"source {COMPLETIONS['bash']}; compopt() {{ :; }}; {asked}")
    assert dict(zip(LINES, (set(line.split()) for line in shown.splitlines()), strict=True)) == LINES


@pytest.mark.slow
@needs("fish")
@pytest.mark.parametrize("line", LINES)
def test_fish_completes_commands_options_and_files(line, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    shown = printed_by("fish", "--private", "-c", f"source {COMPLETIONS['fish']}; complete -C 'runflow-async {line}'")
    assert {found.split("\t")[0] for found in shown.splitlines()} == LINES[line]


@pytest.mark.slow
@needs("zsh")
async def test_zsh_completes_commands_options_and_files():
    async with terminal(command=("zsh", "-f", "-i")) as screen:
        screen.press(f"fpath=({COMPLETIONS['zsh'].parent} $fpath); autoload -U compinit; compinit -u -D\n".encode())
        for line, found in LINES.items():
            if found:
                screen.press(b'clear; echo re""ady\n')
                await screen.shows("ready")
                screen.press(f"runflow-async {line}\t\t".encode())
                for word in found:
                    await screen.shows(word)
                screen.press(b"\x15")


@pytest.mark.slow
@needs("mandoc")
def test_the_manual_page_is_without_complaint():
    page = SHARE / "man" / "man1" / "runflow-async.1"
    assert printed_by("mandoc", "-Tlint", str(page)) == ""


PAGE = ROOT / "docs" / "reference" / "command-line.md"
WAITING, CONNECTION = "Options of waiting", "Options of the connection"


def rows_of_sections() -> dict[str, dict[str, str]]:
    """The meaning of each option in each section of the page."""
    sections = re.split(r"^##+ (.+)$", PAGE.read_text(), flags=re.MULTILINE)[1:]
    return {
        heading.strip("`"): dict(re.findall(r"^\| `(-.+?)` \| (.+) \|$", text, re.MULTILINE))
        for heading, text in zip(sections[::2], sections[1::2], strict=True)
    }


def documented(option: click.Option) -> str:
    return " ".join([", ".join(option.opts), *([option.metavar or "FILE"] if not option.is_flag else [])])


@pytest.mark.parametrize("name", program.commands)
def test_the_page_has_every_command_with_its_arguments_options_and_defaults(name):
    command, sections = program.commands[name], rows_of_sections()
    arguments = [parameter.metavar for parameter in command.params if isinstance(parameter, click.Argument)]
    rows = sections[" ".join([name, *arguments])]
    options = {documented(option): option for option in command.params if isinstance(option, click.Option)}
    if sections[WAITING].keys() <= options.keys():
        rows |= sections[WAITING]
        assert f"`{name}`" in PAGE.read_text().partition(f"## {WAITING}")[2].partition("have these options")[0]
    rows |= sections[CONNECTION] if sections[CONNECTION].keys() <= options.keys() else {"--debug": ""}
    assert rows.keys() == options.keys()
    defaults = {shown: f"default {float(one.default):g}" for shown, one in options.items() if one.show_default}
    assert {shown: text for shown, text in defaults.items() if text not in rows[shown]} == {}


def test_the_page_has_no_other_command():
    headings = re.findall(r"^### `([\w-]+)", PAGE.read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(program.commands)
