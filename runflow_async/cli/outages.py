"""Answers that fail to come, noticed and told once for all batches: when it begins, and when it is over.

A failure that the next retry makes good is none; the library's log has those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runflow_async._text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from logging import LogRecord
    from uuid import UUID

    from runflow_async._waits.many import BatchesWait
    from runflow_async._waits.outages import OngoingOutage

    Told = Callable[[Sequence[UUID], str], object]

__all__ = ["OutageWatch", "describe_outage", "find_outages", "is_about_something_else"]

PATIENCE = 3.0
"""Seconds without a good answer about a batch after which that is told."""


def is_about_something_else(record: LogRecord) -> bool:
    """Whether a log record is not the library's own word on an outage, which it gives for each batch."""
    return record.name != "runflow_async._waits.outages"


def find_outages(waits: BatchesWait) -> dict[UUID, OngoingOutage]:
    """The batches about which no good answer comes at the moment, the longest outage first."""
    found = {wait.batch_id: outage for wait in waits.waits.values() if (outage := wait.outage) is not None}
    return dict(sorted(found.items(), key=lambda entry: entry[1].since))


def describe_outage(outage: OngoingOutage, now: float) -> str:
    """How long it has lasted, how long it may, and why."""
    age, limit = max(now - outage.since, 0.0), outage.until - outage.since
    return f"no good answer for {int(age)} s of {limit:g} s: {printable(str(outage.error), 300)}"


class OutageWatch:
    """Says when answers about some batches fail to come, and when good ones come again.

    Args:
        waits: the batches.
        began: takes the batches concerned when an outage has begun, and how it stands.
        over: takes those that are answered again, and what there is to say of it.
    """

    def __init__(self, waits: BatchesWait, *, began: Told, over: Told) -> None:
        self._waits = waits
        self._began = began
        self._over = over
        self._since = 0.0
        self._silent: set[UUID] = set()

    def look(self, now: float) -> None:
        """Say what has changed; called about once a second or more often."""
        outages = find_outages(self._waits)
        lasting = {batch_id: one for batch_id, one in outages.items() if now - one.since >= PATIENCE}
        if lasting and not self._silent:
            longest = next(iter(lasting.values()))
            self._since = longest.since
            self._began(list(outages), describe_outage(longest, now))
        if lasting:
            self._silent.update(outages)
        elif self._silent:
            self._tell_end(now)

    def _tell_end(self, now: float) -> None:
        ended_well = [batch_id for batch_id in self._silent if not self._has_failed(batch_id)]
        if ended_well:  # the others' errors are told at the end
            self._over(ended_well, f"good answers again, after {now - self._since:.0f} s")
        self._silent.clear()

    def _has_failed(self, batch_id: UUID) -> bool:
        wait = self._waits.waits[batch_id]
        return wait.done() and wait.exception() is not None
