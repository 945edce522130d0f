"""What a callback means and what is done about it, for every web framework.

Decides what is genuine, what a body says, and the status of the response. Knows nothing about how a request arrives.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections import OrderedDict
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from uuid import UUID

from msgspec import Meta, Struct

from runflow_async._answers.lenient import Lenient, WarnOnce
from runflow_async._arguments.connection import parse_secrets
from runflow_async._text import printable
from runflow_async.errors import InvalidSignatureError, MalformedResponseError, SessionClosedError
from runflow_async.models import TERMINAL_STATUSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runflow_async.session import RunflowSession

__all__ = ["DEFAULT_MAX_BODY", "Answer", "BatchCallback", "Receiver", "parse_callback", "verify_signature"]

logger = logging.getLogger("runflow_async")

DEFAULT_MAX_BODY = 1_048_576
MOST_REMEMBERED = 10_000
"""Number of callbacks that are remembered to recognise duplicates."""

_signature = re.compile(r"[0-9a-f]{64}", re.ASCII)


class BatchCallback(Struct, frozen=True, kw_only=True):
    """The body that the server posts to a batch's `callback_url` once the batch has ended."""

    event: str
    batch_id: UUID
    status: str | None = None
    output: dict[str, Any] | None = None
    duration_ms: int | None = None
    created_at: Annotated[datetime, Meta(tz=True)] | None = None
    completed_at: Annotated[datetime, Meta(tz=True)] | None = None
    metadata: dict[str, Any] | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the batch has ended, according to the callback."""
        return self.status in TERMINAL_STATUSES


_callbacks = Lenient(BatchCallback, essential=("event", "batch_id"))


def verify_signature(secrets: str | Sequence[str], body: bytes, signature: str | None) -> None:
    """Raise unless the body was signed with one of the secrets.

    Args:
        secrets: the organisation's callback secret, or both secrets during a rotation.
        body: the raw body, byte for byte as received.
        signature: the header `Runflow-Signature`: 64 lowercase hexadecimal digits; None if it is missing.

    Raises:
        InvalidSignatureError: if the signature is missing, malformed, or not made with any of the secrets. The
            comparison takes constant time.
        ConfigurationError: if there is no secret, or an empty one.
    """
    keys = parse_secrets(secrets)
    if not isinstance(signature, str) or not _signature.fullmatch(signature):
        raise InvalidSignatureError("the callback's Runflow-Signature is missing or not 64 lowercase hex digits")
    matches = [hmac.compare_digest(hmac.new(key.encode(), body, sha256).hexdigest(), signature) for key in keys]
    if not any(matches):
        raise InvalidSignatureError("the callback's signature was not made with any of the secrets")


def parse_callback(body: bytes) -> BatchCallback:
    """Decode a callback's body. A malformed field other than `event` and `batch_id` becomes None, with a warning.

    Raises:
        MalformedResponseError: if it is not a callback; says where the body is wrong.
    """
    return _callbacks.decode(body, WarnOnce("a callback"))


class Answer(NamedTuple):
    """The response to a callback.

    Attributes:
        status: its HTTP status.
        error: what is wrong with the callback; None if nothing is.
    """

    status: int
    error: str | None = None

    @property
    def document(self) -> dict[str, str]:
        """The body of the response, as JSON."""
        return {} if self.error is None else {"error": self.error}


class Receiver:
    """Answers callbacks, and acts on each one once.

    Args:
        session: the session whose waits are nudged.
        secrets: as for `verify_signature`.

    Raises:
        ConfigurationError: if there is no secret, or an empty one.
    """

    def __init__(self, session: RunflowSession, secrets: str | Sequence[str]) -> None:
        self._session = session
        self._secrets = parse_secrets(secrets)
        self._known: OrderedDict[tuple[UUID, bytes], None] = OrderedDict()

    def answer(self, body: bytes, signature: str | None, request_id: str | None) -> Answer:
        """Answer one callback.

        Args:
            body: decompressed.
            signature: the header `Runflow-Signature`.
            request_id: the header `Runflow-Request-Id`, which names a rejected callback in the log.
        """
        try:
            verify_signature(self._secrets, body, signature)
            self._act_on(parse_callback(body))
        except (InvalidSignatureError, MalformedResponseError) as error:
            name = printable(f"with the request id {request_id}" if request_id else "without a request id")
            logger.warning("callback %s rejected: %s", name, error)
            return Answer(401 if isinstance(error, InvalidSignatureError) else 400, str(error))
        except SessionClosedError as error:
            return Answer(503, str(error))
        return Answer(200)

    def _act_on(self, callback: BatchCallback) -> None:
        # The sender decides how long an event is; its digest has a fixed length.
        seen = (callback.batch_id, sha256(callback.event.encode()).digest())
        if seen in self._known:
            logger.debug("duplicate callback of batch %s", callback.batch_id)
            return
        is_awaited = self._session.nudge(callback.batch_id)
        logger.debug("callback of batch %s, awaited: %s", callback.batch_id, is_awaited)
        self._known[seen] = None
        if len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
