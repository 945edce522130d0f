"""Iterate lists of transitions; what each list is, and when there is one, is up to the wait."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runflow_async.models import ItemTransition

__all__ = ["Batched"]


class Batched(AsyncIterator[list["ItemTransition"]]):
    """The lists of one wait. It keeps nothing, so leaving it or a cancelled `anext` loses nothing.

    Args:
        next_list: returns the next list, or raises StopAsyncIteration.
    """

    def __init__(self, next_list: Callable[[], Coroutine[Any, Any, list[ItemTransition]]]) -> None:
        self._next_list = next_list

    def __anext__(self) -> Coroutine[Any, Any, list[ItemTransition]]:
        return self._next_list()
