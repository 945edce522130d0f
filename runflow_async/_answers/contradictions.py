"""Log the items that had ended and are now reported otherwise."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from runflow_async.models import TERMINAL_STATUSES, phase_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runflow_async._answers.lenient import Warn
    from runflow_async.models import ItemTransition

__all__ = ["is_second_end", "report_contradictions"]

logger = logging.getLogger("runflow_async")


def report_contradictions(contradictions: Iterable[ItemTransition], warn: Warn) -> None:
    """Warn of items with a second end. An answer older than the end is worth no more than a line for debugging."""
    for one in contradictions:
        details = one.item.id, one.previous, one.current
        if is_second_end(one):
            warn("item %s ended as %r and is now reported as %r; the first end stays", *details)
        else:
            logger.debug("item %s ended as %r; a stale answer says %r", *details)


def is_second_end(transition: ItemTransition) -> bool:
    """Whether an item that had ended now has a different end, and not just a different spelling."""
    ends = {transition.previous, transition.current}
    return ends <= TERMINAL_STATUSES and len({phase_of(end) for end in ends}) > 1
