"""Run the command line: every outcome becomes an exit status, and every error one red line."""

from __future__ import annotations

import asyncio
import errno
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

from runflow_async._startup import restore_interrupts
from runflow_async._text import printable
from runflow_async.cli.exits import Exit, about, explain, status_of_error
from runflow_async.cli.outages import is_about_something_else

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator, Sequence
    from uuid import UUID

__all__ = ["drop_output", "run", "run_async", "say_error", "say_hint", "say_of"]

NOTES_AT_ONCE = 5
"""How many minor notes are shown in a row: enough for every retry of one call, but not for those of many batches."""
NOTES_APART = 5.0
"""Seconds after which one more is allowed."""
SIGNALLED = 128
"""Added to a signal's number, the exit status of what it ended."""
COMPLETE = "_RUNFLOW_ASYNC_COMPLETE"
"""The environment variable in which a shell asks click for completion."""


class NoteLines(logging.Handler):
    """Writes the log to standard error: every warning, and a limited number of minor notes."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(is_about_something_else)
        self._left = float(NOTES_AT_ONCE)
        self._noted_at = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        warns = record.levelno >= logging.WARNING
        if warns or self._has_room(record.created):
            _say(printable(record.getMessage(), 1000), "yellow" if warns else None)

    def _has_room(self, now: float) -> bool:
        self._left = min(NOTES_AT_ONCE, self._left + max(now - self._noted_at, 0.0) / NOTES_APART)
        self._noted_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def run(arguments: Sequence[str]) -> int:
    """Run one command and return the exit status."""
    from runflow_async.cli.commands import runflow_async  # noqa: PLC0415  # which needs this module

    debug = "--debug" in arguments
    with _standard_streams(), _logged(debug=debug):
        try:
            restore_interrupts()
            return _flush(int(runflow_async.main(list(arguments), "runflow-async", standalone_mode=False) or 0))
        except BrokenPipeError:
            return _leave_pipe()
        except SystemExit as error:
            return _after_exit(error)
        except (click.Abort, KeyboardInterrupt):
            drop_output()
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


def _flush(status: int) -> int:
    """Write what is left of the output, and return the status; a closed terminal does not change why it ended."""
    try:
        sys.stdout.flush()
    except OSError as error:
        if error.errno != errno.EIO or status <= SIGNALLED:
            raise
        drop_output()
    return status


@contextmanager
def _standard_streams() -> Generator[None]:
    """Replace closed streams, escape what the terminal cannot show, and prevent errors at the very end."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115  # for the rest of the process
    output: object = sys.stdout
    below: object = getattr(output, "buffer", None)
    if isinstance(output, io.TextIOWrapper):
        if isinstance(below, io.RawIOBase):  # PYTHONUNBUFFERED: a write that a signal cuts would lose the rest
            descriptor, encoding = output.fileno(), output.encoding
            sys.stdout = output = open(descriptor, "w", 1, encoding, closefd=False)  # noqa: SIM115  # for as long
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
    """Run a command's coroutine. SIGTERM, or the SIGHUP of a closed terminal, ends it as cleanly as Ctrl-C."""
    ending = Ending()
    try:
        return asyncio.run(ending.guard(main))
    except (asyncio.CancelledError, OSError) as error:  # writing to a closed terminal fails, too
        if ending.number is not None:
            return SIGNALLED + ending.number
        if isinstance(error, OSError) and error.errno == errno.EIO and hasattr(signal, "SIGHUP"):
            return SIGNALLED + signal.SIGHUP  # the terminal is gone, and its signal not here yet
        if isinstance(error, BrokenPipeError):  # click would turn this into exit status 1
            return _leave_pipe()
        raise
    finally:
        ending.restore()


class Ending:
    """The signals that end a command: the first one cancels it.

    A second SIGTERM ends the process at once. Further SIGHUPs are ignored: the shell and the kernel send one each.

    Attributes:
        number: the signal that was received, or None.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    async def guard(self, main: Coroutine[Any, Any, int]) -> int:
        """Run the coroutine."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def end(number: int, _frame: object) -> None:
            self.number = number
            signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
            if task is not None:
                loop.call_soon_threadsafe(task.cancel)

        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is None or signal.getsignal(number) == signal.SIG_IGN:  # by nohup, for example
                continue
            with suppress(ValueError):  # outside the main thread, which gets no signals
                self._before[number] = signal.signal(number, end)
        return await main

    def restore(self) -> None:
        """Restore the previous handlers of the signals."""
        for number, handler in self._before.items():
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, handler)


def _after_exit(error: SystemExit) -> int:
    """Handle the exit by which click leaves after completion for a shell, or if nobody reads its help."""
    asked = os.environ.get(COMPLETE)
    if not asked:
        return _leave_pipe()
    if not error.code:
        return Exit.SUCCEEDED
    say_error(f"{COMPLETE} must be bash_source, zsh_source or fish_source, not {printable(asked, 60)!r}")
    return Exit.USAGE


def _leave_pipe() -> int:
    drop_output()  # or the interpreter would complain when it exits
    return Exit.BROKEN_PIPE


def drop_output() -> None:
    """Discard all further output, including what is buffered, because its reader has gone or stalls."""
    with suppress(io.UnsupportedOperation):  # a stream of the calling program
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say_error(text: str) -> None:
    """Print an error as one red line."""
    _say(f"error: {text}", "red")


def say_hint(text: str) -> None:
    """Print what to do next."""
    _say(text, None)


def say_of(batch_ids: Sequence[UUID], text: str) -> None:
    """Print a message about some batches."""
    say_hint(about(batch_ids, text))


def _say(text: str, colour: str | None) -> None:
    try:
        click.secho(text, fg=colour, err=True, color=False if os.environ.get("NO_COLOR") else None)
    except OSError:  # nobody reads it; the exit status still reports the error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
