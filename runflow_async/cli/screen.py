"""The terminal's alternate screen, which is left again however the command ends.

It is also left while Ctrl-Z has stopped the process. `give_back` leaves it from wherever a process is interrupted.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rich.console import Console

__all__ = ["alternate_screen", "give_back"]

CUT, WRAP = "\x1b[?7l", "\x1b[?7h"
"""What the terminal does with a line that is too long: some take a character for wider than it is, and to wrap the line
would push the picture off the screen."""
LEAVE_AND_SHOW_CURSOR = b"\x1b[?7h\x1b[?1049l\x1b[?25h"
_shown_on: list[Console] = []
"""The terminal that shows the alternate screen, if any."""


@contextmanager
def alternate_screen(console: Console, redraw: Callable[[], object]) -> Generator[None]:
    """Show the alternate screen inside this block; `redraw` is called when a stopped process continues."""

    def enter() -> None:
        console.set_alt_screen(True)
        console.show_cursor(False)
        console.file.write(CUT)

    def leave() -> None:
        console.file.write(WRAP)
        console.set_alt_screen(False)
        console.show_cursor(True)

    def stop() -> None:
        leave()
        os.kill(os.getpid(), signal.SIGSTOP)  # execution resumes here
        enter()
        redraw()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTSTP, stop)
    _shown_on.append(console)
    enter()
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTSTP)
        leave()
        _shown_on.remove(console)  # unless the line above was interrupted


def give_back() -> None:
    """Leave the alternate screen if it is shown. Writes past the buffers, so that a signal handler may call it."""
    while _shown_on:
        os.write(_shown_on.pop().file.fileno(), LEAVE_AND_SHOW_CURSOR)
