"""The border to functions of the user, where some exceptions would be taken for what they are not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["UserCode"]

SIGNALS = (StopIteration, StopAsyncIteration, asyncio.CancelledError)


class UserCode:
    """A context in which a function of the user runs; its exceptions come out as they are, but for three.

    `StopIteration`, `StopAsyncIteration` and a `CancelledError` that nobody asked for would end the caller's loop or
    task as if all were well. They become the cause of a RuntimeError, as PEP 479 has it for generators.

    Args:
        name: of the function, for that error.
    """

    __slots__ = ("_cancelling", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._cancelling = 0

    def __enter__(self) -> Self:
        self._cancelling = _count_cancellations()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(exc, SIGNALS):
            return
        if isinstance(exc, asyncio.CancelledError) and _count_cancellations() > self._cancelling:
            return
        raise RuntimeError(f"{self._name} raised {type(exc).__name__}") from exc


def _count_cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0
