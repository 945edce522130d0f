"""Items and deliveries as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from rich.table import Table
from rich.text import Text

from runflow_async._text import printable
from runflow_async.cli.bars import style_of_status

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from runflow_async.models import BatchItem, CallbackAttempt, CallbackDelivery

__all__ = ["deliveries_table", "items_table"]

LONGEST = 300


def items_table(items: Iterable[BatchItem]) -> Table:
    """Show one row per item."""
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("client_ref", no_wrap=True, max_width=24)
    for heading in ("status", "cost", "took"):
        table.add_column(heading, no_wrap=True)
    table.add_column("result", ratio=1, overflow="ellipsis", no_wrap=True)
    for item in items:
        table.add_row(
            "" if item.sequence_index is None else str(item.sequence_index),
            _value(item.client_ref),
            _status(item.status_code),
            _value(item.cost),
            _took(item.started_at, item.completed_at),
            _value(item.output or item.error),
        )
    return table


def deliveries_table(deliveries: Iterable[CallbackDelivery]) -> Table:
    """Show one row per delivery, with its attempts in the last column."""
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    for heading in ("created", "status", "attempts", "next"):
        table.add_column(heading, no_wrap=True)
    table.add_column("responses", ratio=1, overflow="fold")
    for delivery in deliveries:
        table.add_row(
            _value(delivery.created_at),
            _status(delivery.status_code),
            f"{_count(delivery.attempt_count)}/{_count(delivery.max_attempts)}",
            _value(delivery.next_attempt_at),
            Text(", ".join(map(_attempt, delivery.attempts or []))),
        )
    return table


def _attempt(attempt: CallbackAttempt) -> str:
    took = "" if attempt.response_time_ms is None else f" in {attempt.response_time_ms} ms"
    return f"{attempt.status_code or printable(attempt.error_message or 'no response', 80)}{took}"


def _count(number: int | None) -> str:
    return "?" if number is None else str(number)


def _status(status: str | None) -> Text:
    return Text(printable(status or "", 40), style=style_of_status(status or ""))


def _took(started: datetime | None, completed: datetime | None) -> str:
    return "" if started is None or completed is None else f"{(completed - started).total_seconds():.1f} s"


def _value(value: object) -> Text:
    if value is None:
        return Text()
    return Text(printable(value if isinstance(value, str) else msgspec.json.encode(value).decode().strip('"'), LONGEST))
