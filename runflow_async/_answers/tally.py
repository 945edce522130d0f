"""How far the items of a batch are, as three numbers: all that a schedule needs to know of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runflow_async.models import TERMINAL_STATUSES

if TYPE_CHECKING:
    from collections.abc import Collection

    from runflow_async._answers.decoding import PollAnswer

__all__ = ["Tally", "count_statuses", "read_counts"]

NOT_BEGUN = frozenset({"queued", "dispatching"})


class Tally(NamedTuple):
    """How many items have not begun, are running, and have ended."""

    waiting: int
    running: int
    finished: int


def count_statuses(statuses: Collection[str]) -> Tally:
    """The tally of items that are listed one by one."""
    waiting = sum(status in NOT_BEGUN for status in statuses)
    finished = sum(status in TERMINAL_STATUSES for status in statuses)
    return Tally(waiting, len(statuses) - waiting - finished, finished)


def read_counts(answer: PollAnswer) -> Tally:
    """The tally of a batch whose answer lists no items."""
    # Without a list of items the batch's own counts have to do; they do not tell which have begun.
    finished = (answer.items_succeeded or 0) + (answer.items_failed or 0) + (answer.items_cancelled or 0)
    left = max(0, (answer.items_total or 0) - finished)
    return Tally(left, 0, finished) if answer.status_code in NOT_BEGUN else Tally(0, left, finished)
