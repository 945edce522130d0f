"""What the log says of events: the text for people, the fields for machines, and at which level."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from runflow_async.errors import StatusError
from runflow_async.observers import OutageBegan, OutageEnded, PaceChanged, RequestEnded, Retrying, WaitStalled

if TYPE_CHECKING:
    from uuid import UUID

    from runflow_async.observers import Event

__all__ = ["fields", "log_event"]

logger = logging.getLogger("runflow_async")
outages = logging.getLogger("runflow_async.outages")


def fields(
    batch_id: UUID | None = None,
    wait_id: int | None = None,
    *,
    attempt: int | None = None,
    delay: float | None = None,
    status: int | None = None,
) -> dict[str, object]:
    """The fields of a log record, all of them in every record, so that a format may name them."""
    shown = None if batch_id is None else str(batch_id)
    return {"batch_id": shown, "wait_id": wait_id, "attempt": attempt, "delay": delay, "status": status}


def log_event(event: Event) -> None:
    """Log an event, if it is worth a line."""
    match event:
        case RequestEnded():
            _log_request(event)
        case Retrying():
            _log_retry(event)
        case PaceChanged():
            _log_pace(event)
        case OutageBegan():
            _log_outage(event)
        case OutageEnded():
            _log_recovery(event)
        case WaitStalled():
            _log_stall(event)
        case _:
            pass


def _log_request(event: RequestEnded) -> None:
    if not logger.isEnabledFor(logging.DEBUG):
        return
    outcome = f"{event.status or 'no response'}, {event.bytes} bytes"
    if event.error is not None:
        outcome = str(event.error)
    elif event.status is None:
        outcome = "cancelled"
    extra = fields(event.batch_id, event.wait_id, attempt=event.attempt, status=event.status)
    text = "%s %s: attempt %d, after %.3f s: %s"
    logger.debug(text, event.method, event.path, event.attempt, event.seconds, outcome, extra=extra)


def _log_retry(event: Retrying) -> None:
    delay = None if event.delay == math.inf else event.delay
    status = event.error.status if isinstance(event.error, StatusError) else None
    upcoming = "no further one would be in time" if delay is None else f"next one in {delay:.2f} s"
    channel = logger if event.wait_id is None else outages
    extra = fields(event.batch_id, event.wait_id, attempt=event.attempt, delay=delay, status=status)
    text = "%s: attempt %d failed (%s); %s"
    channel.info(text, event.subject, event.attempt, event.error, upcoming, extra=extra)


def _log_pace(event: PaceChanged) -> None:
    rate = "no limit" if event.rate is None else f"at most {event.rate:.2f} requests/s"
    held = f", and none for {event.held_for:.1f} s" if event.held_for else ""
    logger.debug("the session's rate: %s%s (%s)", rate, held, event.reason, extra=fields(delay=event.held_for))


def _log_outage(event: OutageBegan) -> None:
    status = event.error.status if isinstance(event.error, StatusError) else None
    text = "no valid response for %.0f s, %s (%s); still trying"
    outages.warning(text, event.seconds, _count(event.waits), event.error, extra=fields(status=status))


def _log_recovery(event: OutageEnded) -> None:
    if event.waits:
        outages.info("a valid response again, after %.0f s, %s", event.seconds, _count(event.waits), extra=fields())
    else:
        outages.info("no wait is left of those without a valid response for %.0f s", event.seconds, extra=fields())


def _log_stall(event: WaitStalled) -> None:
    ended = "" if event.items_total is None else f", {event.items_ended} of {event.items_total} items ended"
    text, extra = "batch %s: nothing has changed for %g s (last seen %r%s)", fields(event.batch_id, event.wait_id)
    logger.warning(text, event.batch_id, round(event.seconds, 1), event.status_code, ended, extra=extra)


def _count(waits: int) -> str:
    return f"{waits} wait{'s' if waits != 1 else ''}"
