"""Views for pipes and files: plain lines, or one JSON object per line."""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from runflow_async._text import printable
from runflow_async.cli.messages import say_of
from runflow_async.cli.outages import OutageWatch
from runflow_async.cli.words import item_name, outcome_text

if TYPE_CHECKING:
    from collections.abc import Generator

    from runflow_async import BatchesWait, BatchItem, BatchResults, ItemTransition

__all__ = ["JsonLines", "PlainLines", "print_results"]


class JsonLines:
    """Writes each transition as one line of JSON to standard output and flushes it; outages go to standard error.

    Args:
        waits: the batches.
    """

    def __init__(self, waits: BatchesWait) -> None:
        self._outages = OutageWatch(waits, began=say_of, over=say_of)

    @contextmanager
    def showing(self) -> Generator[None]:
        """Show nothing before or after the transitions."""
        yield

    def show(self, transition: ItemTransition) -> None:
        """Write one line."""
        sys.stdout.buffer.write(msgspec.json.encode(transition) + b"\n")
        sys.stdout.buffer.flush()

    def refresh(self) -> None:
        """Report the start or the end of an outage."""
        self._outages.look(asyncio.get_running_loop().time())


class PlainLines:
    """Writes each transition and each batch's end as one line to standard output; outages go to standard error.

    Args:
        waits: the batches.
    """

    def __init__(self, waits: BatchesWait) -> None:
        self._waits = waits
        self._outages = OutageWatch(waits, began=say_of, over=say_of)
        self._ends_shown = 0

    @contextmanager
    def showing(self) -> Generator[None]:
        """At the end, show the batches' ends that are still missing."""
        yield
        self._show_ends()

    def show(self, transition: ItemTransition) -> None:
        """Write one line, with the time in the local time zone."""
        previous = "(new)" if transition.previous is None else printable(transition.previous, 40)
        self._write(
            transition.observed_at,
            f"{transition.batch_id}  {item_name(transition)}  {previous} -> {printable(transition.current, 40)}",
        )

    def refresh(self) -> None:
        """Write one line for each batch that has ended since; report the start or the end of an outage."""
        self._outages.look(asyncio.get_running_loop().time())
        self._show_ends()

    def _show_ends(self) -> None:
        for wait in self._waits.ended[self._ends_shown :]:
            if wait.has_pending:  # its last transitions come first
                return
            self._ends_shown += 1
            if wait.exception() is None:
                self._write(datetime.now(UTC), f"{wait.batch_id}  {outcome_text(wait)}")

    def _write(self, instant: datetime, text: str) -> None:
        print(f"{instant.astimezone():%H:%M:%S}  {text}", flush=True)


async def print_results(results: BatchResults, *, as_json: bool) -> None:
    """Write each item as one line, and flush it. The errors of batches stay with their waits."""
    with suppress(ExceptionGroup):
        async for item in results:
            if as_json:
                sys.stdout.buffer.write(msgspec.json.encode(item) + b"\n")
                sys.stdout.buffer.flush()
            else:
                print(_result_line(item), flush=True)


def _result_line(item: BatchItem) -> str:
    name = item.client_ref or f"item {'?' if item.sequence_index is None else item.sequence_index}"
    result = item.output or item.error
    shown = "" if result is None else msgspec.json.encode(result).decode()
    cost = "" if item.cost is None else str(item.cost)
    return f"{printable(name, 24):<24}  {printable(item.status_code or '', 40):<10}  {cost:>8}  {printable(shown, 300)}"
