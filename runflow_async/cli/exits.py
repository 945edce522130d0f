"""Turns outcomes and errors into an exit status and one line that says what to do."""

from __future__ import annotations

import re
import shlex
from enum import IntEnum
from typing import TYPE_CHECKING

from runflow_async._text import printable
from runflow_async.errors import (
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    OutageError,
    PartlyCreatedError,
    PaymentRequiredError,
    PermissionDeniedError,
    RunflowError,
    WaitTimeoutError,
)
from runflow_async.models import BatchStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from runflow_async.models import Batch

__all__ = ["Exit", "about", "explain", "status_of_batch", "status_of_error"]

OPTION_OF = {
    "api_key": "--api-key-file",
    "base_url": "--base-url",
    "idempotency_key": "--idempotency-key",
    "batch_id": "ID",
    "interval": "--interval",
    "max_outage": "--max-outage",
    "organization_id": "--organization-id",
    "timeout": "--timeout",
}
"""The command line's names for the library's arguments."""
ARGUMENT = re.compile(rf"\b({'|'.join(OPTION_OF)})\b")
MOST_IDS = 3
"""How many ids one error names."""


class Exit(IntEnum):
    """Exit statuses. With several batches, the highest one counts."""

    SUCCEEDED = 0
    ITEMS_FAILED = 1
    USAGE = 2
    TIMED_OUT = 3
    REFUSED = 4
    NOT_FOUND = 5
    OUTAGE = 6
    OTHER = 7
    HUNG_UP = 129
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


def status_of_batch(batch: Batch) -> Exit:
    """Whether a batch that has ended succeeded with every item."""
    items_well = not any(item.is_terminal and item.status_code != BatchStatus.SUCCEEDED for item in batch.items or [])
    counted_well = not batch.items_failed and not batch.items_cancelled
    well = batch.status_code == BatchStatus.SUCCEEDED and items_well and counted_well
    return Exit.SUCCEEDED if well else Exit.ITEMS_FAILED


def status_of_error(error: BaseException) -> Exit:
    """Return the exit status for an error."""
    match error:
        case PartlyCreatedError():
            return Exit.OTHER if error.__cause__ is None else status_of_error(error.__cause__)
        case WaitTimeoutError():
            return Exit.TIMED_OUT
        case AuthenticationError() | PaymentRequiredError() | PermissionDeniedError():
            return Exit.REFUSED
        case NotFoundError():
            return Exit.NOT_FOUND
        case ConfigurationError():
            return Exit.USAGE
        case OutageError():
            return Exit.OUTAGE
        case RunflowError() if error.verdict != "final":
            return Exit.OUTAGE
        case _:
            return Exit.OTHER


def explain(error: BaseException) -> str:
    """Describe in one line what happened and what to do, in the command line's own terms.

    The line does not name the batch, so that an error shared by many batches is shown once; `about` names them.
    """
    match error:
        case WaitTimeoutError():
            reason = f": {error.__cause__}" if error.__cause__ else ""
            seen = f"last seen {error.batch.status_code!r}" if error.batch else f"never seen{reason}"
            text = f"timed out ({seen}); it keeps running: run the command again with a longer --timeout"
        case PartlyCreatedError(__cause__=BaseException() as cause):
            made = (
                f"{len(error.created)} of {error.total} batches were created"
                if error.created
                else "nothing was created"
            )
            key = shlex.quote(error.idempotency_key or "")
            text = f"{made}: {explain(cause)}"
            if error.created or status_of_error(cause) is Exit.OUTAGE:
                text += f"; run the same command with --idempotency-key {key}, which creates only the rest"
        case ConflictError():
            text = str(error).replace("idempotency_key", "--idempotency-key")
        case AuthenticationError():
            hint = "check RUNFLOW_API_KEY, or the file given with --api-key-file"
            text = str(error).removesuffix(error.hint) + hint
        case RunflowError() if status_of_error(error) is Exit.OUTAGE:
            text = f"{error}; check the network and RUNFLOW_BASE_URL, or try again later"
        case ConfigurationError():
            text = ARGUMENT.sub(lambda found: OPTION_OF[found[0]], str(error))
        case RunflowError():
            text = str(error)
        case OSError():
            text = f"cannot use {error.filename or 'the output'}: {error.strerror}; fix this and run the command again"
        case _:
            text = f"{type(error).__name__}: {error}"
    batch_id = getattr(error, "batch_id", None)
    return printable(text.removeprefix(f"batch {batch_id}: ").replace(f"batch {batch_id}", "the batch"), 1000)


def about(batch_ids: Sequence[UUID | None], text: str) -> str:
    """Prefix the text with the ids of its batches, or the first few of many."""
    known = [str(batch_id) for batch_id in batch_ids if batch_id is not None]
    if len(known) <= 1:
        return f"batch {known[0]}: {text}" if known else text
    return f"{len(known):,} batches ({', '.join(known[:MOST_IDS])}{', ...' if len(known) > MOST_IDS else ''}): {text}"
