"""Everything that goes to standard error: errors, hints, and what the library logs."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from runflow_async._text import printable
from runflow_async.cli.exits import about
from runflow_async.cli.outages import is_about_something_else
from runflow_async.cli.streams import drop_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from uuid import UUID

__all__ = ["NoteLines", "logged", "say_error", "say_hint", "say_of", "warnings_noted"]

NOTES_AT_ONCE = 5
"""How many minor notes are shown in a row: enough for every retry of one call, but not for those of many batches."""
SECONDS_PER_NOTE = 5.0
"""Time after which one more is allowed."""


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
        self._left = min(NOTES_AT_ONCE, self._left + max(now - self._noted_at, 0.0) / SECONDS_PER_NOTE)
        self._noted_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


@contextmanager
def logged(*, debug: bool) -> Generator[None]:
    """Show what the library logs; with `debug` all of it, as it is."""
    logger = logging.getLogger("runflow_async")
    level, handler = logger.level, logging.StreamHandler() if debug else NoteLines()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextmanager
def warnings_noted(note: Callable[[str], object]) -> Generator[None]:
    """Pass each warning to a function, whoever logs it, instead of writing to standard error."""
    logger, everything = logging.getLogger("runflow_async"), logging.getLogger()
    replaced, handler = list(logger.handlers), _Notes(note)
    for other in replaced:
        logger.removeHandler(other)
    everything.addHandler(handler)  # asyncio's warnings would disturb a picture, too
    try:
        yield
    finally:
        everything.removeHandler(handler)
        for other in replaced:
            logger.addHandler(other)


class _Notes(logging.Handler):
    def __init__(self, note: Callable[[str], object]) -> None:
        super().__init__(logging.WARNING)
        self.addFilter(is_about_something_else)
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        self._note(printable(record.getMessage(), 300))


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
        drop_errors()
