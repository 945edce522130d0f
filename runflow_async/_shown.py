"""How batches are shown to people: in short texts, and in a notebook. Whatever the server sent, nothing raises."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from functools import partial
from html import escape
from typing import TYPE_CHECKING

from runflow_async._statuses import KINDS, kind_of
from runflow_async._text import duration_text, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runflow_async._waits.estimates import Estimate
    from runflow_async.models import Batch, ItemTransition

__all__ = [
    "MOST_ROWS",
    "UNFINISHED",
    "batch_row",
    "counts_of",
    "describe_batch",
    "describe_counts",
    "describe_transition",
    "join_parts",
    "outlook_text",
    "quoted",
    "table_of",
]

LONGEST_NAME = 60
UNFINISHED = ("running", "queued", "other")
"""Kinds of items that have not ended."""
MOST_ROWS = 20
"""Rows of a table; more batches are counted."""
COLOURS = {
    "succeeded": "#2e9e5b",
    "failed": "#d64545",
    "cancelled": "#a15bc4",
    "running": "#3b8fd6",
    "queued": "#b8bec7",
    "other": "#d9a62e",
}


def quoted(text: str | None) -> str:
    """Return a text of the server in quotes, cut if it is long."""
    return f"'{printable(text, LONGEST_NAME)}'" if isinstance(text, str) else str(text)


def counts_of(batch: Batch) -> dict[str, int]:
    """Count the items by kind: those that are listed, else what the batch says of itself."""
    if batch.items:
        return dict(Counter(kind_of(item.status_code) for item in batch.items))
    ended = {
        "succeeded": batch.items_succeeded or 0,
        "failed": batch.items_failed or 0,
        "cancelled": batch.items_cancelled or 0,
    }
    kind = kind_of(batch.status_code or "")
    left = max((batch.items_total or 0) - sum(ended.values()), 0)
    return ended | {kind if kind in UNFINISHED else "other": left}


def describe_counts(counts: Mapping[str, int]) -> str:
    """Say how many items have ended, and how many of them did not succeed."""
    total = sum(counts.values())
    ended = total - sum(counts.get(kind, 0) for kind in UNFINISHED)
    bad = [f"{counts[kind]:,} {kind}" for kind in ("failed", "cancelled") if counts.get(kind)]
    return join_parts([f"{ended:,} of {total:,} item{'' if total == 1 else 's'} ended", *bad])


def describe_transition(transition: ItemTransition) -> str:
    """Describe a transition; one that was made by hand may have any item."""
    item, found = transition.item, partial(getattr, transition.item)
    change = f"{quoted(transition.previous)} -> {quoted(found('status_code', None))}"
    name = f"item {found('sequence_index', item)} {quoted(found('client_ref', None))}"
    return f"{name} of {transition.batch_id}: {change}"


def describe_batch(batch: Batch) -> str:
    """Describe a batch without its id."""
    status = printable(batch.status_code, LONGEST_NAME) if batch.status_code else "without a status"
    counts = counts_of(batch)
    return f"{status}, {describe_counts(counts)}" if sum(counts.values()) else status


def outlook_text(estimate: Estimate | None) -> str:
    """Say in how long something is expected to end, and between which bounds; nothing if that is not known."""
    if estimate is None:
        return ""
    now = datetime.now(UTC)
    low, left, high = (
        duration_text(max((instant - now).total_seconds(), 0.0))
        for instant in (estimate.earliest, estimate.ends_at, estimate.latest)
    )
    return f"ends in {left} ({low} to {high})"


def batch_row(name: str, counts: Mapping[str, int], state: str) -> str:
    """Return a row of a table: the name, a bar of the items by kind, and the state in words."""
    total = sum(counts.values())
    parts = [
        f'<span style="display:inline-block;height:0.8em;width:{100 * counts[kind] / total:.2f}%;'
        f'background:{COLOURS[kind]}" title="{counts[kind]:,} {kind}"></span>'
        for kind in KINDS
        if total and counts.get(kind)
    ]
    bar = f'<div style="width:12em;line-height:0.8em;white-space:nowrap;font-size:1em">{"".join(parts)}</div>'
    cells = (f'<code style="white-space:nowrap">{_html(name)}</code>', bar, _html(state))
    return "<tr>" + "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells) + "</tr>"


def table_of(rows: Iterable[str], *, title: str = "", left_out: int = 0) -> str:
    """Return a table of these rows, with a title and the number of those that are left out."""
    caption = f"<caption>{_html(title)}</caption>" if title else ""
    more = f"<tr><td>and {left_out:,} more</td></tr>" if left_out > 0 else ""
    return f"<table>{caption}{''.join(rows)}{more}</table>"


def join_parts(parts: Iterable[str]) -> str:
    """Join the parts of a line that are not empty."""
    return ", ".join(filter(None, parts))


def _html(text: str) -> str:
    return escape(printable(text, 300))
