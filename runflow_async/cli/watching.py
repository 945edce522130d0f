"""`watch`, `results` and `wait`: follow batches to their end, with or without output on the way."""

from __future__ import annotations

import asyncio
import logging
import shlex
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from runflow_async.cli.connecting import combined, connection_options, is_debugging, open_session
from runflow_async.cli.exits import Exit, about, explain
from runflow_async.cli.following import accompany, finish, follow, outcome
from runflow_async.cli.lines import JsonLines, PlainLines
from runflow_async.cli.live import LiveView
from runflow_async.cli.messages import say_error, say_hint, say_of
from runflow_async.cli.outages import OutageWatch
from runflow_async.cli.signals import run_async
from runflow_async.cli.statefile import StateFile, read_snapshots
from runflow_async.cli.texts import decode_text, split_words
from runflow_async.cli.words import outcome_text
from runflow_async.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from uuid import UUID

    from runflow_async import BatchesWait, BatchItemHandle, BatchWait
    from runflow_async.cli.following import HasWaits, View

__all__ = [
    "choose_view",
    "following_options",
    "how_to_go_on",
    "json_option",
    "open_state",
    "read_ids",
    "report",
    "resuming_options",
    "run_until_interrupted",
    "wait",
    "waiting_options",
    "watch",
]

MOST_ERRORS = 10
"""How many kinds of errors are shown."""


def _read_timeout(context: click.Context, parameter: click.Parameter, value: str) -> float | None:
    if value == "none":
        return None
    try:
        return float(value)
    except ValueError as error:
        text = f"{value!r} is neither a number of seconds nor 'none'"
        raise click.BadParameter(text, context, parameter) from error


json_option = click.option("--json", "as_json", is_flag=True, help="Print one transition per line, as JSON.")
waiting_options = combined(
    click.option(
        "--timeout",
        callback=_read_timeout,
        default="3600",
        show_default=True,
        metavar="SECONDS",
        help="Give up on a batch after this long; 'none' never gives up, 0 polls once.",
    ),
    click.option(
        "--interval",
        type=float,
        metavar="SECONDS",
        help="Time between two polls of a batch; by default it adapts to the progress of the items.",
    ),
    click.option(
        "--max-outage",
        type=float,
        default=300,
        show_default=True,
        metavar="SECONDS",
        help="Give up on a batch after this long without a valid response.",
    ),
    connection_options,
)
following_options = combined(click.argument("batch_ids", metavar="ID...", nargs=-1), waiting_options)
resuming_options = combined(
    click.option(
        "--since",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Show only what is new since this file was saved.",
    ),
    click.option(
        "--save",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Record here what was shown, for --since.",
    ),
)
"""The options shared by `watch` and `results`."""


@click.command()
@json_option
@resuming_options
@following_options
def watch(
    *,
    batch_ids: tuple[str, ...],
    timeout: float | None,
    interval: float | None,
    max_outage: float,
    as_json: bool,
    since: Path | None,
    save: Path | None,
) -> int:
    """Show what happens to every item, as it happens.

    On a terminal it is a live picture, otherwise a line for each change. An ID of - reads ids from standard input,
    where # starts a comment. --since and --save may name the same file, and it need not exist at first.
    """
    ids = read_ids(batch_ids)
    state = open_state("watch", since, save)

    async def show() -> int:
        async with open_session() as session:
            waits = session.wait_for_batches(
                ids, timeout=timeout, interval=interval, max_outage=max_outage, checkpoint=state
            )
            try:
                await follow(waits, choose_view(waits, state.items, as_json=as_json))
            finally:
                state.write()
        return report(waits)

    return run_until_interrupted(show, how_to_go_on(since, save))


@click.command()
@following_options
def wait(batch_ids: tuple[str, ...], timeout: float | None, interval: float | None, max_outage: float) -> int:
    """Wait until all batches have ended, then print a line for each.

    Outages are reported on standard error. An ID of - reads ids from standard input, where # starts a comment.
    """
    ids = read_ids(batch_ids)
    if not is_debugging():
        logging.getLogger("runflow_async").setLevel(logging.ERROR)

    async def wait_silently() -> int:
        async with open_session() as session:
            waits = session.wait_for_batches(ids, timeout=timeout, interval=interval, max_outage=max_outage)
            outages = OutageWatch(waits, began=say_of, over=say_of)
            await accompany(finish(waits), lambda: outages.look(asyncio.get_running_loop().time()))
        for one in waits.waits.values():
            if one.exception() is None:
                click.echo(f"{one.batch_id}  {outcome_text(one)}")
        return report(waits)

    return run_until_interrupted(wait_silently, "run the same command again to continue waiting")


def open_state(command: str, since: Path | None, save: Path | None) -> StateFile:
    """Read what a command has shown earlier, and make sure that what it shows now can be saved.

    Raises:
        click.UsageError: if a file cannot be used.
    """
    first_time = since and save and since.resolve() == save.resolve() and not since.exists()
    if save is not None and save.is_file():
        read_snapshots(save, command)  # a file of something else would be replaced
    state = StateFile(command, [] if since is None or first_time else read_snapshots(since, command), save)
    try:
        state.write()  # report a file that cannot be written before showing anything
    except CheckpointError as error:
        raise click.UsageError(f"{error}; choose another file for --save") from error
    return state


def read_ids(given: Sequence[str]) -> list[str]:
    """Return the ids of the command line; `-` stands for those on standard input.

    Raises:
        ConfigurationError: if standard input is not text.
        click.UsageError: if there are none.
    """
    texts = [text for one in given for text in (_read_words() if one == "-" else [one])]
    if not texts:
        raise click.UsageError("no batch to wait for: pass at least one ID, or - to read ids from standard input")
    return texts


def _read_words() -> list[str]:
    try:
        content = sys.stdin.buffer.read()
    except OSError as error:  # the terminal, read from a background job
        raise click.UsageError(f"cannot read standard input: {error.strerror}") from error
    return split_words(decode_text(content, "standard input"))


def choose_view(waits: BatchesWait, earlier: Mapping[UUID, Mapping[UUID, BatchItemHandle]], *, as_json: bool) -> View:
    """Return JSON lines, the live view on a terminal, or plain lines elsewhere.

    Args:
        waits: the batches.
        earlier: items with statuses known from before, by batch.
        as_json: whether JSON was asked for.
    """
    if as_json:
        return JsonLines(waits)
    console = Console()
    if not sys.stdout.isatty() or console.is_dumb_terminal or is_debugging():
        return PlainLines(waits)
    return LiveView(console, waits, earlier=earlier, names={})


def run_until_interrupted(main: Callable[[], Coroutine[Any, Any, int]], advice: str) -> int:
    """Run a command that waits. If a signal ends it, say how to go on."""
    status = run_async(main())
    if status in (Exit.INTERRUPTED, Exit.TERMINATED, Exit.HUNG_UP):
        say_hint(f"interrupted; the batches keep running: {advice}")
    return status


def how_to_go_on(since: Path | None, save: Path | None) -> str:
    """Say how to resume after an interruption."""
    if save is None:
        return "run the same command again; next time, add --since FILE --save FILE to resume"
    if since is not None and since.resolve() == save.resolve():
        return "run the same command again to resume"
    return f"to resume, run the same command again with --since {shlex.quote(str(save))}"


def report(waits: HasWaits) -> int:
    """Print the errors of the waits, each distinct error once; return the exit status."""
    failed_by_text: dict[str, list[BatchWait]] = {}
    for one in waits.waits.values():
        if (error := one.exception()) is not None:
            failed_by_text.setdefault(explain(error), []).append(one)
    for text, failed in list(failed_by_text.items())[:MOST_ERRORS]:
        if is_debugging():
            traceback.print_exception(failed[0].exception())
        say_error(about([one.batch_id for one in failed], text))
    if len(failed_by_text) > MOST_ERRORS:
        say_error(f"... and {len(failed_by_text) - MOST_ERRORS} more kinds of errors")
    return outcome(waits)
