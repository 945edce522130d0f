"""The live view on a terminal. It redraws the whole picture each time, so resizing the terminal does no harm."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Group
from rich.control import Control
from rich.screen import Screen

from runflow_async.cli.board import Board
from runflow_async.cli.frame import draw_frame
from runflow_async.cli.messages import warnings_noted
from runflow_async.cli.outages import OutageWatch
from runflow_async.cli.rows import Scene
from runflow_async.cli.screen import alternate_screen
from runflow_async.cli.words import batch_name

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from uuid import UUID

    from rich.console import Console

    from runflow_async import BatchesWait, BatchItemHandle, ItemTransition

__all__ = ["LiveView"]


class LiveView:
    """One bar per batch, or for the slowest of many, with the last transitions below.

    It runs on the terminal's alternate screen and leaves the last picture on the main one. Warnings appear inside the
    picture, where they do not disturb it; failed requests appear as an outage.

    Args:
        console: the terminal.
        waits: the batches.
        earlier: items with statuses known from before, by batch.
        names: display names of batches; the default is their ids.
    """

    def __init__(
        self,
        console: Console,
        waits: BatchesWait,
        *,
        earlier: Mapping[UUID, Mapping[UUID, BatchItemHandle]],
        names: Mapping[UUID, str],
    ) -> None:
        self._console = console
        self._waits = waits
        self._names = names
        self._notes: deque[str] = deque(maxlen=2)
        self._outages = OutageWatch(waits, began=_leave_to_picture, over=self._note_of)
        shown = {batch_id: items.values() for batch_id, items in earlier.items() if batch_id in waits.waits}
        self._board = Board(asyncio.get_running_loop().time(), shown)
        self._is_on_screen = False

    @contextmanager
    def showing(self) -> Generator[None]:
        """Show the picture on the alternate screen, and at the end what is left of it on the main screen."""
        with warnings_noted(self._notes.append):
            try:
                with alternate_screen(self._console, self.refresh):
                    self._is_on_screen = True
                    yield
            finally:
                self._is_on_screen = False
                self._console.print(self._draw(over=True))

    def show(self, transition: ItemTransition) -> None:
        """Include a transition in the next frame."""
        self._board.add(transition, asyncio.get_running_loop().time())

    def _note_of(self, batch_ids: Sequence[UUID], text: str) -> None:
        single = len(batch_ids) == 1
        who = batch_name(self._names, batch_ids[0]) if single else f"{len(batch_ids):,} batches"
        self._notes.append(f"{who}: {text}")

    def refresh(self) -> None:
        """Draw the picture at the terminal's current size."""
        self._outages.look(asyncio.get_running_loop().time())
        if self._is_on_screen:
            self._console.print(Control.home(), Screen(self._draw(over=False)), sep="", end="")

    def _draw(self, *, over: bool) -> Group:
        now = asyncio.get_running_loop().time()
        plain = self._console.options.ascii_only
        scene = Scene(self._waits, self._board, self._names, list(self._notes), now, plain=plain, over=over)
        return Group(*draw_frame(scene, self._console.width, self._console.height))


def _leave_to_picture(_batch_ids: Sequence[UUID], _text: str) -> None:
    """A current outage is drawn for as long as it lasts."""
