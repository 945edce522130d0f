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
    │   └── WaitTimeoutError, OutageError, StalledError, WaitClosedError
    └── BatchFailedError               a batch that did not succeed

All of them can be pickled and hold plain data. Each carries a `verdict`; the rules that read it decide when to retry.
"""

from __future__ import annotations

from runflow_async._errors.base import (
    CheckpointError,
    ConfigurationError,
    InvalidSignatureError,
    RunflowError,
    SessionClosedError,
    ShardError,
)
from runflow_async._errors.jobs import (
    DownloadError,
    NothingToResubmitError,
    PartlyCreatedError,
    ResubmitError,
    SaveError,
)
from runflow_async._errors.responses import (
    CertificateError,
    MalformedResponseError,
    ResponseTooLargeError,
    TransportError,
)
from runflow_async._errors.statuses import (
    AuthenticationError,
    BadRequestError,
    ConflictError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    ServerError,
    StatusError,
    UnprocessableError,
)
from runflow_async._errors.waits import (
    BatchFailedError,
    BatchWaitError,
    OutageError,
    StalledError,
    WaitClosedError,
    WaitTimeoutError,
)

__all__ = [
    "AuthenticationError",
    "BadRequestError",
    "BatchFailedError",
    "BatchWaitError",
    "CertificateError",
    "CheckpointError",
    "ConfigurationError",
    "ConflictError",
    "DownloadError",
    "InvalidSignatureError",
    "MalformedResponseError",
    "NotFoundError",
    "NothingToResubmitError",
    "OutageError",
    "PartlyCreatedError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "RateLimitError",
    "RedirectError",
    "ResponseTooLargeError",
    "ResubmitError",
    "RunflowError",
    "SaveError",
    "ServerError",
    "SessionClosedError",
    "ShardError",
    "StalledError",
    "StatusError",
    "TransportError",
    "UnprocessableError",
    "WaitClosedError",
    "WaitTimeoutError",
]

for _name in __all__:
    globals()[_name].__module__ = __name__  # where tracebacks and pickles look for it
