"""Errors that end a wait, and that of a batch that did not succeed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runflow_async._errors.base import RunflowError

if TYPE_CHECKING:
    from uuid import UUID

    from runflow_async.models import Batch

__all__ = ["BatchFailedError", "BatchWaitError", "OutageError", "StalledError", "WaitClosedError", "WaitTimeoutError"]


class BatchWaitError(RunflowError):
    """A wait ended before its batch did. `batch` is the last snapshot, `stats` has the counts."""

    def __init__(self, message: str, batch_id: UUID | None) -> None:
        self.batch_id = batch_id
        super().__init__(message)


class WaitTimeoutError(BatchWaitError, TimeoutError):
    """The wait's own timeout of `timeout` seconds expired; the batch keeps running on the server."""

    def __init__(self, batch_id: UUID, timeout: float, *, reason: object, batch: Batch | None = None) -> None:
        self.timeout = timeout
        self.batch = batch
        if batch is None:
            known = f"probably still running; there was no valid response about it in {timeout} s ({reason})"
        else:
            known = f"still running (last seen {batch.status_code!r}) after {timeout} s"
        advice = "wait again with a longer timeout, and since=wait.delivered to resume its transitions"
        super().__init__(f"batch {batch_id} is {known}: {advice}", batch_id)


class OutageError(BatchWaitError):
    """No valid response for `max_outage` seconds; `__cause__` is the last error."""

    def __init__(self, batch_id: UUID, max_outage: float, *, reason: object) -> None:
        self.max_outage = max_outage
        super().__init__(f"no valid response about batch {batch_id} for {max_outage} s: {reason}", batch_id)


class StalledError(BatchWaitError):
    """Nothing of the batch had changed for `seconds`, at least those of `stalled_after`; it keeps running."""

    def __init__(self, batch_id: UUID, seconds: float, *, seen: str) -> None:
        self.seconds = seconds
        known = f"nothing of batch {batch_id} has changed for {round(seconds, 1):g} s ({seen})"
        super().__init__(f"{known}: check the batch, or wait again with a longer stalled_after", batch_id)


class WaitClosedError(BatchWaitError):
    """`aclose()` ended a wait before its batch did; `batch_id` is None if it was a wait for several."""

    def __init__(self, batch_id: UUID | None = None) -> None:
        waited_for = "batches" if batch_id is None else f"batch {batch_id}"
        super().__init__(f"the wait for {waited_for} was closed: start another one to continue", batch_id)


class BatchFailedError(RunflowError):
    """The batch did not succeed; raised by `Batch.raise_for_status()`. `status` is its `status_code`, as received."""

    def __init__(self, batch_id: UUID | None, status: str | None, reason: str | None = None) -> None:
        self.batch_id = batch_id
        self.status = status
        super().__init__(f"batch {batch_id} is {status!r}, not 'succeeded'" + (f": {reason}" if reason else ""))
