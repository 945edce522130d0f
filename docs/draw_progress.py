"""Draw `docs/progress.svg`: the bars of tqdm and rich in a terminal, in the middle of three batches.

`python docs/draw_progress.py`; each bar is really drawn, into a terminal that pyte emulates.
"""

# ruff: noqa: INP001  # a script

from __future__ import annotations

import asyncio
import io
import os
import re
import sys
from contextlib import redirect_stderr
from pathlib import Path

import pyte
from rich.console import Console
from rich.text import Text

from runflow_async import RunflowSession
from runflow_async.emulator import Emulator
from runflow_async.progress import progress

WIDTH = 112
MOMENT = 8.0
"""Seconds after the start."""
COLOURS = {"default": "", "brown": "yellow"}


class Terminal(io.StringIO):
    """A terminal that remembers its screen."""

    encoding = "utf-8"

    def __init__(self) -> None:
        super().__init__()
        self.screen = pyte.Screen(WIDTH, 2)
        self._stream = pyte.Stream(self.screen)

    def isatty(self) -> bool:
        """So that something is drawn."""
        return True

    def write(self, text: str) -> int:
        """Show it."""
        self._stream.feed(text)
        return len(text)

    def line(self) -> Text:
        """The first line, with its colours."""
        line = Text()
        for column in range(WIDTH):
            cell = self.screen.buffer[0][column]
            colour = COLOURS.get(cell.fg, f"#{cell.fg}" if re.fullmatch("[0-9a-f]{6}", cell.fg) else cell.fg)
            line.append(cell.data, style=f"{'bold ' if cell.bold else ''}{colour}".strip())
        line.rstrip()
        return line


async def look(bar: str) -> Text:
    """Follow three batches until the moment, and return how the bar looks."""
    terminal = Terminal()
    async with Emulator(seed=1) as emulator, RunflowSession(emulator.api_key, base_url=emulator.url) as session:
        ids = [emulator.create_batch(items=40, duration=14, fail=0.1) for _ in range(3)]

        async def follow() -> None:
            async for _ in progress(session.wait_for_batches(ids, interval=0.5), bar=bar):  # type: ignore[arg-type]
                pass

        with redirect_stderr(terminal):
            following = asyncio.create_task(follow())
            await asyncio.sleep(MOMENT)
            line = terminal.line()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    return line


async def main() -> None:
    """Draw both bars."""
    os.environ |= {"COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for bar in ("tqdm", "rich"):
        console.print(await look(bar))
        console.print()
    picture = console.export_svg(title="async for transition in progress(session.wait_for_batches(batch_ids)):")
    # Without fonts from another host: what the reader has is monospaced too, and each run of text has its length.
    picture = re.sub(r"<!--.*?-->\s*", "", picture, flags=re.DOTALL)
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    picture = re.sub(r"Fira Code, monospace|Fira Code", "monospace", picture)
    (Path(__file__).parent / "progress.svg").write_text(picture)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
