"""Run the command line: whatever comes out becomes an exit status, and an error one red line."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from runflow_async.cli.exits import Exit, about, explain, status_of_error
from runflow_async.protocol import printable

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

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
        _say(printable(record.getMessage(), 1000), "yellow" if record.levelno >= logging.WARNING else "")


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    from runflow_async.cli.commands import runflow_async  # noqa: PLC0415  # which needs this module

    debug = "--debug" in arguments
    logger = logging.getLogger("runflow_async")
    handler = logging.StreamHandler() if debug else NoteLines()
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    try:
        status = runflow_async.main(list(arguments), "runflow-async", standalone_mode=False)
        sys.stdout.flush()
        return int(status or 0)
    except BrokenPipeError:
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
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def run_async(main: Coroutine[Any, Any, int]) -> int:
    """Run a command's coroutine; SIGTERM ends it as cleanly as Ctrl-C does."""

    async def guarded() -> int:
        task, terminated = asyncio.current_task(), asyncio.Event()

        def terminate() -> None:
            terminated.set()
            if task is not None:
                task.cancel()

        with suppress(NotImplementedError, RuntimeError):  # Windows; a thread, to which no signal comes
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
        try:
            return await main
        except asyncio.CancelledError:
            if terminated.is_set():
                return Exit.TERMINATED
            raise

    try:
        return asyncio.run(guarded())
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
    _say(text, "")


def _say(text: str, style: str) -> None:
    Console(stderr=True, highlight=False).print(Text(text, style=style), soft_wrap=True)
