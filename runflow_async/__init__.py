"""Follow every item of every Runflow batch in flight, from asyncio."""

from runflow_async import _startup as _startup  # first: it hears signals during the imports below
from runflow_async._jobs.batch_results import BatchResults
from runflow_async._version import __version__
from runflow_async._waits.fleet import BatchesWait
from runflow_async._waits.one import BatchWait
from runflow_async._waits.outages import OngoingOutage
from runflow_async._waits.retries import RetryPolicy
from runflow_async.errors import (
    AuthenticationError,
    BadRequestError,
    BatchFailedError,
    BatchWaitError,
    CertificateError,
    CheckpointError,
    ConfigurationError,
    InvalidSignatureError,
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
    ShardError,
    StatusError,
    TransportError,
    UnprocessableError,
    WaitClosedError,
    WaitTimeoutError,
)
from runflow_async.models import (
    TERMINAL_STATUSES,
    Batch,
    BatchItem,
    BatchItemHandle,
    BatchStatus,
    ErrorDetail,
    ItemTransition,
    WaitStats,
)
from runflow_async.schedules import wait_adaptive
from runflow_async.session import RunflowSession

__all__ = [
    "TERMINAL_STATUSES",
    "AuthenticationError",
    "BadRequestError",
    "Batch",
    "BatchFailedError",
    "BatchItem",
    "BatchItemHandle",
    "BatchResults",
    "BatchStatus",
    "BatchWait",
    "BatchWaitError",
    "BatchesWait",
    "CertificateError",
    "CheckpointError",
    "ConfigurationError",
    "ErrorDetail",
    "InvalidSignatureError",
    "ItemTransition",
    "MalformedResponseError",
    "NotFoundError",
    "OngoingOutage",
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
    "ShardError",
    "StatusError",
    "TransportError",
    "UnprocessableError",
    "WaitClosedError",
    "WaitStats",
    "WaitTimeoutError",
    "__version__",
    "wait_adaptive",
]
