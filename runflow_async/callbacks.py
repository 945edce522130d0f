"""Receive the callbacks of batches that have ended: verify them, parse them, and poll at once.

A callback is never trusted as the state of a batch: it only triggers a poll. So a forged one could cost a poll and
nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from runflow_async._arguments.values import check_count
from runflow_async._callbacks import DEFAULT_MAX_BODY, BatchCallback, Receiver, parse_callback, verify_signature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runflow_async.session import RunflowSession

__all__ = ["BatchCallback", "callback_application", "parse_callback", "verify_signature"]


def callback_application(
    session: RunflowSession, secrets: str | Sequence[str], *, path: str = "/", max_body: int = DEFAULT_MAX_BODY
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
    service = _Service(Receiver(session, secrets), check_count("max_body", max_body))
    application = web.Application()
    application.router.add_post(path, service.receive)
    return application


class _Service:
    """Reads requests of aiohttp's server for a receiver."""

    def __init__(self, receiver: Receiver, max_body: int) -> None:
        self._receiver = receiver
        self._max_body = max_body

    async def receive(self, request: web.Request) -> web.Response:
        """Answer one request."""
        try:
            body = await self._read(request)
        except web.RequestPayloadError as error:
            return web.json_response({"error": str(error)}, status=400)
        named = request.headers.get
        answer = self._receiver.answer(body, named("Runflow-Signature"), named("Runflow-Request-Id"))
        return web.json_response(answer.document, status=answer.status)

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
