"""Errors of an exchange without a response that is of use."""

from __future__ import annotations

from runflow_async._errors.base import RunflowError
from runflow_async._verdict import Verdict

__all__ = ["CertificateError", "MalformedResponseError", "ResponseTooLargeError", "TransportError"]


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
        super().__init__(f"the body does not follow the contract: {reason} (at {where})")


class ResponseTooLargeError(MalformedResponseError):
    """The body is larger than the session's `max_response_bytes`; none of it was decoded."""

    verdict = Verdict.FINAL

    def __init__(self, limit: int) -> None:
        self.limit = limit
        advice = "pass a larger max_response_bytes to RunflowSession if you expect such answers"
        super().__init__(f"the body is larger than {limit} bytes; {advice}")
