"""A batch described for a terminal: what failed and why comes first, then the status, the counts and the times.

Pure: takes the batch and its failed items, returns lines that wrap at any width.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
from rich.columns import Columns
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from runflow_async._text import duration_text, printable
from runflow_async.cli.bars import STYLES, style_of_status
from runflow_async.models import KINDS, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from rich.console import RenderableType

    from runflow_async.models import Batch, BatchItem

__all__ = ["describe", "has_failed", "has_failures"]

LONGEST = 1000
"""Characters of one value."""
MOST_REASONS = 10
"""How many reasons of failures are shown."""
MOST_NAMES = 20
"""How many items are named for each reason."""
WITHOUT_ROW = frozenset(
    {"id", "input", "links", "items", "items_total", "items_succeeded", "items_failed", "items_cancelled"}
    | {"failure_code", "failure_message", "failure_stage_code"}
    | {"status_code", "created_at", "started_at", "completed_at", "duration_ms"}
)
"""Fields of a batch without a row of their own name: others show them, or they are of no use to people."""


def has_failed(item: BatchItem) -> bool:
    """Whether the item has failed."""
    return kind_of(item.status_code or "") == "failed"


def has_failures(batch: Batch) -> bool:
    """Whether an item of the batch has failed."""
    return bool(batch.items_failed or _counts_of(batch)["failed"])


def _counts_of(batch: Batch) -> Counter[str]:
    """Count the items by kind: those that are listed, else what the batch says of itself."""
    if batch.items:
        return Counter(kind_of(item.status_code) for item in batch.items)
    said = {"succeeded": batch.items_succeeded, "failed": batch.items_failed, "cancelled": batch.items_cancelled}
    counts = Counter({kind: count or 0 for kind, count in said.items()})
    return counts + Counter(other=(batch.items_total or 0) - counts.total())


def describe(batch: Batch, failed: Sequence[BatchItem], now: datetime) -> list[RenderableType]:
    """Describe a batch.

    Args:
        batch: what to describe.
        failed: its items that have failed.
        now: the current time.
    """
    counts = {kind: count for kind, count in _counts_of(batch).items() if count}
    lines: list[RenderableType] = [Text(f"batch {batch.id}", style="bold"), Text()]
    if reason := _reason(batch.failure_code, batch.failure_message, batch.failure_stage_code):
        lines += [Text(f"the batch failed: {reason}", style=STYLES["failed"]), Text()]
    if failed:
        lines += _failures(failed, max(sum(counts.values()), len(failed)))
    if batch.is_terminal and (failed or counts.get("cancelled")):
        command = Text(f"  runflow-async resubmit MODEL {batch.id}", no_wrap=True, overflow="ignore")  # to be copied
        lines += [Text("To send what did not succeed again:"), command, Text()]
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in _rows(batch, counts, now):
        table.add_row(name, value)
    return [*lines, table]


def _failures(failed: Sequence[BatchItem], total: int) -> Iterable[RenderableType]:
    """Describe the failed items, those of the same reason together."""
    by_reason: dict[str, list[str]] = {}
    for item in failed:
        by_reason.setdefault(_reason_of(item), []).append(_name(item))
    items = "1 item" if total == 1 else f"{total:,} items"
    yield Text(f"{len(failed):,} of {items} failed", style=STYLES["failed"])
    for reason, names in list(by_reason.items())[:MOST_REASONS]:
        more = [f"and {len(names) - MOST_NAMES:,} more"] if len(names) > MOST_NAMES else []
        yield _indented(Text(reason, style="red"), 2)
        yield _indented(Columns([Text(name) for name in [*names[:MOST_NAMES], *more]], padding=(0, 2)), 4)
    if len(by_reason) > MOST_REASONS:
        yield _indented(Text(f"and {len(by_reason) - MOST_REASONS:,} more reasons"), 2)
    yield Text()


def _indented(what: RenderableType, cells: int) -> RenderableType:
    return Padding(what, (0, 0, 0, cells), expand=False)


def _name(item: BatchItem) -> str:
    number = "#?" if item.sequence_index is None else f"#{item.sequence_index}"
    return f"{number} {printable(item.client_ref, 60)}" if item.client_ref else number


def _reason_of(item: BatchItem) -> str:
    """Say why an item failed: in the words of its error, or else of its run."""
    error, run = item.error or {}, item.run or {}
    code = error.get("code") or run.get("failure_code")
    message = error.get("message") or run.get("failure_message")
    reason = _reason(code, message, run.get("failure_stage_code")) or "no reason given"
    others = {name: value for name, value in error.items() if name not in ("code", "message") and value is not None}
    return f"{reason} ({_pairs(others)})" if others else reason


def _reason(code: object, message: object, stage: object) -> str:
    text = ": ".join(_text(part) for part in (code, message) if part)
    return f"{text} (stage {_text(stage)})" if text and stage else text


def _pairs(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{printable(name)}: {_text(value)}" for name, value in fields.items())


def _rows(batch: Batch, counts: Mapping[str, int], now: datetime) -> Iterable[tuple[str, Text]]:
    """Return the name and the value of each row: every field that is set."""
    if batch.status_code:
        yield "status", Text(printable(batch.status_code, 40), style=style_of_status(batch.status_code))
    if counts:
        yield "items", _counts(counts)
    for name in ("created_at", "started_at", "completed_at"):
        if getattr(batch, name) is not None:
            yield name, Text(_instant(batch, name, now))
    if batch.duration_ms is not None:
        yield "duration", Text(duration_text(batch.duration_ms / 1000))
    for name in batch.__struct_fields__:
        if name not in WITHOUT_ROW and getattr(batch, name) is not None:
            yield name, Text(_text(getattr(batch, name)))


def _counts(counts: Mapping[str, int]) -> Text:
    shown = Text(f"{sum(counts.values()):,}: ")
    parts = [Text(f"{counts[kind]:,} {kind}", style=STYLES[kind]) for kind in KINDS if counts.get(kind)]
    return shown + Text(", ").join(parts)


def _instant(batch: Batch, name: str, now: datetime) -> str:
    """Format a time in the local time zone, and how long it was after the one before, or is ago."""
    instant: datetime = getattr(batch, name)
    shown = f"{instant.astimezone():%Y-%m-%d %H:%M:%S %z}"
    before = {"started_at": batch.created_at, "completed_at": batch.started_at}.get(name)
    if before is not None:
        return f"{shown} ({duration_text(max((instant - before).total_seconds(), 0.0))} later)"
    if name == "created_at" and not batch.is_terminal:
        return f"{shown} ({duration_text(max((now - instant).total_seconds(), 0.0))} ago)"
    return shown


def _text(value: object) -> str:
    return printable(value if isinstance(value, str) else msgspec.json.encode(value).decode().strip('"'), LONGEST)
