"""A promise, the figures that show whether it is kept, and the verdict."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BROKEN", "NOT_TRIED", "Figure", "Promise", "Verdict", "judge"]

HOLDS, BROKEN, NOT_TRIED = "holds", "broken", "not tried"
"""A command that cannot run on this platform prints the reason under this key instead of figures."""


class Figure(NamedTuple):
    """One figure of a result.

    Attributes:
        says: text that the figure is formatted into.
        value: the figure.
        least: a smaller one breaks the promise: too little was tried, or too little was reached.
        most: a greater one breaks the promise.
    """

    says: str
    value: float
    least: float = -math.inf
    most: float = math.inf

    @property
    def holds(self) -> bool:
        """Whether it is within its bounds."""
        return self.least <= self.value <= self.most

    def __str__(self) -> str:
        """Return the figure in words with the bounds, less the zero that every count of what went wrong has."""
        place = self.says[self.says.index("{") : self.says.index("}") + 1]
        bounds = (("at least", self.least), ("at most", self.most))
        shown = [f"{word} {place.format(bound)}" for word, bound in bounds if bound and math.isfinite(bound)]
        return self.says.format(self.value) + (f" ({', '.join(shown)})" if shown else "")


class Promise(NamedTuple):
    """One row of the table.

    Attributes:
        text: what is promised.
        tried: what is done to break it.
        command: arguments of `python -m`, which prints figures as JSON.
        read: takes from that what the promise is judged by.
    """

    text: str
    tried: str
    command: list[str]
    read: Callable[[Any], list[Figure]]


class Verdict(NamedTuple):
    """What came of one promise.

    Attributes:
        result: the figures in words, or why there are none.
        word: "holds", "broken" or "not tried".
    """

    result: str
    word: str

    @property
    def is_broken(self) -> bool:
        """Whether the promise was tried, or should have been, and was not kept."""
        return self.word == BROKEN


def judge(promise: Promise, printed: Any) -> Verdict:
    """Judge what the command of a promise printed.

    Raises:
        LookupError, TypeError, ValueError: if there are no figures in it.
    """
    if isinstance(printed, dict) and NOT_TRIED in printed:
        return Verdict(printed[NOT_TRIED], NOT_TRIED)
    figures = promise.read(printed)
    return Verdict(", ".join(map(str, figures)), HOLDS if all(one.holds for one in figures) else BROKEN)
