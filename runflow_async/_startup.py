"""End the command line at once if a signal arrives during its imports, with the usual status and no traceback.

This module is imported first, because imports take most of the time until a command runs. It does nothing in any other
program.
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
    """Whether this process is the command line, given `sys.argv` and `sys.orig_argv` during the import."""
    if not argv or argv[0] != "-m":  # Python's placeholder until it has found the module
        return bool(argv) and Path(argv[0]).stem == PROGRAM
    return f"-m{MODULE}" in original or ("-m", MODULE) in pairwise(original)


def restore_interrupts() -> None:
    """Let Ctrl-C raise `KeyboardInterrupt` again, once there is code that catches it."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)


def _leave_quietly() -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # A signal that the parent has ignored stays ignored, as nohup wants it.
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _leave)


if is_command(sys.argv, sys.orig_argv):
    _leave_quietly()
