"""A progress bar for a wait, in a terminal or a notebook, drawn by tqdm or rich.

    from runflow_async.progress import progress

    batches = await progress(session.wait_for_batches(batch_ids))

Install `runflow-async[progress]`, or rich.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar, overload

from runflow_async import BatchesWait, BatchWait
from runflow_async._bars import Bar, Reading, choose_bar
from runflow_async._shown import UNFINISHED, join_parts, outlook_text
from runflow_async._statuses import KINDS, kind_of
from runflow_async.errors import ConfigurationError
from runflow_async.models import Batch, ItemTransition

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Mapping
    from uuid import UUID

__all__ = ["progress"]

logger = logging.getLogger("runflow_async")

TICK_SECONDS = 0.5
"""How often the bar is drawn while nothing changes."""
SHORT_ID = 8
LEAST_PAUSE_SECONDS = 0.1
"""From one drawing to the next, however many transitions arrive."""

Result = TypeVar("Result")


@overload
def progress(wait_or_waits: BatchWait, *, bar: Literal["tqdm", "rich"] | None = None) -> _Progress[Batch]: ...


@overload
def progress(wait_or_waits: BatchesWait, *, bar: Literal["tqdm", "rich"] | None = None) -> _Progress[list[Batch]]: ...


def progress(
    wait_or_waits: BatchWait | BatchesWait, *, bar: Literal["tqdm", "rich"] | None = None
) -> _Progress[Batch] | _Progress[list[Batch]]:
    """Await or iterate a wait under a bar of its items: how many have ended, how, and when the rest should.

    Awaited, it returns what the wait returns. Iterated, it yields what the wait yields, in the same order. It raises
    the same errors. A transition is recorded in a
    checkpoint when the loop comes back for the next one, and a slow loop slows polling. The bar is closed when the loop
    is left in any way: at the end, by `break`, by an exception, or by cancellation. If you iterate again, it is drawn
    again. It is drawn on standard error, or in the notebook; if that is no terminal, nothing is drawn.

    Args:
        wait_or_waits: what `wait_for_batch`, `wait_for_batches` or a `create_` method returned.
        bar: what draws it; the default is tqdm, or rich if only that is installed.

    Raises:
        ConfigurationError: at once, if an argument is invalid, or if what should draw is not installed.
    """
    make_bar = choose_bar(bar)
    if isinstance(wait_or_waits, BatchWait):
        return _Progress(wait_or_waits, wait_or_waits, make_bar)
    if isinstance(wait_or_waits, BatchesWait):
        return _Progress(wait_or_waits, wait_or_waits, make_bar)
    kind = type(wait_or_waits)
    text = "progress() takes a wait of an asynchronous session, made by wait_for_batch or wait_for_batches"
    place = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    raise ConfigurationError(f"{text}, not a {place}{kind.__qualname__}")


class _Progress(AsyncIterator[ItemTransition], Generic[Result]):
    """A wait that is iterated, and its bar, which is open from the first transition until the loop is left."""

    def __init__(
        self, source: BatchWait | BatchesWait, result: Awaitable[Result], make_bar: Callable[[Reading], Bar]
    ) -> None:
        self._source = source
        self._result = result
        self._make_bar = make_bar
        self._bar: Bar | None = None
        self._is_broken = False
        self._counts: Counter[str] = Counter()
        self._counted: set[UUID] = set()
        self._known = 0  # how many items these batches had when they were counted first
        self._drawn_at = -math.inf
        self._ticking: asyncio.TimerHandle  # while somebody awaits the next transition

    def __repr__(self) -> str:
        return f"<progress of {self._source!r}, to be awaited or iterated>"

    def __await__(self) -> Generator[Any, None, Result]:
        return self._complete().__await__()

    async def _complete(self) -> Result:
        async for _ in self:
            pass
        return await self._result

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ItemTransition:
        self._ticking = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)
        try:
            transition = await anext(self._source)
        except BaseException:
            self._finish()
            raise
        finally:
            self._ticking.cancel()
        with self._harmless():
            self._count(transition)
            if time.monotonic() >= self._drawn_at + LEAST_PAUSE_SECONDS:
                self._draw()
        return transition

    def __del__(self) -> None:
        if self._bar is not None:  # the loop was left by `break` or by an exception
            self._finish()

    def _tick(self) -> None:
        with self._harmless():
            self._draw()
        self._ticking = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def _finish(self) -> None:
        with self._harmless():
            self._count_rest()
            self._draw()
        self._close()

    @contextmanager
    def _harmless(self) -> Generator[None]:
        """Whatever goes wrong with the bar, the wait goes on, and no transition is lost."""
        try:
            yield
        except Exception:
            self._is_broken = True
            logger.warning("the progress bar cannot be drawn; the wait goes on without it", exc_info=True)
            self._close()

    def _close(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            with suppress(Exception):  # of a terminal that is gone
                bar.close()

    def _count(self, transition: ItemTransition) -> None:
        if self._is_broken:
            return
        if transition.batch_id not in self._counted:
            self._count_delivered(self._waits[transition.batch_id])
            return
        if transition.previous is not None:
            self._counts[kind_of(transition.previous)] -= 1
        self._counts[kind_of(transition.current)] += 1

    def _count_rest(self) -> None:
        """Count what was known from before of the batches that have not changed since."""
        for batch_id, wait in self._waits.items():
            if batch_id not in self._counted and wait.batch is not None:
                self._count_delivered(wait)

    def _count_delivered(self, wait: BatchWait) -> None:
        """Count all that was delivered of a batch, now and by earlier waits; the rest of its items is to come."""
        self._counted.add(wait.batch_id)
        self._known += 0 if wait.batch is None else len(wait.batch.items or ())
        self._counts.update(kind_of(item.status_code) for item in wait.delivered.items or ())

    @property
    def _waits(self) -> Mapping[UUID, BatchWait]:
        source = self._source
        return {source.batch_id: source} if isinstance(source, BatchWait) else source.waits

    def _draw(self) -> None:
        if self._is_broken or not self._counts.total():
            return
        self._drawn_at = time.monotonic()
        reading = self._read()
        if self._bar is None:
            self._bar = self._make_bar(reading)
        self._bar.draw(reading)

    def _read(self) -> Reading:
        counts, waits = self._counts, list(self._waits)
        name = f"batch {str(waits[0])[:SHORT_ID]}" if len(waits) == 1 else f"{len(waits):,} batches"
        kinds = [f"{counts[kind]:,} {kind}" for kind in KINDS[1:] if counts[kind]]
        text = join_parts([*kinds, outlook_text(self._source.estimate())])
        ended = counts.total() - sum(counts[kind] for kind in UNFINISHED)
        return Reading(name, ended, max(counts.total(), self._known), text)
