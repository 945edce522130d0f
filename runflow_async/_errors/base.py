"""The base of every error, and those of the library itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runflow_async._verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from runflow_async.models import Batch, WaitStats

__all__ = [
    "CheckpointError",
    "ConfigurationError",
    "InvalidSignatureError",
    "RunflowError",
    "SessionClosedError",
    "ShardError",
]


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

    def __str__(self) -> str:
        text = super().__str__()
        return text if self.batch_id is None or str(self.batch_id) in text else f"batch {self.batch_id}: {text}"

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
