"""Report batches that could not be followed to Sentry, with what happened before as breadcrumbs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import sentry_sdk

from runflow_async import RunflowError

if TYPE_CHECKING:
    from uuid import UUID

    from runflow_async import Batch, RunflowSession


def start_sentry(**options: Any) -> None:
    """Start Sentry with the options of `sentry_sdk.init`. Records of level INFO become breadcrumbs."""
    sentry_sdk.init(**options)
    logging.getLogger("runflow_async").setLevel(logging.INFO)  # retries and outages, not each request


async def follow(session: RunflowSession, batch_id: UUID) -> Batch:
    """Await a batch. The error of its wait is reported under the batch's id, and raised."""
    with sentry_sdk.isolation_scope() as scope:
        scope.set_tag("batch_id", str(batch_id))
        try:
            return await session.wait_for_batch(batch_id)
        except RunflowError as error:
            sentry_sdk.capture_exception(error)
            raise
