"""`callback_deliveries`, `redeliver_callback` and `nudge`: the methods about callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runflow_async._arguments.batches import parse_batch_id
from runflow_async._jobs.parts import HasParts

if TYPE_CHECKING:
    from uuid import UUID

    from runflow_async.models import CallbackDelivery

__all__ = ["ServesCallbacks"]


class ServesCallbacks(HasParts):
    """The methods about callbacks: their deliveries, and what one of them triggers."""

    async def callback_deliveries(self, batch_id: UUID | str) -> list[CallbackDelivery]:
        """Fetch the deliveries of a batch's callback, each with its attempts. Retried like `get_batch`.

        A batch without a `callback_url`, or one that has not ended, has none.

        Raises:
            ConfigurationError: if `batch_id` is not a UUID.
            RunflowError: the last error, if it is final or the attempts are used up.
        """
        return await self._reads.deliveries(parse_batch_id(batch_id))

    async def redeliver_callback(self, batch_id: UUID | str) -> CallbackDelivery:
        """Have the server send a batch's callback again, and return the new delivery, which is in flight.

        The batch must have ended and have a `callback_url`. Only a 429 is retried, like that of `get_batch`: after any
        other failure, another request might make a second delivery.

        Raises:
            ConfigurationError: if `batch_id` is not a UUID.
            UnprocessableError: the batch runs, has no `callback_url`, or a delivery is in flight.
            RunflowError: for every other failure; after a lost response, `callback_deliveries` shows what was done.
        """
        return await self._writes.redeliver(parse_batch_id(batch_id))

    def nudge(self, batch_id: UUID | str) -> bool:
        """Poll a batch now, because something indicates that it has changed. Return whether a wait still waits for it.

        Raises:
            SessionClosedError: if the session is closed.
        """
        asked = parse_batch_id(batch_id)
        self._lifetime.check_open()
        self._lifetime.check_loop()
        return self._waits.nudge(asked)
