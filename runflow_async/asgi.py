"""Receive callbacks in any ASGI server or framework: FastAPI, Starlette, Litestar, Django.

Decides how a request is read and answered. `callbacks` has the same for aiohttp.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec

from runflow_async._arguments.values import check_count
from runflow_async._callbacks import DEFAULT_MAX_BODY, Answer, Receiver
from runflow_async._http.bodies import CODINGS, decompress
from runflow_async.errors import MalformedResponseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runflow_async.session import RunflowSession

__all__ = ["callback_asgi"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


def callback_asgi(
    session: RunflowSession, secrets: str | Sequence[str], *, path: str = "/", max_body: int = DEFAULT_MAX_BODY
) -> ASGIApp:
    """Make an ASGI application that receives callbacks and nudges the waits for their batches.

    Mount it in your application, or serve it on its own. It answers as `callback_application` does, and 404 or 405 to
    any other path or method. It does not close the session.

    Args:
        session: the session whose waits are nudged; it must run on the same event loop.
        secrets: as for `verify_signature`.
        path: where callbacks are posted, below the path at which the application is mounted. A slash at the end makes
            no difference.
        max_body: largest body in bytes, counted after decompression.

    Raises:
        ConfigurationError: if there is no secret, or an empty one, or `max_body` is not a positive whole number.
    """
    return _Application(Receiver(session, secrets), path, check_count("max_body", max_body))


class _Disconnected(Exception):  # noqa: N818  # not an error: nobody is left to answer
    """The client left before it had sent the whole body."""


class _Headers(NamedTuple):
    """The headers of a request that matter here; None, or no coding, for one that is missing."""

    signature: str | None
    request_id: str | None
    coding: str

    @classmethod
    def of(cls, headers: Iterable[tuple[bytes, bytes]]) -> _Headers:
        """Pick them; of a repeated one, the first counts."""
        found: dict[bytes, str] = {}
        for name, value in headers:
            found.setdefault(name.lower(), value.decode("latin-1").strip())
        coding = found.get(b"content-encoding", "").lower()
        return cls(found.get(b"runflow-signature"), found.get(b"runflow-request-id"), coding)


class _Application:
    """An object, not a function, so that a `Route` of Starlette takes it for an ASGI application."""

    def __init__(self, receiver: Receiver, path: str, max_body: int) -> None:
        self._receiver = receiver
        self._path = path.rstrip("/")
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "lifespan":
                await _live(receive, send)
            case "http":
                await self._serve(scope, receive, send)
            case "websocket":
                await send({"type": "websocket.close", "code": 1000})
            case unknown:
                raise NotImplementedError(f"callback_asgi answers HTTP requests, not {unknown!r}")

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _path_below(scope) != self._path:
            answer = Answer(404, "not found")
        elif scope["method"] != "POST":
            answer = Answer(405, "callbacks are posted")
        else:
            try:
                answer = await self._answer(_Headers.of(scope["headers"]), receive)
            except _Disconnected:
                return
        await _respond(send, answer)

    async def _answer(self, headers: _Headers, receive: Receive) -> Answer:
        body = await _read(receive, self._max_body)
        # As with aiohttp's server, any other token stands for no compression.
        if headers.coding in CODINGS and len(body) <= self._max_body:
            try:
                body = decompress(headers.coding, body, self._max_body)
            except MalformedResponseError as error:
                return Answer(400, str(error))
        if len(body) > self._max_body:
            return Answer(413, f"the body is larger than {self._max_body} bytes")
        return self._receiver.answer(body, headers.signature, headers.request_id)


def _path_below(scope: Scope) -> str:
    """The path of a request below the one at which the application is mounted, without a slash at its end.

    Frameworks differ in whether they cut the root off, and in whether they add a slash.
    """
    path: str = scope["path"].rstrip("/")
    root: str = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if path == root or path.startswith(f"{root}/") else path


async def _read(receive: Receive, limit: int) -> bytes:
    """Return the body, or its beginning if that is larger than `limit` bytes already."""
    body = bytearray()
    more = True
    while more and len(body) <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Disconnected
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)


async def _respond(send: Send, answer: Answer) -> None:
    body = msgspec.json.encode(answer.document)
    headers = [(b"content-type", b"application/json; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append((b"allow", b"POST"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _live(receive: Receive, send: Send) -> None:
    """Answer the lifespan scope of a server that runs the application on its own. There is nothing to set up."""
    while True:
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return
