"""Run a command's coroutine until it ends or a signal ends it."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runflow_async.cli.screen import give_back
from runflow_async.cli.streams import SIGNALLED, leave_pipe

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

__all__ = ["run_async"]


def run_async(main: Coroutine[Any, Any, int]) -> int:
    """Run a command's coroutine. Ctrl-C, SIGTERM, or the SIGHUP of a closed terminal ends it cleanly."""
    ending = Ending()
    try:
        return asyncio.run(ending.guard(main))
    except (asyncio.CancelledError, OSError) as error:  # writing to a closed terminal fails, too
        if ending.received:
            return SIGNALLED + ending.received[-1]
        if isinstance(error, OSError) and error.errno == errno.EIO and hasattr(signal, "SIGHUP"):
            return SIGNALLED + signal.SIGHUP  # the terminal is gone, and its signal not here yet
        if isinstance(error, BrokenPipeError):  # click would turn this into exit status 1
            return leave_pipe()
        raise
    finally:
        give_back()
        ending.restore()


class Ending:
    """The signals that end a command: the first one cancels it.

    A second Ctrl-C or SIGTERM ends the process at once, with no other cleanup than giving the terminal back.
    Further SIGHUPs are ignored: the shell and the kernel send one each.

    Attributes:
        received: the signals so far.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        numbers = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")]  # Windows has no SIGHUP
        self._before: dict[int, Any] = {number: signal.getsignal(number) for number in numbers if number is not None}

    async def guard(self, main: Coroutine[Any, Any, int]) -> int:
        """Run the coroutine."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def end(number: int, _frame: object) -> None:
            self.received.append(number)
            signal.signal(number, NEXT_TIME.get(number, signal.SIG_IGN))
            if task is not None:
                loop.call_soon_threadsafe(task.cancel)

        self._handle(dict.fromkeys(self._before, end))
        return await main

    def restore(self) -> None:
        """Restore the previous handlers, except for the signals received: the process is about to exit."""
        self._handle(self._before | {number: NEXT_TIME.get(number, signal.SIG_IGN) for number in self.received})

    def _handle(self, handlers: Mapping[int, Any]) -> None:
        for number, handler in handlers.items():
            if self._before[number] not in (signal.SIG_IGN, None):  # ignored by nohup, or not Python's to replace
                with suppress(ValueError):  # outside the main thread, which gets no signals
                    signal.signal(number, handler)


def _leave(number: int, _frame: object) -> None:
    """End the process here: an exception, raised anywhere in the event loop, could leave its futures unresolved."""
    give_back()
    os._exit(SIGNALLED + number)


NEXT_TIME: dict[int, Any] = {signal.SIGINT: _leave, signal.SIGTERM: _leave}
"""What a second signal of the same kind does from the first one on; SIGHUP is ignored."""
