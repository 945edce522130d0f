"""A wait that is dropped before anybody used it says so, as a coroutine does: most often an `await` was forgotten."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["WarnsIfUnused"]


class WarnsIfUnused:
    """Base of the objects that do nothing until they are awaited or iterated.

    Args:
        call: the call that made it, for the warning; None if dropping it is no mistake.
        is_moot: whether using it has become impossible meanwhile, so that there is nothing to warn of.
    """

    def __init__(self, call: str | None, is_moot: Callable[[], bool]) -> None:
        self._call = call
        self._is_moot = is_moot

    def _note_use(self) -> None:
        self._call = None

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        # The function is kept in its default: the module may be gone when the interpreter exits.
        if self._call is not None and not self._is_moot():
            text = f"{self._call} was never awaited or iterated"
            warn(text, RuntimeWarning, stacklevel=2, source=self)  # at the line that dropped it
