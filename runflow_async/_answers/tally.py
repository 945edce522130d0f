"""Count how far the items of a batch are, which is all that a schedule needs to know about them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from runflow_async.models import TERMINAL_STATUSES, Phase, phase_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runflow_async._answers.decoding import PollAnswer

__all__ = ["Tally", "adjust_tally", "count_statuses", "read_counts"]


class Tally(NamedTuple):
    """How many items have not begun, are running, and have ended."""

    waiting: int
    running: int
    finished: int


def count_statuses(statuses: Iterable[str]) -> Tally:
    """Tally items that are listed one by one. An unknown status counts as running."""
    counts = Counter(statuses)
    waiting = sum(counts[status] for status in counts if phase_of(status) is Phase.WAITING)
    finished = sum(counts[status] for status in counts if status in TERMINAL_STATUSES)
    return Tally(waiting, counts.total() - waiting - finished, finished)


def adjust_tally(tally: Tally, changes: Iterable[tuple[str | None, str]]) -> Tally:
    """The tally after these changes, each from one status, or none, to another."""
    counts = list(tally)
    for previous, current in changes:
        counts[_column(current)] += 1
        if previous is not None:
            counts[_column(previous)] -= 1
    return Tally(*counts)


def _column(status: str) -> int:
    if status in TERMINAL_STATUSES:
        return 2
    return 0 if phase_of(status) is Phase.WAITING else 1


def read_counts(answer: PollAnswer) -> Tally:
    """Tally a batch whose answer lists no items, from its own counts.

    The counts do not say how many have begun, so its status decides.
    """
    left = max(0, (answer.items_total or 0) - answer.items_ended)
    if phase_of(answer.status_code) is Phase.WAITING:
        return Tally(left, 0, answer.items_ended)
    return Tally(0, left, answer.items_ended)
