"""The errors of a wait whose time is over: what is known of the batch, and how to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runflow_async.errors import OutageError, WaitTimeoutError

if TYPE_CHECKING:
    from uuid import UUID

    from runflow_async.errors import RunflowError
    from runflow_async.models import Batch, WaitStats

__all__ = ["outage_error", "timeout_error"]


def timeout_error(
    timeout: float | None, batch_id: UUID, batch: Batch | None, stats: WaitStats, cause: RunflowError | None
) -> WaitTimeoutError:
    """`timeout` went by; `cause` is the failure that the wait was in, if it was in one."""
    if batch is None:
        reason = "it was not answered" if cause is None else str(cause)
        text = (
            f"batch {batch_id} is probably still running; there was no good answer about it in {timeout} s ({reason}): "
            "wait again with a longer timeout"
        )
    else:
        text = (
            f"batch {batch_id} is still running (last seen {batch.status_code!r}) after "
            f"{timeout} s; it goes on at the server: wait again with a longer timeout, and "
            "since=wait.delivered to resume its transitions"
        )
    error = WaitTimeoutError(text, batch_id=batch_id, batch=batch, stats=stats)
    error.__cause__ = cause
    return error


def outage_error(
    max_outage: float, batch_id: UUID, batch: Batch | None, stats: WaitStats, cause: RunflowError | None
) -> OutageError:
    """`max_outage` went by; `cause` is the last failure."""
    text = f"no good answer about batch {batch_id} for {max_outage} s: {cause}"
    error = OutageError(text, batch_id=batch_id, batch=batch, stats=stats)
    error.__cause__ = cause
    return error
