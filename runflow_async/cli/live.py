"""The live view on a terminal: redraws the whole picture, so that a terminal that is resized shows it well."""

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

    from runflow_async._answers.transitions import ItemTransition
    from runflow_async._waits.many import BatchesWait
    from runflow_async.models import BatchItemHandle

__all__ = ["LiveView"]


class LiveView(logging.Handler):
    """One bar per batch, or the slowest of many, with the last transitions below.

    It takes the terminal's other screen while it runs and leaves the last picture on the ordinary one. Warnings are
    shown in the picture, where they do not tear it; the failures of requests as the outage that they are.

    Args:
        console: the terminal.
        earlier: items whose statuses are known from before, by batch.
        names: what batches are called; their ids by default.
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
        """Show the picture on the other screen, and at last what remains of it on the ordinary one."""
        self._waits = waits
        self._outages = OutageWatch(waits, began=_leave_to_picture, over=self._note_of)
        earlier = {batch_id: items.values() for batch_id, items in self._earlier.items() if batch_id in waits.waits}
        self._board = Board(asyncio.get_running_loop().time(), earlier)
        logger = logging.getLogger("runflow_async")
        others = list(logger.handlers)
        for other in others:
            logger.removeHandler(other)
        everything = logging.getLogger()  # asyncio's warnings would tear the picture, too
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
        """Give the terminal back while Ctrl-Z has us stopped."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTSTP, self._stop)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGTSTP)

    def _stop(self) -> None:
        self._console.set_alt_screen(False)
        self._console.show_cursor(True)
        os.kill(os.getpid(), signal.SIGSTOP)  # and here it goes on
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)
        self.refresh()

    def tell(self, transition: ItemTransition) -> None:
        """Take it in; the next picture shows it."""
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
        """Draw the picture in the terminal's present size."""
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
    """An outage under way is drawn as long as it lasts."""
