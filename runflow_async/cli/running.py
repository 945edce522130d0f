"""Run the command line: whatever comes out becomes an exit status, and an error one red line."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import signal
import sys
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runflow_async.cli.exits import Exit, about, explain, status_of_error
from runflow_async.protocol import printable

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator, Sequence

__all__ = ["run", "run_async", "say_error", "say_hint"]


class NoteLines(logging.Handler):
    """What the library logs, as lines on standard error: each warning, and of lesser notes one a second."""

    def __init__(self) -> None:
        super().__init__()
        self._noted_at = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if record.levelno < logging.WARNING:
            if record.created < self._noted_at + 1:
                return
            self._noted_at = record.created
        _say(printable(record.getMessage(), 1000), "yellow" if record.levelno >= logging.WARNING else None)


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    from runflow_async.cli.commands import runflow_async  # noqa: PLC0415  # which needs this module

    debug = "--debug" in arguments
    with _standard_streams(), _logged(debug=debug):
        try:
            status = runflow_async.main(list(arguments), "runflow-async", standalone_mode=False)
            sys.stdout.flush()
            return int(status or 0)
        except (BrokenPipeError, SystemExit):  # click leaves so where nobody reads its help
            return _leave_pipe()
        except (click.Abort, KeyboardInterrupt):
            return Exit.INTERRUPTED
        except click.ClickException as error:
            context = getattr(error, "ctx", None)
            hint = f"; see '{context.command_path} --help'" if context else ""
            say_error(f"{printable(error.format_message().rstrip('.'), 1000)}{hint}")
            return error.exit_code if error.exit_code != 1 else Exit.USAGE
        except Exception as error:  # noqa: BLE001  # the last one who can say it well
            if debug:
                traceback.print_exception(error)
            say_error(about([getattr(error, "batch_id", None)], explain(error)))
            return status_of_error(error)


@contextmanager
def _standard_streams() -> Generator[None]:
    """Make up for closed ones, escape what the terminal cannot show, and leave nothing that fails at the very end."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115  # for the rest of the process
    output: object = sys.stdout
    if isinstance(output, io.TextIOWrapper):
        output.reconfigure(errors="backslashreplace")
    yield
    try:
        sys.stdout.flush()
    except OSError:
        _leave_pipe()


@contextmanager
def _logged(*, debug: bool) -> Generator[None]:
    """Show what the library logs."""
    logger = logging.getLogger("runflow_async")
    level, handler = logger.level, logging.StreamHandler() if debug else NoteLines()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def run_async(main: Coroutine[Any, Any, int]) -> int:
    """Run a command's coroutine; SIGTERM ends it as cleanly as Ctrl-C does, and a second one at once."""
    terminated = False

    async def guarded() -> int:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def terminate(_number: int, _frame: object) -> None:
            nonlocal terminated
            terminated = True
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if task is not None:
                loop.call_soon_threadsafe(task.cancel)

        with suppress(ValueError):  # in a thread, to which no signal comes
            signal.signal(signal.SIGTERM, terminate)
        return await main

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        if terminated:
            return Exit.TERMINATED
        raise
    except BrokenPipeError:  # which click would make a 1 of
        return _leave_pipe()


def _leave_pipe() -> int:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter would complain at its end
    return Exit.BROKEN_PIPE


def say_error(text: str) -> None:
    """Tell an error, as one red line."""
    _say(f"error: {text}", "red")


def say_hint(text: str) -> None:
    """Tell what to do next."""
    _say(text, None)


def _say(text: str, colour: str | None) -> None:
    try:
        click.secho(text, fg=colour, err=True, color=False if os.environ.get("NO_COLOR") else None)
    except OSError:  # nobody reads it; the exit status still tells
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
