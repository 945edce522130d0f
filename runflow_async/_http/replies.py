"""A valid response: the body, and what the schedule and the check of its id need to know about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runflow_async.errors import MalformedResponseError

if TYPE_CHECKING:
    import asyncio
    from uuid import UUID

    from runflow_async._answers.lenient import Warn
    from runflow_async.models import BatchItem

__all__ = ["Reply"]


class Reply:
    """The response to one GET, with status 200.

    A server can push a response onto an idle connection, and the HTTP client hands it to the next request. Therefore
    every response is compared with what was asked for. If it is about something else, its connection is closed.

    Attributes:
        body: the whole body, decompressed.
        retry_after: seconds after which the server wants to be asked again, or None.
        roundtrip: seconds from sending the request to the last byte.
    """

    __slots__ = ("_wire", "body", "retry_after", "roundtrip")

    def __init__(
        self, body: bytes, retry_after: float | None, roundtrip: float, wire: asyncio.Transport | None
    ) -> None:
        self.body = body
        self.retry_after = retry_after
        self.roundtrip = roundtrip
        self._wire = wire

    def require_batch(self, asked: UUID, answered: UUID | None, warn: Warn) -> None:
        """Refuse the response if it is about another batch. Without an id, as the contract allows, warn and accept it.

        Raises:
            MalformedResponseError: if it names another batch; or none, in a body that is not UTF-8, because then the
                name of the field itself may be corrupted.
        """
        if answered is None:
            try:
                self.body.decode()
            except UnicodeDecodeError:
                raise self._refusal("no id, and text that is not UTF-8") from None
            warn("the answer has no id and is taken for this batch's")
        elif answered != asked:
            raise self._refusal(f"about batch {answered}, not about batch {asked}", "$.id")

    def require_items(self, asked: UUID, answered: list[UUID | None]) -> None:
        """Refuse the response if one of its items names another batch.

        Raises:
            MalformedResponseError: with the place of that item.
        """
        for number, batch_id in enumerate(answered):
            if batch_id not in (None, asked):
                raise self._refusal("an item of another batch", f"$.items[{number}].batch_id")

    def require_item(self, batch_id: UUID, item_id: UUID, answered: BatchItem) -> None:
        """Refuse the response if it is about another item, or if the item names another batch.

        Raises:
            MalformedResponseError: with the place of that id.
        """
        if answered.id != item_id:
            raise self._refusal(f"about item {answered.id}, not about item {item_id}", "$.id")
        if answered.batch_id not in (None, batch_id):
            raise self._refusal("an item of another batch", "$.batch_id")

    def _refusal(self, problem: str, where: str = "$") -> MalformedResponseError:
        """The error for a response that cannot be ours. Nobody can trust what else its connection holds."""
        if self._wire is not None:
            self._wire.abort()
        return MalformedResponseError(problem, where=where)
