"""Standard streams that may be closed, full or unread: no command ends with a traceback because of them."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from runflow_async.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["SIGNALLED", "drop_errors", "drop_output", "flush_output", "leave_pipe", "usable_streams"]

SIGNALLED = 128
"""Exit status of a process that a signal ended, without the signal's number."""


@contextmanager
def usable_streams() -> Generator[None]:
    """Replace closed streams, escape what the terminal cannot show, and prevent errors at the very end."""
    with ExitStack() as replaced:
        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
            if getattr(sys, name) is None:
                setattr(sys, name, replaced.enter_context(Path(os.devnull).open(mode)))
                replaced.callback(setattr, sys, name, None)
        output: object = sys.stdout
        if isinstance(output, io.TextIOWrapper):
            below: object = getattr(sys.stdout, "buffer", None)
            if isinstance(below, io.RawIOBase):  # PYTHONUNBUFFERED: a write that a signal cuts would lose the rest
                sys.stdout = output = os.fdopen(output.fileno(), "w", 1, output.encoding, closefd=False)
            output.reconfigure(errors="backslashreplace")
        yield
        try:
            sys.stdout.flush()
        except OSError:
            leave_pipe()


def flush_output(status: int) -> int:
    """Write what is left of the output, and return the status; a closed terminal does not change why it ended."""
    try:
        sys.stdout.flush()
    except OSError as error:
        if error.errno != errno.EIO or status <= SIGNALLED:
            raise
        drop_output()
    return status


def leave_pipe() -> int:
    """Return the exit status for a reader that has gone."""
    drop_output()  # or the interpreter would complain when it exits
    return Exit.BROKEN_PIPE


def drop_output() -> None:
    """Discard all further output, including what is buffered, because its reader has gone or stalls."""
    with suppress(io.UnsupportedOperation):  # a stream of the calling program
        _discard(sys.stdout.fileno())


def drop_errors() -> None:
    """Discard everything else that goes to standard error."""
    _discard(sys.stderr.fileno())


def _discard(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
