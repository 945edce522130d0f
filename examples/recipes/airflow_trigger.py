"""Wait for a batch in Airflow without a worker slot: the task defers, and the triggerer polls.

Put it where both the workers and the triggerer import it from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

from runflow_async import TERMINAL_STATUSES, Batch, BatchItemHandle, RunflowSession

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class BatchTrigger(BaseTrigger):
    """Fires when items have ended that had not ended in `since`, or when the batch has ended.

    `since` is the JSON of the batch as the task last saw it. A triggerer that restarts begins there again.
    """

    def __init__(self, batch_id: str, since: str | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow has no annotation there
        self.batch_id = batch_id
        self.since = since

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer makes the trigger from."""
        kind = type(self)
        return f"{kind.__module__}.{kind.__qualname__}", {"batch_id": self.batch_id, "since": self.since}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire once, with the batch as JSON."""
        since = None if self.since is None else msgspec.json.decode(self.since, type=Batch)
        known = ended_in(since)
        async with RunflowSession() as session:
            batch = await session.wait_for_batch(
                self.batch_id, timeout=None, since=since, until=lambda batch: bool(ended_in(batch).keys() - known)
            )
        yield TriggerEvent(msgspec.json.encode(batch).decode())


class BatchOperator(BaseOperator):
    """Hands each item to `take` once it has ended. The task's result is the status of the batch."""

    template_fields = ("batch_id",)

    def __init__(self, *, batch_id: str, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.batch_id = batch_id

    def execute(self, context: Any) -> None:  # noqa: ARG002  # Airflow's signature
        """Leave the worker."""
        self.defer(trigger=BatchTrigger(self.batch_id), method_name="advance", kwargs={"since": None})

    def advance(self, context: Any, event: str, since: str | None) -> str | None:  # noqa: ARG002
        """Take what has ended since the last time, and leave the worker again unless it was everything."""
        batch = msgspec.json.decode(event, type=Batch)
        known = ended_in(None if since is None else msgspec.json.decode(since, type=Batch))
        for item_id, item in ended_in(batch).items():
            if item_id not in known:
                self.take(item)
        if batch.status_code in TERMINAL_STATUSES:
            return batch.status_code
        self.defer(trigger=BatchTrigger(self.batch_id, event), method_name="advance", kwargs={"since": event})
        return None

    def take(self, item: BatchItemHandle) -> None:
        """Do your work."""
        self.log.info("%s %s", item.client_ref, item.status_code)


def ended_in(batch: Batch | None) -> dict[Any, BatchItemHandle]:
    """Return the items that have ended, by id."""
    items = () if batch is None else batch.items or ()
    return {item.id: item for item in items if item.is_terminal}
