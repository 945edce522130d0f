"""The live view on a terminal. It redraws the whole picture each time, so resizing the terminal does no harm."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Group

from runflow_async._text import printable
from runflow_async.cli.board import Board
from runflow_async.cli.frame import Scene, batch_name, draw_frame
from runflow_async.cli.outages import OutageWatch, is_about_something_else

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from uuid import UUID

    from rich.console import Console, ScreenContext

    from runflow_async._waits.many import BatchesWait
    from runflow_async.models import BatchItemHandle, ItemTransition

__all__ = ["LiveView"]


class LiveView(logging.Handler):
    """One bar per batch, or for the slowest of many, with the last transitions below.

    It runs on the terminal's alternate screen and leaves the last picture on the main one. Warnings appear inside the
    picture, where they do not disturb it; failed requests appear as an outage.

    Args:
        console: the terminal.
        earlier: items with statuses known from before, by batch.
        names: display names of batches; the default is their ids.
    """

    def __init__(
        self,
        console: Console,
        *,
        earlier: Mapping[UUID, Mapping[UUID, BatchItemHandle]],
        names: Mapping[UUID, str],
    ) -> None:
        super().__init__(logging.WARNING)
        self.addFilter(is_about_something_else)
        self._console = console
        self._names = names
        self._earlier = earlier
        self._notes: deque[str] = deque(maxlen=2)
        self._screen: ScreenContext | None = None
        self._board: Board | None = None
        self._waits: BatchesWait | None = None
        self._outages: OutageWatch | None = None

    @contextmanager
    def showing(self, waits: BatchesWait) -> Generator[None]:
        """Show the picture on the alternate screen, and at the end what is left of it on the main screen."""
        self._waits = waits
        self._outages = OutageWatch(waits, began=_leave_to_picture, over=self._note_of)
        earlier = {batch_id: items.values() for batch_id, items in self._earlier.items() if batch_id in waits.waits}
        self._board = Board(asyncio.get_running_loop().time(), earlier)
        logger = logging.getLogger("runflow_async")
        others = list(logger.handlers)
        for other in others:
            logger.removeHandler(other)
        everything = logging.getLogger()  # asyncio's warnings would disturb the picture, too
        everything.addHandler(self)
        try:
            with self._console.screen() as self._screen, self._stoppable():
                yield
        finally:
            everything.removeHandler(self)
            for other in others:
                logger.addHandler(other)
            self._screen = None
            self._console.print(self._draw(over=True))

    @contextmanager
    def _stoppable(self) -> Generator[None]:
        """Release the terminal while Ctrl-Z has stopped the process."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTSTP, self._stop)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGTSTP)

    def _stop(self) -> None:
        self._console.set_alt_screen(False)
        self._console.show_cursor(True)
        os.kill(os.getpid(), signal.SIGSTOP)  # execution resumes here
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)
        self.refresh()

    def tell(self, transition: ItemTransition) -> None:
        """Take in a transition; the next frame shows it."""
        if self._board is not None:
            self._board.take(transition, asyncio.get_running_loop().time())

    def _note_of(self, batch_ids: Sequence[UUID], text: str) -> None:
        single = len(batch_ids) == 1
        who = batch_name(self._names, batch_ids[0]) if single else f"{len(batch_ids):,} batches"
        self._notes.append(f"{who}: {text}")

    def emit(self, record: logging.LogRecord) -> None:
        """Show a log record."""
        self._notes.append(printable(record.getMessage(), 300))

    def refresh(self) -> None:
        """Draw the picture at the terminal's current size."""
        if self._outages is not None:
            self._outages.look(asyncio.get_running_loop().time())
        if self._screen is not None:
            self._screen.update(self._draw(over=False))

    def _draw(self, *, over: bool) -> Group:
        if self._waits is None or self._board is None:
            return Group()
        now = asyncio.get_running_loop().time()
        plain = self._console.options.ascii_only
        scene = Scene(self._waits, self._board, self._names, list(self._notes), now, plain=plain, over=over)
        return Group(*draw_frame(scene, self._console.width, self._console.height))


def _leave_to_picture(_batch_ids: Sequence[UUID], _text: str) -> None:
    """A current outage is drawn for as long as it lasts."""
