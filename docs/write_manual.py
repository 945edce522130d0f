"""Write the manual page and the completions in `share/` from the commands: `python docs/write_manual.py`.

What statuses and environment variables mean comes from the page about the command line.
"""

# ruff: noqa: INP001  # a script

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runflow_async.cli.commands import program
from runflow_async.cli.connecting import connection_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "command-line.md"
NAME = "runflow-async"
DATE = "November 26, 2026"
BY = f"{NAME}, written by docs/write_manual.py"

EXAMPLES = (
    ("See three emulated batches; this needs no key:", f"{NAME} demo"),
    ("Watch a batch, live on a terminal:", f"{NAME} watch $BATCH_ID"),
    ("Run a script only if every item succeeded:", f"{NAME} wait $BATCH_ID && ./publish"),
    (
        "Save the files of a batch, or those that are missing after an interruption:",
        f"{NAME} items $BATCH_ID --save outputs",
    ),
    ("Create a batch, follow it and save its files:", f"{NAME} run acme/upscale inputs.jsonl --save outputs"),
)


def options_of(command: click.Command) -> list[click.Option]:
    """Return the options of a command."""
    return [option for option in command.params if isinstance(option, click.Option)]


def shared_options() -> list[str]:
    """Return the names of the options that all commands share which use the API."""
    return [option.opts[0] for option in options_of(click.command(connection_options(lambda: None)))]


def arguments_of(command: click.Command) -> list[click.Argument]:
    """Return the arguments of a command."""
    return [argument for argument in command.params if isinstance(argument, click.Argument)]


def placeholder(parameter: click.Parameter) -> str:
    """Return the name of a parameter's value; empty for a flag."""
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return ""
    return parameter.metavar or {"files": "FILE", "folders": "DIR"}[content_of(parameter)]


def content_of(parameter: click.Parameter) -> str:
    """Say what a shell completes as a value: `files`, `folders`, or nothing."""
    if isinstance(parameter.type, click.File):
        return "files"
    if isinstance(parameter.type, click.Path):
        return "files" if parameter.type.file_okay else "folders"
    return ""


def help_of(option: click.Option) -> str:
    """Return an option's help, with its default."""
    text = (option.help or "").removesuffix(".")
    default = f"{option.default:g}" if isinstance(option.default, float) else option.default
    return f"{text} (default: {default})" if option.show_default else text


def summary_of(command: click.Command) -> str:
    """Return the first sentence of a command's help."""
    return (command.help or "").partition(".\n")[0].replace("\n", " ").partition(". ")[0].removesuffix(".")


# The manual page, in mdoc.


def write_manual() -> str:
    """Write `runflow-async.1`."""
    lines = [
        f'.\\" {BY}',
        f".Dd {DATE}",
        f".Dt {NAME.upper()} 1",
        ".Os",
        ".Sh NAME",
        f".Nm {NAME}",
        ".Nd follow every item of every Runflow batch in flight",
        ".Sh SYNOPSIS",
    ]
    for name, command in program.commands.items():
        lines += [f".Nm {NAME}", f".Cm {name}", *_synopsis(command)]
    lines += [".Sh DESCRIPTION", *_prose(program.help or ""), ".Sh COMMANDS", '.Bl -tag -width "resubmit"']
    for name, command in program.commands.items():
        lines += [f".It Cm {name}", *_prose(command.help or ""), *_options(_own_options(command))]
    lines += [".El", ".Sh OPTIONS", *_prose("Commands that use the API have these options, the others only --debug.")]
    lines += _options([option for option in options_of(program) if option.opts[0] in shared_options()])
    lines += [".Sh ENVIRONMENT", '.Bl -tag -width "RUNFLOW_API_KEY"']
    for variable, meaning in re.findall(r"^\| `([A-Z_]+)` \| (.+) \|$", PAGE.read_text(), re.MULTILINE):
        lines += [f".It Ev {variable}", *_prose(meaning)]
    lines += [".El", ".Sh EXIT STATUS", ".Bl -tag -width 999"]
    for status, meaning in re.findall(r"^\| (\d+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE):
        lines += [f".It {status}", *_prose(meaning)]
    lines += [".El", ".Pp", "With several batches, the highest status counts.", ".Sh EXAMPLES"]
    for number, (purpose, example) in enumerate(EXAMPLES):
        lines += [*([".Pp"] if number else []), *_prose(purpose), ".Bd -literal -offset indent"]
        lines += [*map(_escaped, example.splitlines()), ".Ed"]
    return "\n".join(lines) + "\n"


def _own_options(command: click.Command) -> list[click.Option]:
    return [option for option in options_of(command) if option.opts[0] not in shared_options()]


def _synopsis(command: click.Command) -> Iterator[str]:
    for option in _own_options(command):
        value = placeholder(option)
        flag = f"Fl {option.opts[0][1:]}" + (f" Ar {value}" if value else "")
        yield f".{flag}" if option.required else f".Op {flag}"
    for argument in arguments_of(command):
        yield f".Ar {placeholder(argument).replace('...', ' ...')}"


def _options(options: Iterable[click.Option]) -> list[str]:
    lines: list[str] = []
    for option in options:
        value = placeholder(option)
        names = " , ".join(f"Fl {name[1:]}" for name in option.opts)
        lines += [f".It {names}" + (f" Ar {value}" if value else ""), *_prose(help_of(option) + ".")]
    return [".Bl -tag -width Ds", *lines, ".El"] if lines else []


def _prose(text: str) -> list[str]:
    """Return paragraphs with each sentence on its own line, as mdoc wants it."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.replace("`", "").strip().split("\n\n")]
    lines: list[str] = []
    for paragraph in paragraphs:
        sentences = re.split(r"(?<=[.:]) (?=[A-Z])", paragraph)
        wrapped = [line for sentence in sentences for line in textwrap.wrap(sentence, 72, break_on_hyphens=False)]
        lines += [*([".Pp"] if lines else []), *map(_escaped, wrapped)]
    return lines


def _escaped(line: str) -> str:
    text = re.sub(r"(?<!\w)-|(?<=-)-", r"\-", line.replace("\\", "\\e"))
    return f"\\&{text}" if text.startswith((".", "'")) else text


# Completions. They start no interpreter, so that they are there at once, and work without the extra.


def write_bash() -> str:
    """Write the completions of bash."""
    paths, others = (
        " | ".join(
            dict.fromkeys(
                flag
                for command in program.commands.values()
                for option in options_of(command)
                for flag in option.opts
                if not option.is_flag and bool(content_of(option)) is is_path
            )
        )
        for is_path in (True, False)
    )
    valued = " | ".join(option.opts[0] for option in options_of(program) if not option.is_flag)
    file_commands = " | ".join(name for name, command in program.commands.items() if _takes_file(command))
    lists = "\n".join(f'        {name}) words="{_words(command)}" ;;' for name, command in program.commands.items())
    return f"""\
# bash completion for {BY}

_runflow_async() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} command="" words="" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in
            {valued}) ((i++)) ;;
            -*) ;;
            *)
                command=${{COMP_WORDS[i]}}
                break
                ;;
        esac
    done
    COMPREPLY=()
    case $before in
        {paths})
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        {others}) return ;;
    esac
    case $command in
        "") words="{" ".join(program.commands)} {_words(program)}" ;;
{lists}
    esac
    if [[ $command && $word != -* ]]; then
        case $command in
            {file_commands})
                compopt -o filenames
                mapfile -t COMPREPLY < <(compgen -f -- "$word")
                ;;
        esac
        return
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}}

complete -F _runflow_async {NAME}
"""


def _words(command: click.Command) -> str:
    return " ".join([*(flag for option in options_of(command) for flag in option.opts), "--help"])


def _takes_file(command: click.Command) -> bool:
    return any(content_of(argument) for argument in arguments_of(command))


ZSH_ACTIONS = {"files": "_files", "folders": "_files -/", "": ""}


def write_zsh() -> str:
    """Write the completions of zsh."""
    commands = "\n".join(
        f"            {_zsh_quoted(f'{name}:{summary_of(command)}')}" for name, command in program.commands.items()
    )
    cases = "\n".join(
        f"            {name})\n                _arguments \\\n{_zsh_specs(command, 20)}\n                ;;"
        for name, command in program.commands.items()
    )
    return f"""\
#compdef {NAME}
# zsh completion for {BY}

local curcontext=$curcontext state line
local -a commands
typeset -A opt_args

_arguments -C \\
{_zsh_specs(program, 4)} \\
    '1:command:->command' \\
    '*::argument:->arguments'

case $state in
    command)
        commands=(
{commands}
        )
        _describe command commands
        ;;
    arguments)
        case $line[1] in
{cases}
        esac
        ;;
esac
"""


def _zsh_specs(command: click.Command, indent: int) -> str:
    specs = [
        f"{flag}[{_zsh_escaped(help_of(option))}]" + (f":{value}:{ZSH_ACTIONS[content_of(option)]}" if value else "")
        for option in options_of(command)
        for flag in option.opts
        if (value := placeholder(option).replace(":", "")) or option.is_flag
    ]
    specs.append("--help[Show the help]")
    for argument in arguments_of(command):
        every = "*" if argument.nargs != 1 else ""
        specs.append(f"{every}:{placeholder(argument)}:{ZSH_ACTIONS[content_of(argument)]}")
    return " \\\n".join(f"{' ' * indent}{_zsh_quoted(spec)}" for spec in specs)


def _zsh_escaped(text: str) -> str:
    return re.sub(r"([\[\]:\\])", r"\\\1", text)


def _zsh_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


FISH_VALUES = {"files": " -r -F", "folders": " -x -a '(__fish_complete_directories)'", "": " -x"}


def write_fish() -> str:
    """Write the completions of fish."""
    lines = [f"# fish completion for {BY}", "", f"set -l commands {' '.join(program.commands)}"]
    first = '"not __fish_seen_subcommand_from $commands"'
    lines += [f"complete -c {NAME} -f", *_fish_options(first, program)]
    for name, command in program.commands.items():
        described = _fish_quoted(summary_of(command))
        lines += ["", f"complete -c {NAME} -n {first} -a {name} -d {described}"]
        seen = f"'__fish_seen_subcommand_from {name}'"
        lines += _fish_options(seen, command)
        if _takes_file(command):
            lines.append(f"complete -c {NAME} -n {seen} -F")
    return "\n".join(lines) + "\n"


def _fish_options(condition: str, command: click.Command) -> Iterator[str]:
    for option in options_of(command):
        names = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.opts)
        value = "" if option.is_flag else FISH_VALUES[content_of(option)]
        yield f"complete -c {NAME} -n {condition} {names}{value} -d {_fish_quoted(help_of(option))}"
    yield f"complete -c {NAME} -n {condition} -l help -d 'Show the help'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


FILES = {
    f"man/man1/{NAME}.1": write_manual,
    f"bash-completion/completions/{NAME}": write_bash,
    f"zsh/site-functions/_{NAME}": write_zsh,
    f"fish/vendor_completions.d/{NAME}.fish": write_fish,
}
"""What is written, and where in `share/`, which the wheel installs below the prefix of the environment."""

if __name__ == "__main__":
    for path, write in FILES.items():
        file = ROOT / "share" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(write())
