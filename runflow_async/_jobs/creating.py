"""`create_batch` and `create_batches`: what is sent, and which wait follows a batch that was created."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from runflow_async._arguments.creation import check_creation, check_inputs
from runflow_async._jobs.keywords import check_keywords
from runflow_async._jobs.parts import HasParts
from runflow_async.errors import PartlyCreatedError, RunflowError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Unpack
    from uuid import UUID

    from runflow_async._arguments.creation import Creation
    from runflow_async._http.replies import Reply
    from runflow_async._waits.fleet import BatchesWait
    from runflow_async._waits.one import BatchWait
    from runflow_async._waits.options import WaitKeywords

__all__ = ["CreatesBatches"]

CREATIONS_AT_ONCE = 8
"""Number of batches that are created at the same time. Bodies are large, and polls need connections too."""


class CreatesBatches(HasParts):
    """The methods that create batches."""

    async def create_batch(
        self,
        model: str,
        inputs: Sequence[Mapping[str, Any]],
        *,
        client_refs: Sequence[str | None] | None = None,
        metadata: Mapping[str, Any] | None = None,
        callback_url: str | None = None,
        idempotency_key: str | None = None,
        **waiting: Unpack[WaitKeywords],
    ) -> BatchWait:
        """Create a batch, and return the wait for it.

        Transient failures are retried like those of `get_batch`. Every attempt has the same `Idempotency-Key`, so that
        there is one batch even if the response to an attempt was lost. A batch cannot be cancelled: the API offers
        that to administrators only.

        The response is the first snapshot: `batch_id` and, without a checkpoint, `batch` are known at once, its
        transitions are pending, and the next poll follows when the schedule says so. `timeout` counts from it. The wait
        may be dropped; the batch runs all the same.

        Args:
            model: `owner/slug`; it must have a template.
            inputs: 1 to 100 mappings that JSON can express. A `client_ref` in one names its item.
            client_refs: a name of at most 255 characters, or None, for each input.
            metadata: kept with the batch and sent with its callback.
            callback_url: called when the batch has ended; http(s), at most 2048 characters.
            idempotency_key: by default a new one for each call. With the same key and the same arguments, a later call
                returns the same batch, even in another process. How long the server remembers a key is not documented.
            **waiting: the keywords of `wait_for_batch`, except `since`.

        Raises:
            ConfigurationError: if an argument is invalid, before any request.
            PaymentRequiredError: the organisation's credit does not cover the batch.
            ConflictError: the key was used for other arguments.
            UnprocessableError: the server rejects an input, or the model takes no batches; `errors` says why.
            RunflowError: the last error, if it is final or the attempts are used up; `idempotency_key` is the key that
                was used.
        """
        options, checkpoint = check_keywords(**waiting)
        creation = check_creation(
            model,
            check_inputs(inputs),
            client_refs=client_refs,
            metadata=metadata,
            callback_url=callback_url,
            idempotency_key=idempotency_key,
        )
        batch_id, reply = await self._create(creation, creation.bodies[0], creation.idempotency_key)
        return self._waits.for_created(batch_id, reply, options, checkpoint)

    async def create_batches(
        self,
        model: str,
        inputs: Iterable[Mapping[str, Any]],
        *,
        client_refs: Iterable[str | None] | None = None,
        metadata: Mapping[str, Any] | None = None,
        callback_url: str | None = None,
        idempotency_key: str | None = None,
        **waiting: Unpack[WaitKeywords],
    ) -> BatchesWait:
        """Create one batch for each 100 inputs, and return the wait for all of them.

        A few are created at a time, at the session's request rate. After a failure no further one begins.

        Args:
            model: as for `create_batch`.
            inputs: any number of mappings; all are checked before the first request.
            client_refs: as for `create_batch`.
            metadata: of each batch.
            callback_url: of each batch.
            idempotency_key: by default a new one for each call; each batch adds its number to it. With the same key and
                the same arguments, a later call creates only what is missing, and waits for all.
            **waiting: the keywords of `wait_for_batch`, except `since`.

        Raises:
            ConfigurationError: if an argument is invalid, before any request.
            PartlyCreatedError: if a batch could not be created; it says which ones were, and has the `idempotency_key`
                to go on with. Its cause is the first failure.
        """
        options, checkpoint = check_keywords(**waiting)
        creation = check_creation(
            model,
            inputs,
            client_refs=client_refs,
            metadata=metadata,
            callback_url=callback_url,
            idempotency_key=idempotency_key,
        )
        return self._waits.for_all_created(await self._create_all(creation), options, checkpoint)

    async def _create(self, creation: Creation, body: bytes, key: str) -> tuple[UUID, Reply]:
        return await self._writes.create(creation.model, body, key, is_new_key=creation.is_own_key)

    async def _create_all(self, creation: Creation) -> dict[UUID, Reply]:
        """Create every batch. The first failure ends this as soon as the requests in flight have ended."""
        created: dict[int, tuple[UUID, Reply]] = {}
        failures: list[Exception] = []
        pending = iter(enumerate(creation.bodies))

        async def create_some() -> None:
            for number, body in pending:
                if failures:
                    return
                try:
                    created[number] = await self._create(creation, body, f"{creation.idempotency_key}-{number}")
                except Exception as error:  # noqa: BLE001  # also one of the caller's own session; it is the cause
                    failures.append(error)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(CREATIONS_AT_ONCE, len(creation.bodies))):
                group.create_task(create_some())
        replies = dict(created[number] for number in sorted(created))
        if failures:
            raise _partly_created(replies, creation, failures[0]) from failures[0]
        return replies


def _partly_created(replies: Mapping[UUID, Reply], creation: Creation, failure: Exception) -> PartlyCreatedError:
    error = PartlyCreatedError(list(replies), len(creation.bodies), creation.idempotency_key, reason=failure)
    if isinstance(failure, RunflowError):
        error.verdict = failure.verdict
    return error
