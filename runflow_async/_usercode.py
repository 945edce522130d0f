"""The border to the user's code: some exceptions must not cross it as they are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["UserCode"]

SIGNALS = (StopIteration, StopAsyncIteration, asyncio.CancelledError)


class UserCode:
    """A context in which the user's code runs. What it raises propagates, except in three cases.

    `StopIteration`, `StopAsyncIteration` and a `CancelledError` that nobody requested would silently end the caller's
    loop or task. They become the cause of a RuntimeError, as in generators (PEP 479).

    Args:
        name: names the code in that error.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(exc, SIGNALS) or (isinstance(exc, asyncio.CancelledError) and _is_cancelled()):
            return
        raise RuntimeError(f"{self._name} raised {type(exc).__name__}") from exc


def _is_cancelled() -> bool:
    # Not whether that was during the user's code: Ctrl-C also cancels a running task, at its next await.
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
