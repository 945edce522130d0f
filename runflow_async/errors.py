"""All errors of this library, as one tree.

    RunflowError
    ├── ConfigurationError             also a ValueError: key, base URL, arguments
    ├── InvalidSignatureError          a callback without a valid signature
    ├── ShardError                     a shard of a distributed wait could not run; says where and why
    ├── CheckpointError                a checkpoint file cannot be read or written; says which and why
    ├── SessionClosedError             the session was closed before or during the call
    ├── TransportError                 connection, DNS, malformed HTTP, timeout of one request
    │   └── CertificateError           never retried
    ├── MalformedResponseError         violates the contract, or belongs to another batch; says where
    │   └── ResponseTooLargeError      never retried
    ├── StatusError                    status, code, message, errors, request_id, retry_after
    │   ├── BadRequestError            400
    │   ├── AuthenticationError        401
    │   ├── PermissionDeniedError      403
    │   ├── NotFoundError              404
    │   ├── UnprocessableError         422
    │   ├── RateLimitError             429
    │   ├── ServerError                5xx
    │   └── RedirectError              3xx
    ├── BatchWaitError                 batch_id, batch (last snapshot), stats
    │   ├── WaitTimeoutError           also a TimeoutError; the batch keeps running
    │   ├── OutageError                no good answer for max_outage seconds; the last error is its cause
    │   └── WaitClosedError            aclose() was called before the wait had ended
    └── BatchFailedError               from Batch.raise_for_status(); carries that batch

All of them can be pickled and hold plain data. They do not decide when to retry; each one only carries a `verdict`,
which the retry rules read.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from runflow_async.models import Batch, WaitStats


class Verdict(StrEnum):
    """Whether an error is worth a retry."""

    TRANSIENT = "transient"
    """Retried until the attempts, `max_outage` or the deadline run out."""
    SUSPECT = "suspect"
    """Retried, but the third in a row is raised."""
    FINAL = "final"
    """Raised at once."""


def _restore(
    cls: type[RunflowError], args: tuple[Any, ...], state: dict[str, Any], cause: BaseException | None
) -> RunflowError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    error.__cause__ = cause
    return error


class RunflowError(Exception):
    """Base of every error of this library.

    Attributes:
        batch_id: the batch whose wait ended with this error, or the batch that did not succeed; else None.
        batch: the last snapshot of that batch, else None.
        stats: the counts of that wait, else None.
        verdict: whether the same request is worth a retry.
    """

    batch_id: UUID | None = None
    batch: Batch | None = None
    stats: WaitStats | None = None
    verdict: Verdict = Verdict.FINAL

    def __reduce__(
        self,
    ) -> tuple[Callable[..., RunflowError], tuple[Any, ...]]:
        # Causes from other libraries may hold sockets; only our own errors are known to pickle.
        cause = self.__cause__ if isinstance(self.__cause__, RunflowError) else None
        return _restore, (type(self), self.args, self.__dict__, cause)


class ConfigurationError(RunflowError, ValueError):
    """An argument, the key or the base URL is invalid; raised before any request."""


class InvalidSignatureError(RunflowError):
    """A callback's signature is missing, malformed, or not made with any of the secrets."""


class CheckpointError(RunflowError):
    """A checkpoint file cannot be read or written."""


class ShardError(RunflowError):
    """A shard of a distributed wait could not run at all, so the whole wait ends.

    Attributes:
        shard: its number, from 0.
        worker: the address of its worker; None if unknown.
    """

    def __init__(self, shard: int, worker: str | None, reason: str) -> None:
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
        super().__init__(message)
        if verdict is not None:
            self.verdict = verdict


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
        if verdict is not None:
            self.verdict = verdict
        super().__init__(f"the answer does not follow the contract: {reason} (at {where})")


class ResponseTooLargeError(MalformedResponseError):
    """The body is larger than the session's `max_response_bytes`; none of it was decoded."""

    verdict = Verdict.FINAL

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(
            f"the body is larger than {limit} bytes; pass a larger max_response_bytes to RunflowSession "
            "if you expect such answers"
        )


class StatusError(RunflowError):
    """The server answered with a status other than 200.

    Attributes:
        status: HTTP status code.
        code: the error envelope's code, such as `PERMISSION_DENIED`, or None.
        message: the server's own text with control characters escaped, at most 200 characters.
        errors: the envelope's list of field errors, or None.
        request_id: the server's id of the request, to quote to its support, or None.
        retry_after: seconds that the server asked to wait, or None.
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
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.errors = None if errors is None else list(errors)
        self.request_id = request_id
        self.retry_after = retry_after
        if status in (408, 409, 429) or status // 100 == 5:  # noqa: PLR2004  # 5xx
            self.verdict = Verdict.TRANSIENT
        super().__init__(self._describe())

    def _describe(self) -> str:
        text = f"HTTP {self.status}"
        if self.code:
            text += f" {self.code}"
        if self.message:
            text += f": {self.message}"
        if self.request_id:
            text += f" [request {self.request_id}]"
        return f"{text}; {self.hint}" if self.hint else text


class BadRequestError(StatusError):
    """400: the request itself is invalid."""


class AuthenticationError(StatusError):
    """401: the key is missing, invalid or revoked."""

    hint = "check the API key: the argument api_key or the environment variable RUNFLOW_API_KEY"


class PermissionDeniedError(StatusError):
    """403: the key has no access; `code` says why."""


class NotFoundError(StatusError):
    """404: no such batch for this key and organisation."""

    hint = "check the batch id, and that the key belongs to the batch's organisation"


class UnprocessableError(StatusError):
    """422: a value was rejected; `errors` says which."""


class RateLimitError(StatusError):
    """429: too many requests for the organisation; `retry_after` has the seconds to wait if the server named them."""


class ServerError(StatusError):
    """5xx: the server or a gateway in front of it failed."""


class RedirectError(StatusError):
    """3xx: redirects are never followed, because they would carry the key along.

    Attributes:
        location: the redirect's target, sanitised, without user and password; or None.
    """

    hint = "redirects are not followed; check base_url (RUNFLOW_BASE_URL)"

    def __init__(self, status: int, *, location: str | None = None, **details: Any) -> None:
        self.location = location
        super().__init__(status, **details)

    def _describe(self) -> str:
        target = f" to {self.location}" if self.location else ""
        return f"HTTP {self.status} redirect{target}; {self.hint}"


class BatchWaitError(RunflowError):
    """A wait ended before its batch did. `batch` is the last snapshot, `stats` has the counts."""

    def __init__(
        self, message: str, *, batch_id: UUID | None = None, batch: Batch | None = None, stats: WaitStats | None = None
    ) -> None:
        self.batch_id = batch_id
        self.batch = batch
        self.stats = stats
        super().__init__(message)


class WaitTimeoutError(BatchWaitError, TimeoutError):
    """The wait's own `timeout` expired; the batch keeps running on the server."""


class OutageError(BatchWaitError):
    """No good answer for `max_outage` seconds; `__cause__` is the last error."""


class WaitClosedError(BatchWaitError):
    """`aclose()` ended the wait before its batch did."""


class BatchFailedError(RunflowError):
    """The batch did not succeed; raised by `Batch.raise_for_status()`.

    Attributes:
        status: the batch's `status_code`, as the server spelled it.
    """

    def __init__(self, batch_id: UUID | None, status: str | None, reason: str | None = None) -> None:
        self.batch_id = batch_id
        self.status = status
        super().__init__(f"batch {batch_id} is {status!r}, not 'succeeded'" + (f": {reason}" if reason else ""))
