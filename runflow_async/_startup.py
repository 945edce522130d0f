"""Signals while the command line is still being imported: it ends at once, with the usual status and no traceback.

Imported before everything else, because most of the time until a command runs goes into imports. In any other program
it changes nothing.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["is_command", "restore_interrupts"]

PROGRAM = "runflow-async"
MODULE = "runflow_async"


def is_command(argv: list[str], original: list[str]) -> bool:
    """Whether this process is the command line, by `sys.argv` and `sys.orig_argv` while the package is imported."""
    if not argv or argv[0] != "-m":  # which stands there until Python has found the module
        return bool(argv) and Path(argv[0]).stem == PROGRAM
    return f"-m{MODULE}" in original or ("-m", MODULE) in pairwise(original)


def restore_interrupts() -> None:
    """Let Ctrl-C raise `KeyboardInterrupt` again: from here on somebody catches it."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)


def _leave_quietly() -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # What the parent has ignored, as nohup does, stays ignored.
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _leave)


if is_command(sys.argv, sys.orig_argv):
    _leave_quietly()
