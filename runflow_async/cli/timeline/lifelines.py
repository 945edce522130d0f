"""What every item went through, read from the transitions that `runflow-async watch --json` printed.

Pure: lines go in, statuses by seconds since the first event come out. Knows nothing of files and pictures.
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

from runflow_async._answers.transitions import ItemTransition
from runflow_async.cli.lines import item_name
from runflow_async.errors import ConfigurationError
from runflow_async.models import TERMINAL_STATUSES, BatchStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["STRAGGLING", "BatchLifelines", "Lifeline", "Lifelines", "Stay", "read_lifelines"]

STRAGGLING = 2.5
"""How often its batch's median run an item's run lasts to make it a straggler."""
# Runs are seen in whole polls: at 2 or 3 times the median, jitter would decide where all take one poll or two.


class Stay(NamedTuple):
    """A status and the seconds in which it held. A terminal one has no length."""

    status: str
    begin: float
    end: float


class Lifeline(Struct, frozen=True):
    """What was seen of one item.

    Attributes:
        item_id: its identity.
        name: the user's own reference, else its number; printable.
        sequence_index: its place in the batch.
        stays: its statuses, oldest first, at least one. No status stands twice in a row and none after a terminal one.
    """

    item_id: UUID
    name: str
    sequence_index: int
    stays: tuple[Stay, ...]

    @property
    def begin(self) -> float:
        """Seconds at which it was first seen."""
        return self.stays[0].begin

    @property
    def end(self) -> float:
        """Seconds at which it ended, or of the last event of all if it had not."""
        return self.stays[-1].end

    @property
    def outcome(self) -> str | None:
        """Its terminal status, None if it had not ended."""
        status = self.stays[-1].status
        return status if status in TERMINAL_STATUSES else None

    @property
    def work_began(self) -> float | None:
        """Seconds at which it was first seen running; None if it never was, or was from the start."""
        began = next((stay.begin for stay in self.stays if stay.status == BatchStatus.RUNNING), None)
        return None if self.stays[0].status == BatchStatus.RUNNING else began

    @property
    def wait(self) -> float | None:
        """Seconds from when it was first seen until it ran; None if that was not seen."""
        return None if self.work_began is None else self.work_began - self.begin

    @property
    def run(self) -> float | None:
        """Seconds from when it first ran to its end, or to the last event of all; None if its start was not seen.

        What it spent in the queue between two tries counts.
        """
        return None if self.work_began is None else self.end - self.work_began


class BatchLifelines(Struct, frozen=True, dict=True):
    """The items that were seen of one batch, in `sequence_index` order."""

    batch_id: UUID
    items: tuple[Lifeline, ...]

    @cached_property
    def median_wait(self) -> float | None:
        """Seconds; None if no item was seen to begin its run."""
        waits = [item.wait for item in self.items if item.wait is not None]
        return median(waits) if waits else None

    @cached_property
    def median_run(self) -> float | None:
        """Seconds, of the items that have ended; None if no whole run was seen."""
        runs = [item.run for item in self.items if item.run is not None and item.outcome is not None]
        return median(runs) if runs else None

    def slowness(self, item: Lifeline) -> float | None:
        """How often the median run its run lasts, or has lasted so far; None where one of them is not known."""
        return item.run / self.median_run if item.run is not None and self.median_run else None

    def is_straggler(self, item: Lifeline) -> bool:
        """Whether it runs, or ran, far longer than is usual in its batch: over `STRAGGLING` times the median run."""
        slowness = self.slowness(item)
        return slowness is not None and slowness > STRAGGLING


class Lifelines(Struct, frozen=True):
    """All that a file of transitions tells.

    Attributes:
        began_at: when the first event was observed; all seconds count from then.
        duration: seconds until the last event.
        batches: in the order of their first events, at least one.
        note: what was left out of the file and why; None if nothing was.
    """

    began_at: datetime
    duration: float
    batches: tuple[BatchLifelines, ...]
    note: str | None = None


def read_lifelines(lines: Iterable[bytes]) -> Lifelines:
    """Read transitions, one JSON object a line, in any order and as often as they come.

    Blank lines count for nothing. A last line that was cut off, as a killed writer leaves it, is left out with a note.

    Raises:
        ConfigurationError: for any other line that is no transition, with its number; and if there is none at all.
    """
    transitions, note = _decode_all(lines)
    if not transitions:
        raise ConfigurationError(
            f"there is no event to draw{f': {note}' if note else ''}; "
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
    note = None if cut is None else f"line {cut[0]} is cut off and left out: its writer was probably killed"
    return transitions, note


def _refusal(number: int, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"line {number} is no transition: {error}; each line must be as `runflow-async watch --json` prints it"
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
    if transitions[0].previous is not None:  # a resumed watch tells only what changed: until then, it was that
        steps.append((transitions[0].previous, first_seen))
    steps += [(seen.current, (seen.observed_at - began_at).total_seconds()) for seen in transitions]
    last = transitions[-1]
    return Lifeline(last.item.id, item_name(last), last.item.sequence_index, tuple(_stays(steps, duration)))


def _stays(steps: Iterable[tuple[str, float]], duration: float) -> Iterable[Stay]:
    """The steps without repetitions, up to the first terminal one, each until the next."""
    kept: list[tuple[str, float]] = []
    for status, begin in steps:
        if not kept or kept[-1][0] != status:
            kept.append((status, begin))
        if status in TERMINAL_STATUSES:
            break
    ends = [begin for _, begin in kept[1:]] + [kept[-1][1] if kept[-1][0] in TERMINAL_STATUSES else duration]
    return [Stay(status, begin, end) for (status, begin), end in zip(kept, ends, strict=True)]
