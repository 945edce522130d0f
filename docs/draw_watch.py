"""Draw `docs/watch.svg`: one frame of the live view, in the middle of the demo. `python docs/draw_watch.py`."""

# ruff: noqa: INP001  # a script

from __future__ import annotations

import asyncio
import re
from io import StringIO
from pathlib import Path

from rich.console import Console, Group

from runflow_async.cli.board import Board
from runflow_async.cli.frame import draw_frame
from runflow_async.cli.rows import Scene
from runflow_async.demo import DEMO_INTERVAL, demo_batches

WIDTH, HEIGHT = 96, 16
MOMENT = 3.5
"""Seconds after the start."""


async def main() -> None:
    """Follow the demo until the moment, and keep how it looks."""
    loop = asyncio.get_running_loop()
    board = Board(loop.time(), {})
    async with demo_batches() as (session, names):
        waits = session.wait_for_batches(names, timeout=60, interval=DEMO_INTERVAL)

        async def follow() -> None:
            async for transition in waits:
                board.add(transition, loop.time())

        following = asyncio.create_task(follow())
        await asyncio.sleep(MOMENT)
        console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
        console.print(Group(*draw_frame(Scene(waits, board, names, [], loop.time(), plain=False), WIDTH, HEIGHT)))
        following.cancel()
    picture = console.export_svg(title="runflow-async watch")
    # Without fonts from another host: what the reader has is monospaced too, and each run of text has its length.
    picture = re.sub(r"<!--.*?-->\s*", "", picture, flags=re.DOTALL)
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    picture = re.sub(r"Fira Code, monospace|Fira Code", "monospace", picture)
    (Path(__file__).parent / "watch.svg").write_text(picture)


if __name__ == "__main__":
    asyncio.run(main())
