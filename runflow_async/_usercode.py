"""The border to code of the user, where some exceptions would be taken for what they are not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["UserCode"]

SIGNALS = (StopIteration, StopAsyncIteration, asyncio.CancelledError)


class UserCode:
    """A context in which code of the user runs; its exceptions come out as they are, but for three.

    `StopIteration`, `StopAsyncIteration` and a `CancelledError` that nobody asked for would end the caller's loop or
    task as if all were well. They become the cause of a RuntimeError, as PEP 479 has it for generators.

    Args:
        name: of the code, for that error.
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
    # Not whether it was meanwhile: Ctrl-C cancels a task that is running, which learns of it with its next await.
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
