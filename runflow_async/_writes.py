"""Calls that change something on the server: each does so once, however often it is sent."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from runflow_async._answers.decoding import decode_batch, decode_delivery
from runflow_async._answers.lenient import WarnOnce
from runflow_async._http.posts import Post
from runflow_async._http.protocol import batches_path, redeliveries_path
from runflow_async._observing import Call
from runflow_async._verdict import Verdict
from runflow_async.errors import ConflictError, MalformedResponseError, RateLimitError, RunflowError

if TYPE_CHECKING:
    from uuid import UUID

    from runflow_async._http.replies import Reply
    from runflow_async._http.transport import Transport
    from runflow_async._lifetime import Lifetime
    from runflow_async._waits.retries import Retries
    from runflow_async.models import CallbackDelivery

__all__ = ["Writes"]

CREATED = (HTTPStatus.CREATED.value,)
CREATION_HINTS: dict[int, str] = {
    403: "check that the key may execute runs, and that it belongs to the right organisation",
    404: "check the model's name, 'owner/slug'",
    409: "this idempotency_key was used for other arguments: pass those again, or another key",
    422: "check the inputs against the model's template; only a model with a template takes batches",
}

REDELIVERED = (HTTPStatus.OK.value, HTTPStatus.CREATED.value, HTTPStatus.ACCEPTED.value)
REDELIVERY_HINTS: dict[int, str] = {
    403: "check that the key may execute runs, and that it belongs to the right organisation",
    422: "only the callback of a batch that has ended and has a callback_url can be sent again, and not while a "
    "delivery is in flight; the list of its deliveries shows them",
}


class Writes:
    """Writes of one session.

    Args:
        lifetime: of the session.
        transport: sends the requests.
        retries: what happens after a failure.
    """

    __slots__ = ("_lifetime", "_retries", "_transport")

    def __init__(self, lifetime: Lifetime, transport: Transport, retries: Retries) -> None:
        self._lifetime = lifetime
        self._transport = transport
        self._retries = retries

    async def create(self, model: str, body: bytes, idempotency_key: str, *, is_new_key: bool) -> tuple[UUID, Reply]:
        """Create a batch, once for each key.

        Args:
            model: `owner/slug`.
            body: JSON.
            idempotency_key: the same for every attempt.
            is_new_key: whether no earlier call can have used it.

        Returns:
            Its id, and the response that describes it.

        Raises:
            RunflowError: the last error, if it is final or the attempts are used up.
        """
        post = Post(body, idempotency_key, CREATED, CREATION_HINTS)
        subject = f"new batch of {model}"
        warn, call = WarnOnce(subject), Call(None)
        may_be_in_progress = is_new_key

        async def send() -> tuple[UUID, Reply]:
            nonlocal may_be_in_progress
            try:
                reply = await self._transport.get(batches_path(model), call, sent=_uncounted, post=post)
                batch_id = decode_batch(reply.body, warn).id
                if batch_id is None:
                    raise MalformedResponseError("a new batch without an id", where="$.id")
            except ConflictError as error:
                # An attempt whose response was lost may still be in progress. Otherwise the key is taken.
                error.verdict = Verdict.TRANSIENT if may_be_in_progress else Verdict.FINAL
                raise
            except RunflowError:
                may_be_in_progress = True
                raise
            return batch_id, reply

        engine = self._retries.engine(subject, call)
        try:
            with self._lifetime.scope("create_batch"):
                return await engine(send)
        except RunflowError as error:
            error.idempotency_key = idempotency_key
            raise

    async def redeliver(self, batch_id: UUID) -> CallbackDelivery:
        """Have a batch's callback sent again. Without a key for it, only a 429 is retried: it did nothing.

        Raises:
            RunflowError: the first other error, or the last 429 if the attempts are used up.
        """
        post = Post(b"", None, REDELIVERED, REDELIVERY_HINTS)
        warn, call = WarnOnce("callback of batch", batch_id), Call(batch_id)

        async def send() -> CallbackDelivery:
            try:
                reply = await self._transport.get(redeliveries_path(batch_id), call, sent=_uncounted, post=post)
                delivery = decode_delivery(reply.body, warn)
                reply.require_delivery(batch_id, delivery.batch_id)
            except RunflowError as error:
                if not isinstance(error, RateLimitError):
                    error.verdict = Verdict.FINAL
                raise
            return delivery

        engine = self._retries.engine(f"callback of batch {batch_id}", call)
        try:
            with self._lifetime.scope("redeliver_callback"):
                return await engine(send)
        except RunflowError as error:
            error.batch_id = batch_id
            raise


def _uncounted() -> None:
    """Requests of these calls are not counted."""
