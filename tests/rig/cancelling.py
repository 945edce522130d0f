"""Cancel a coroutine wherever it can be cancelled, one place after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

__all__ = ["Cut", "cancel_at_every_suspension"]


@dataclass(frozen=True)
class Cut:
    """What became of one run.

    Attributes:
        at: the suspension at which it was cancelled, from 1 on.
        suspensions: how often it suspended in all; less than `at` if it ended before it could be cancelled.
        error: what it raised; CancelledError, unless it ended before.
        result: what it returned, if it ended before.
    """

    at: int
    suspensions: int
    error: BaseException | None = None
    result: Any = None

    @property
    def cancelled(self) -> bool:
        """Whether it got as far as the place where it was to be cancelled."""
        return self.suspensions >= self.at


async def cancel_at_every_suspension(
    make_coroutine: Callable[[], Coroutine[Any, Any, Any]],
    *,
    settle: Callable[[Cut], Awaitable[None]] | None = None,
    late: bool = False,
    limit: int = 10_000,
) -> list[Cut]:
    """Run a fresh coroutine in a task of its own and cancel it at its first suspension, the next one at its second...

    A suspension is every time that the coroutine hands control back to the event loop. It ends with the first run that
    comes to its end before its turn to be cancelled. No time is waited, so loops whose time jumps do as well.

    Args:
        make_coroutine: called for every run.
        settle: awaited after every run with what became of it; the place to check what was left behind.
        late: cancel when what is awaited is there already, but the coroutine has not been resumed with it: whatever
            it was about to be given must not be lost.
        limit: runs after which to give up.

    Returns:
        One `Cut` for each run; the last one was not cancelled.

    Raises:
        AssertionError: if a cancelled run ends with anything but CancelledError, a normal end included.
        Exception: what the run that was not cancelled raised.
    """
    cuts: list[Cut] = []
    for at in range(1, limit + 1):
        cut = await _run_until(at, make_coroutine(), late=late)
        cuts.append(cut)
        if cut.cancelled and not isinstance(cut.error, asyncio.CancelledError):
            outcome = f"returned {cut.result!r}" if cut.error is None else f"raised {cut.error!r}"
            raise AssertionError(f"cancelled at suspension {at}, it {outcome}") from cut.error
        if settle is not None:
            await settle(cut)
        if not cut.cancelled:
            if cut.error is not None:
                raise cut.error
            return cuts
    raise AssertionError(f"it still suspends after {limit} runs")


async def _run_until(at: int, coroutine: Coroutine[Any, Any, Any], *, late: bool) -> Cut:
    watched = _Watched(coroutine, at, late=late)
    task = asyncio.create_task(watched)
    try:
        await asyncio.wait({task})
    finally:
        if not task.done():  # the driver itself was cancelled
            task.cancel()
            await asyncio.wait({task})
    if task.cancelled():
        return Cut(at, watched.suspensions, error=asyncio.CancelledError())
    error = task.exception()
    return Cut(at, watched.suspensions, error=error, result=task.result() if error is None else None)


class _Watched(Coroutine[Any, Any, Any]):
    """A coroutine that counts its suspensions and cancels its task at one of them."""

    def __init__(self, inner: Coroutine[Any, Any, Any], at: int, *, late: bool) -> None:
        self.suspensions = 0
        self._inner = inner
        self._at = at
        self._late = late

    def __await__(self) -> Any:
        raise NotImplementedError("it runs in a task")

    def send(self, value: Any) -> Any:
        return self._suspend(self._inner.send(value))

    def throw(self, *error: Any) -> Any:
        return self._suspend(self._inner.throw(*error))

    def close(self) -> None:
        self._inner.close()

    def _suspend(self, awaited: Any) -> Any:
        self.suspensions += 1
        if self.suspensions == self._at:
            task = asyncio.current_task()
            assert task is not None
            if self._late and awaited is not None:
                # Called before the task's own callback, which resumes the coroutine.
                awaited.add_done_callback(lambda _: task.cancel())
            else:
                task.cancel()
        return awaited
