"""All errors of this library, as one tree.

    RunflowError
    ├── ConfigurationError, InvalidSignatureError, SessionClosedError, CheckpointError, ShardError
    ├── PartlyCreatedError             create_batches stopped half-way
    ├── ResubmitError                  a batch that cannot be sent again
    │   └── NothingToResubmitError
    ├── SaveError, DownloadError       files of outputs
    ├── TransportError                 no HTTP response
    │   └── CertificateError           never retried
    ├── MalformedResponseError         a response that violates the contract
    │   └── ResponseTooLargeError      never retried
    ├── StatusError                    any status but success
    │   ├── BadRequestError 400, AuthenticationError 401, PaymentRequiredError 402, PermissionDeniedError 403
    │   ├── NotFoundError 404, ConflictError 409, UnprocessableError 422, RateLimitError 429
    │   └── ServerError 5xx, RedirectError 3xx
    ├── BatchWaitError                 a wait that ended before its batch
    │   └── WaitTimeoutError, OutageError, WaitClosedError
    └── BatchFailedError               a batch that did not succeed

All of them can be pickled and hold plain data. Each carries a `verdict`; the rules that read it decide when to retry.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runflow_async._text import printable
from runflow_async._verdict import Verdict, verdict_of_status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from runflow_async.models import Batch, WaitStats


MOST_DETAILS = 500
"""How many characters of the server's details an error shows."""


class RunflowError(Exception):
    """Base of every error of this library.

    Attributes:
        batch_id: the batch whose wait ended with this error, or the batch that did not succeed; else None.
        batch: the last snapshot of that batch, else None.
        stats: the counts of that wait, else None.
        retry_after: seconds that the server asked to wait, else None.
        idempotency_key: the key under which a batch was to be created: with it and the same arguments, the call can be
            repeated, and makes no second batch if the first one was created after all. Else None.
        verdict: whether the same request is worth a retry.
    """

    batch_id: UUID | None = None
    batch: Batch | None = None
    stats: WaitStats | None = None
    retry_after: float | None = None
    idempotency_key: str | None = None
    verdict: Verdict = Verdict.FINAL

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[type[RunflowError]], dict[str, Any]]:
        # Causes from other libraries may hold sockets; only our own errors are known to pickle.
        cause = self.__cause__ if isinstance(self.__cause__, RunflowError) else None
        cls = type(self)
        return cls.__new__, (cls,), {**vars(self), "args": self.args, "__cause__": cause}


class ConfigurationError(RunflowError, ValueError):
    """An argument, the key or the base URL is invalid; raised before any request."""


class InvalidSignatureError(RunflowError):
    """A callback's signature is missing, malformed, or not made with any of the secrets."""


class CheckpointError(RunflowError):
    """A checkpoint file cannot be read or written."""


class SaveError(RunflowError):
    """`save_outputs` cannot use its folder or disk. What was downloaded before is kept."""


class DownloadError(RunflowError):
    """One file of an output was not saved.

    Attributes:
        url: its URL without the query, which is the signature.
        status: HTTP status of the response that refused it, or None.
        item_id: the item that it belongs to, or None.
        sequence_index: of that item, or None.
        client_ref: of that item, or None.
    """

    item_id: UUID | None = None
    sequence_index: int | None = None
    client_ref: str | None = None

    def __init__(
        self,
        url: str,
        reason: object,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        verdict: Verdict | None = None,
    ) -> None:
        self.url = url
        self.status = status
        self.retry_after = retry_after
        self.verdict = verdict or self.verdict
        super().__init__(f"{url}: {reason}")


class ShardError(RunflowError):
    """A shard of a distributed wait could not run. `shard` is its number, from 0; `worker` an address, or None."""

    def __init__(self, shard: int, worker: str | None, reason: object) -> None:
        self.shard = shard
        self.worker = worker
        super().__init__(f"shard {shard} cannot run on worker {worker}: {reason}")


class SessionClosedError(RunflowError):
    """The session was closed before or during the call; open a new `RunflowSession`."""

    def __init__(self) -> None:
        super().__init__("the session is closed: open a new RunflowSession and call again")


class TransportError(RunflowError):
    """No complete HTTP response: connection, DNS, malformed HTTP, or the timeout of one request."""

    verdict = Verdict.TRANSIENT

    def __init__(self, message: str, *, verdict: Verdict | None = None) -> None:
        self.verdict = verdict or self.verdict
        super().__init__(message)


class CertificateError(TransportError):
    """The server could not prove its identity; nothing was sent to it."""

    verdict = Verdict.FINAL


class MalformedResponseError(RunflowError):
    """A response violates the contract, or belongs to another batch.

    Attributes:
        reason: what is wrong with it.
        where: JSON path of the offending value, such as `$.items[3].status_code`; `$` for the whole body.
    """

    verdict = Verdict.SUSPECT

    def __init__(self, reason: str, *, where: str = "$", verdict: Verdict | None = None) -> None:
        self.reason = reason
        self.where = where
        self.verdict = verdict or self.verdict
        super().__init__(f"the answer does not follow the contract: {reason} (at {where})")


class ResponseTooLargeError(MalformedResponseError):
    """The body is larger than the session's `max_response_bytes`; none of it was decoded."""

    verdict = Verdict.FINAL

    def __init__(self, limit: int) -> None:
        self.limit = limit
        advice = "pass a larger max_response_bytes to RunflowSession if you expect such answers"
        super().__init__(f"the body is larger than {limit} bytes; {advice}")


class StatusError(RunflowError):
    """The server refused a request, or failed.

    Attributes:
        status: HTTP status code.
        code: the error envelope's code, such as `PERMISSION_DENIED`, or None.
        message: the server's own text with control characters escaped, at most 200 characters.
        errors: the envelope's list of field errors, or None.
        request_id: the server's id of the request, to quote to its support, or None.
        hint: what to do about it, at the end of the text; empty if nothing is known.
    """

    hint = ""

    def __init__(
        self,
        status: int,
        *,
        code: str | None = None,
        message: str = "",
        errors: Sequence[dict[str, Any]] | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        hint: str | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.errors = None if errors is None else list(errors)
        self.request_id = request_id
        self.retry_after = retry_after
        self.verdict = verdict_of_status(status)
        if hint is not None:
            self.hint = hint
        code, message = (f" {code}" if code else ""), (f": {message}" if message else "")
        details = f" {printable(json.dumps(errors, default=str), MOST_DETAILS)}" if errors else ""
        request = f" [request {request_id}]" if request_id else ""
        super().__init__(f"HTTP {status}{code}{message}{details}{request}" + (f"; {self.hint}" if self.hint else ""))


class BadRequestError(StatusError):
    """400: the request itself is invalid."""


class AuthenticationError(StatusError):
    """401: the key is missing, invalid or revoked."""

    hint = "check the API key: the argument api_key or the environment variable RUNFLOW_API_KEY"


class PaymentRequiredError(StatusError):
    """402: the organisation's credit does not cover the request."""

    hint = "add credit to the organisation's account, then call again"


class PermissionDeniedError(StatusError):
    """403: the key has no access; `code` says why."""


class NotFoundError(StatusError):
    """404: no such batch for this key and organisation."""

    hint = "check the batch id, and that the key belongs to the batch's organisation"


class ConflictError(StatusError):
    """409: the request contradicts an earlier one."""


class UnprocessableError(StatusError):
    """422: a value was rejected; `errors` says which."""


class RateLimitError(StatusError):
    """429: too many requests for the organisation; `retry_after` has the seconds to wait if the server named them."""


class ServerError(StatusError):
    """5xx: the server or a gateway in front of it failed."""


class RedirectError(StatusError):
    """3xx, never followed, because the key would go along. `location` is its target without user and password."""

    hint = "redirects are not followed; check base_url (RUNFLOW_BASE_URL)"

    def __init__(self, status: int, *, location: str | None = None, **details: Any) -> None:
        self.location = location
        details.setdefault("message", f"redirect to {location}" if location else "redirect")
        super().__init__(status, **details)


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


class PartlyCreatedError(RunflowError):
    """`create_batches` could not create all batches; `__cause__` says why.

    Attributes:
        created: the ids of those that were created, in the order of their inputs.
        total: the number of batches that all inputs need.
    """

    def __init__(self, created: Sequence[UUID], total: int, idempotency_key: str, *, reason: object) -> None:
        self.created = list(created)
        self.total = total
        self.idempotency_key = idempotency_key
        advice = f"call again with idempotency_key={idempotency_key!r} and the same arguments to create the rest"
        super().__init__(f"{len(created)} of {total} batches were created ({reason}); {advice}, and to wait for all")


class ResubmitError(RunflowError):
    """The items of a batch cannot be sent again: it has not ended, or too many failed, or their inputs are unknown."""

    def __init__(self, batch_id: UUID | None, reason: str) -> None:
        self.batch_id = batch_id
        super().__init__(f"batch {batch_id} cannot be resubmitted: {reason}")


class NothingToResubmitError(ResubmitError):
    """No item of the batch failed or was cancelled. Nothing was sent."""
