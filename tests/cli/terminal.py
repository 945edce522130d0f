"""A pseudo-terminal with a screen that can be read, and commands run in it as a person would."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import sys
import termios
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pyte

from tests.rig import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from runflow_async.emulator import Emulator

COMMAND = (sys.executable, "-m", "runflow_async")


class Terminal:
    """The screen of a terminal in which a command runs.

    Attributes:
        received: all that was written to it.
        process: the command.
    """

    def __init__(self, controller: int, columns: int, rows: int) -> None:
        self.received = b""
        self.process: asyncio.subprocess.Process
        self._controller = controller
        self._closed = False
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self._screen.display)

    def colours(self, text: str) -> set[str]:
        """The foreground colours of the first place where the text stands."""
        for row, line in enumerate(self._screen.display):
            if text in line:
                start = line.index(text)
                return {self._screen.buffer[row][column].fg for column in range(start, start + len(text))}
        raise AssertionError(f"{text!r} is not on the screen:\n{self.text}")

    def read(self) -> None:
        if self._closed:
            return
        with suppress(BlockingIOError):
            while found := os.read(self._controller, 65536):
                self.received += found
                self._stream.feed(found)

    def resize(self, columns: int, rows: int) -> None:
        self._screen.resize(rows, columns)
        fcntl.ioctl(self._controller, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        """Close the terminal, as its window does."""
        asyncio.get_running_loop().remove_reader(self._controller)
        os.close(self._controller)
        self._closed = True

    def press(self, key: bytes) -> None:
        os.write(self._controller, key)

    async def shows(self, text: str) -> None:
        try:
            await eventually(lambda: text in self.text)
        except AssertionError as error:
            raise AssertionError(f"{text!r} is not on the screen:\n{self.text}") from error

    async def requested(self, emulator: Emulator) -> None:
        await eventually(lambda: emulator.requests)

    async def stopped(self) -> None:
        """Return once the command is stopped as by Ctrl-Z, and all that was written has been read."""
        await eventually(lambda: os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOHANG))
        self.read()

    async def end(self) -> int:
        """The exit status, once all that was written has been read."""
        async with asyncio.timeout(60):
            status = await self.process.wait()
        self.read()
        return status


@asynccontextmanager
async def terminal(
    *arguments: str,
    command: Sequence[str] = COMMAND,
    columns: int = 100,
    rows: int = 30,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Terminal]:
    """Run the command line, or another command, in a terminal of its own."""
    controller, own = pty.openpty()
    os.set_blocking(controller, False)
    shown = Terminal(controller, columns, rows)
    shown.resize(columns, rows)
    settings = {"TERM": "xterm-256color"} | dict(environment or {})
    outer = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}

    # A session's first process that opens a terminal gets it for its own, and with it Ctrl-C.
    shown.process = await asyncio.create_subprocess_exec(
        *("sh", "-c", 'exec "$@" <"$0" >"$0" 2>&1', os.ttyname(own), *command, *arguments),
        env=outer | settings,
        start_new_session=True,
    )
    loop = asyncio.get_running_loop()
    loop.add_reader(controller, shown.read)
    try:
        yield shown
    finally:
        if shown.process.returncode is None:
            shown.process.kill()
            await shown.process.wait()
        if not shown._closed:
            shown.close()
        os.close(own)
