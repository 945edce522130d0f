"""The history of every item, read from the transitions printed by `runflow-async watch --json`.

Pure: takes lines, returns statuses by seconds since the first event. Knows nothing of files and pictures.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from functools import cached_property
from operator import attrgetter
from statistics import median
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Struct

from runflow_async.cli.words import item_name
from runflow_async.errors import ConfigurationError
from runflow_async.models import TERMINAL_STATUSES, BatchStatus, ItemTransition

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["STRAGGLING", "BatchLifelines", "Lifeline", "Lifelines", "Stay", "read_lifelines"]

STRAGGLING = 2.5
"""An item is a straggler if it ran longer than this many times its batch's median."""
# Runs are measured in whole polls: at 2 or 3 times the median, jitter would decide if all items take one or two polls.


class Stay(NamedTuple):
    """A status, with the seconds at which it started and ended. A terminal one has no length."""

    status: str
    begin: float
    end: float


class Lifeline(Struct, frozen=True):
    """The observed history of one item.

    Attributes:
        item_id: its id.
        name: the user's own reference, or else its number; printable.
        sequence_index: its place in the batch.
        stays: its statuses, oldest first, at least one. Neighbours differ, and none follows a terminal one.
    """

    item_id: UUID
    name: str
    sequence_index: int
    stays: tuple[Stay, ...]

    @property
    def begin(self) -> float:
        """Time at which it was first seen, in seconds."""
        return self.stays[0].begin

    @property
    def end(self) -> float:
        """Time at which it ended, in seconds, or time of the last event if it had not."""
        return self.stays[-1].end

    @property
    def outcome(self) -> str | None:
        """Its terminal status; None if it had not ended."""
        status = self.stays[-1].status
        return status if status in TERMINAL_STATUSES else None

    @property
    def work_began(self) -> float | None:
        """Time at which it was first seen running, in seconds; None if it never was, or was from the start."""
        began = next((stay.begin for stay in self.stays if stay.status == BatchStatus.RUNNING), None)
        return None if self.stays[0].status == BatchStatus.RUNNING else began

    @property
    def wait(self) -> float | None:
        """Seconds from when it was first seen until it ran; None if unknown."""
        return None if self.work_began is None else self.work_began - self.begin

    @property
    def run(self) -> float | None:
        """Seconds from when it first ran until it ended, or until the last event; None if its start was not seen.

        Time in the queue between two attempts is included.
        """
        return None if self.work_began is None else self.end - self.work_began


class BatchLifelines(Struct, frozen=True, dict=True):
    """The observed items of one batch, in `sequence_index` order."""

    batch_id: UUID
    items: tuple[Lifeline, ...]

    @cached_property
    def median_wait(self) -> float | None:
        """Median wait in seconds; None if no item was seen to start running."""
        waits = [item.wait for item in self.items if item.wait is not None]
        return median(waits) if waits else None

    @cached_property
    def median_run(self) -> float | None:
        """Median run in seconds of the items that have ended; None if no whole run was seen."""
        runs = [item.run for item in self.items if item.run is not None and item.outcome is not None]
        return median(runs) if runs else None

    def slowness(self, item: Lifeline) -> float | None:
        """The item's run so far as a multiple of the median run; None if one of them is unknown."""
        return item.run / self.median_run if item.run is not None and self.median_run else None

    def is_straggler(self, item: Lifeline) -> bool:
        """Whether it runs, or ran, longer than `STRAGGLING` times the batch's median run."""
        slowness = self.slowness(item)
        return slowness is not None and slowness > STRAGGLING


class Lifelines(Struct, frozen=True):
    """The contents of a file of transitions.

    Attributes:
        began_at: when the first event was observed; all seconds count from then.
        duration: seconds until the last event.
        batches: in the order of their first events, at least one.
        note: what was skipped in the file and why; None if nothing was.
    """

    began_at: datetime
    duration: float
    batches: tuple[BatchLifelines, ...]
    note: str | None = None


def read_lifelines(lines: Iterable[bytes]) -> Lifelines:
    """Read transitions, one JSON object per line, in any order; duplicates are allowed.

    Blank lines are ignored. A truncated last line, as a killed writer leaves it, is skipped with a note.

    Raises:
        ConfigurationError: if another line is not a transition, with its number, or if there are no transitions.
    """
    transitions, note = _decode_all(lines)
    if not transitions:
        raise ConfigurationError(
            f"there are no events to draw{f': {note}' if note else ''}; "
            "write some with `runflow-async watch --json BATCH_ID > events.ndjson`"
        )
    transitions.sort(key=attrgetter("observed_at"))
    began_at = transitions[0].observed_at
    duration = (transitions[-1].observed_at - began_at).total_seconds()
    by_batch: defaultdict[UUID, list[ItemTransition]] = defaultdict(list)
    for transition in transitions:
        by_batch[transition.batch_id].append(transition)
    batches = tuple(_batch_of(seen, began_at, duration) for seen in by_batch.values())
    return Lifelines(began_at, duration, batches, note)


def _decode_all(lines: Iterable[bytes]) -> tuple[list[ItemTransition], str | None]:
    transitions: list[ItemTransition] = []
    cut: tuple[int, Exception] | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if cut is not None:
            raise _refusal(*cut)
        try:
            transitions.append(_decode(line))
        except (ValueError, RecursionError) as error:
            if line.endswith(b"\n") or isinstance(error, msgspec.ValidationError):
                raise _refusal(number, error) from error
            cut = number, error
    note = None if cut is None else f"line {cut[0]} is truncated and was skipped: its writer was probably killed"
    return transitions, note


def _refusal(number: int, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"line {number} is not a transition: {error}; each line must be as `runflow-async watch --json` prints it"
    )


_decoder = msgspec.json.Decoder(ItemTransition)


def _decode(line: bytes) -> ItemTransition:
    transition = _decoder.decode(line)
    if transition.observed_at.tzinfo is None:
        raise msgspec.ValidationError("observed_at has no time zone")
    return transition


def _batch_of(transitions: Sequence[ItemTransition], began_at: datetime, duration: float) -> BatchLifelines:
    by_item: defaultdict[UUID, list[ItemTransition]] = defaultdict(list)
    for transition in transitions:
        by_item[transition.item.id].append(transition)
    first_seen = (transitions[0].observed_at - began_at).total_seconds()
    items = [_lifeline_of(seen, began_at, first_seen, duration) for seen in by_item.values()]
    items.sort(key=lambda item: (item.sequence_index, item.item_id))
    return BatchLifelines(transitions[0].batch_id, tuple(items))


def _lifeline_of(
    transitions: Sequence[ItemTransition], began_at: datetime, first_seen: float, duration: float
) -> Lifeline:
    steps: list[tuple[str, float]] = []
    if transitions[0].previous is not None:  # a resumed watch prints only changes: until then, this was its status
        steps.append((transitions[0].previous, first_seen))
    steps += [(seen.current, (seen.observed_at - began_at).total_seconds()) for seen in transitions]
    last = transitions[-1]
    return Lifeline(last.item.id, item_name(last), last.item.sequence_index, tuple(_stays(steps, duration)))


def _stays(steps: Iterable[tuple[str, float]], duration: float) -> Iterable[Stay]:
    """The steps without repetitions, up to the first terminal one, each with its end."""
    kept: list[tuple[str, float]] = []
    for status, begin in steps:
        if not kept or kept[-1][0] != status:
            kept.append((status, begin))
        if status in TERMINAL_STATUSES:
            break
    ends = [begin for _, begin in kept[1:]] + [kept[-1][1] if kept[-1][0] in TERMINAL_STATUSES else duration]
    return [Stay(status, begin, end) for (status, begin), end in zip(kept, ends, strict=True)]
