"""Receive the callbacks of batches that have ended: verify them, parse them, and poll at once.

A callback is never trusted as the state of a batch: it only triggers a poll. So a forged one could cost a poll and
nothing else.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections import OrderedDict
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from aiohttp import web
from msgspec import Meta, Struct

from runflow_async._answers.lenient import Lenient, WarnOnce
from runflow_async._arguments.connection import parse_secrets
from runflow_async._arguments.values import check_count
from runflow_async._text import printable
from runflow_async.errors import InvalidSignatureError, MalformedResponseError, SessionClosedError
from runflow_async.models import TERMINAL_STATUSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runflow_async._text import Secret
    from runflow_async.session import RunflowSession

__all__ = ["BatchCallback", "callback_application", "parse_callback", "verify_signature"]

logger = logging.getLogger("runflow_async")

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


def callback_application(
    session: RunflowSession, secrets: str | Sequence[str], *, path: str = "/", max_body: int = 1_048_576
) -> web.Application:
    """Make an application that receives callbacks and nudges the waits for their batches.

    Serve it on its own or mount it with `add_subapp`. It answers 200 to a signed callback, whether or not anything
    waits for the batch and however often the callback is repeated; 401 to a bad signature; 400 to a signed body that
    is not a callback, or whose compression is broken; 413 to a large one; and 503 once the session is closed. A
    compressed body is decompressed before its signature is verified.

    Args:
        session: the session whose waits are nudged; it must run on the same event loop.
        secrets: as for `verify_signature`.
        path: where callbacks are posted.
        max_body: largest body in bytes, counted after decompression. It also applies if the application is mounted.

    Raises:
        ConfigurationError: if there is no secret, or an empty one, or `max_body` is not a positive whole number.
    """
    max_body = check_count("max_body", max_body)
    application = web.Application()
    application.router.add_post(path, _Receiver(session, parse_secrets(secrets), max_body).receive)
    return application


class _Receiver:
    """Receives callbacks and acts on each one once."""

    def __init__(self, session: RunflowSession, secrets: tuple[Secret, ...], max_body: int) -> None:
        self._session = session
        self._secrets = secrets
        self._max_body = max_body
        self._known: OrderedDict[tuple[UUID, bytes], None] = OrderedDict()

    async def receive(self, request: web.Request) -> web.Response:
        """Answer one callback."""
        try:
            body = await self._read(request)
            verify_signature(self._secrets, body, request.headers.get("Runflow-Signature"))
            callback = parse_callback(body)
            self._act_on(callback)
        except InvalidSignatureError as error:
            name = printable(request.headers.get("Runflow-Request-Id", "none"))
            logger.warning("callback with the request id %s rejected: %s", name, error)
            return web.json_response({"error": str(error)}, status=401)
        except (MalformedResponseError, web.RequestPayloadError) as error:
            return web.json_response({"error": str(error)}, status=400)
        except SessionClosedError as error:
            return web.json_response({"error": str(error)}, status=503)
        return web.json_response({})

    async def _read(self, request: web.Request) -> bytes:
        # In a mounted application only the outermost client_max_size counts, not its own.
        try:
            bounded = request.clone(client_max_size=self._max_body)
        except RuntimeError:
            bounded = request  # a middleware in front has already read it
        body = await bounded.read()
        if len(body) > self._max_body:
            raise web.HTTPRequestEntityTooLarge(self._max_body, len(body))
        return body

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
