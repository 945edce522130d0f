"""Detects missing responses and reports them once for all batches: when an outage starts, and when it is over.

A failure that the next retry fixes does not count; the library's log records those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runflow_async._text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from logging import LogRecord
    from uuid import UUID

    from runflow_async import OngoingOutage
    from runflow_async.cli.following import HasWaits

    Report = Callable[[Sequence[UUID], str], object]

__all__ = ["OutageWatch", "describe_outage", "find_outages", "is_about_something_else"]

REPORTED_AFTER_SECONDS = 3.0
"""Time without a valid response for a batch before the outage is reported."""


def is_about_something_else(record: LogRecord) -> bool:
    """Whether a log record is anything but the library's own report of an outage, which it logs for each batch."""
    return record.name != "runflow_async.outages"


def find_outages(waits: HasWaits) -> dict[UUID, OngoingOutage]:
    """Return the batches that currently get no valid response, the longest outage first."""
    found = {wait.batch_id: outage for wait in waits.waits.values() if (outage := wait.outage) is not None}
    return dict(sorted(found.items(), key=lambda entry: entry[1].since))


def describe_outage(outage: OngoingOutage, now: float) -> str:
    """Describe how long an outage has lasted, how long it may last, and its cause."""
    age, limit = max(now - outage.since, 0.0), outage.until - outage.since
    return f"no valid response for {int(age)} s of {limit:g} s: {printable(str(outage.error), 300)}"


class OutageWatch:
    """Reports when valid responses stop, and when they resume.

    Args:
        waits: the batches.
        began: called with the affected batches and a description when an outage starts.
        over: called with the batches that get valid responses again, and a description.
    """

    def __init__(self, waits: HasWaits, *, began: Report, over: Report) -> None:
        self._waits = waits
        self._began = began
        self._over = over
        self._since = 0.0
        self._silent: set[UUID] = set()

    def look(self, now: float) -> None:
        """Report what has changed; call this about once a second or more often."""
        outages = find_outages(self._waits)
        lasting = {batch_id: one for batch_id, one in outages.items() if now - one.since >= REPORTED_AFTER_SECONDS}
        if lasting and not self._silent:
            longest = next(iter(lasting.values()))
            self._since = longest.since
            self._began(list(outages), describe_outage(longest, now))
        if lasting:
            self._silent.update(outages)
        elif self._silent:
            self._report_end(now)

    def _report_end(self, now: float) -> None:
        ended_well = [batch_id for batch_id in self._silent if not self._has_failed(batch_id)]
        if ended_well:  # the errors of the others are shown at the end
            self._over(ended_well, f"valid responses again, after {now - self._since:.0f} s")
        self._silent.clear()

    def _has_failed(self, batch_id: UUID) -> bool:
        wait = self._waits.waits[batch_id]
        return wait.done() and wait.exception() is not None
