"""What the command line makes of outcomes and errors: an exit status, and one line that says what to do."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from runflow_async.errors import (
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    OutageError,
    PermissionDeniedError,
    RunflowError,
    Verdict,
    WaitTimeoutError,
)
from runflow_async.models import BatchStatus
from runflow_async.protocol import printable

if TYPE_CHECKING:
    from runflow_async.models import Batch

__all__ = ["Exit", "explain", "status_of_batch", "status_of_error"]


class Exit(IntEnum):
    """Exit statuses. Of several batches, the highest one counts."""

    SUCCEEDED = 0
    ITEMS_FAILED = 1
    USAGE = 2
    TIMED_OUT = 3
    REFUSED = 4
    NOT_FOUND = 5
    OUTAGE = 6
    OTHER = 7
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


def status_of_batch(batch: Batch) -> Exit:
    """Whether a batch that has ended, and every item of it, succeeded."""
    items_well = not any(item.is_terminal and item.status_code != BatchStatus.SUCCEEDED for item in batch.items or [])
    counted_well = not batch.items_failed and not batch.items_cancelled
    well = batch.status_code == BatchStatus.SUCCEEDED and items_well and counted_well
    return Exit.SUCCEEDED if well else Exit.ITEMS_FAILED


def status_of_error(error: BaseException) -> Exit:
    """The exit status of an error."""
    match error:
        case WaitTimeoutError():
            return Exit.TIMED_OUT
        case AuthenticationError() | PermissionDeniedError():
            return Exit.REFUSED
        case NotFoundError():
            return Exit.NOT_FOUND
        case ConfigurationError():
            return Exit.USAGE
        case OutageError():
            return Exit.OUTAGE
        case RunflowError() if error.verdict is not Verdict.FINAL:
            return Exit.OUTAGE
        case _:
            return Exit.OTHER


def explain(error: BaseException) -> str:
    """What happened and what to do about it, in the command line's own terms, as one line."""
    match error:
        case WaitTimeoutError():
            seen = f" (last seen {error.batch.status_code!r})" if error.batch else ""
            text = f"timed out: batch {error.batch_id} is still running{seen} and goes on at the server; "
            text += "run the command again, with a longer --timeout"
        case AuthenticationError():
            hint = "check RUNFLOW_API_KEY, or the file given with --api-key-file"
            text = str(error).removesuffix(error.hint) + hint
        case RunflowError() if status_of_error(error) is Exit.OUTAGE:
            text = f"{error}; check the network and RUNFLOW_BASE_URL, or try again later"
        case RunflowError():
            text = str(error)
        case _:
            text = f"{type(error).__name__}: {error}"
    return printable(text, 1000)
