"""Know what became of every item of every Runflow batch in flight, from asyncio."""

from runflow_async._version import __version__
from runflow_async.errors import (
    AuthenticationError,
    BadRequestError,
    BatchFailedError,
    BatchWaitError,
    CertificateError,
    ConfigurationError,
    MalformedResponseError,
    NotFoundError,
    OutageError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    ResponseTooLargeError,
    RunflowError,
    ServerError,
    SessionClosedError,
    StatusError,
    TransportError,
    UnprocessableError,
    WaitClosedError,
    WaitTimeoutError,
)
from runflow_async.fleet import BatchesWait
from runflow_async.models import (
    TERMINAL_STATUSES,
    Batch,
    BatchItem,
    BatchItemHandle,
    BatchStatus,
    ErrorDetail,
    WaitStats,
)
from runflow_async.session import RunflowSession
from runflow_async.transitions import ItemTransition
from runflow_async.waiting import BatchWait
from runflow_async.waits import RetryPolicy, wait_adaptive

__all__ = [
    "TERMINAL_STATUSES",
    "AuthenticationError",
    "BadRequestError",
    "Batch",
    "BatchFailedError",
    "BatchItem",
    "BatchItemHandle",
    "BatchStatus",
    "BatchWait",
    "BatchWaitError",
    "BatchesWait",
    "CertificateError",
    "ConfigurationError",
    "ErrorDetail",
    "ItemTransition",
    "MalformedResponseError",
    "NotFoundError",
    "OutageError",
    "PermissionDeniedError",
    "RateLimitError",
    "RedirectError",
    "ResponseTooLargeError",
    "RetryPolicy",
    "RunflowError",
    "RunflowSession",
    "ServerError",
    "SessionClosedError",
    "StatusError",
    "TransportError",
    "UnprocessableError",
    "WaitClosedError",
    "WaitStats",
    "WaitTimeoutError",
    "__version__",
    "wait_adaptive",
]
