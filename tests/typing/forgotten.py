"""Waits that nobody awaits: mypy finds them with this setting, pyright only where a field of the batch is asked for."""
# mypy: enable-error-code="unused-awaitable"

from __future__ import annotations

from typing import TYPE_CHECKING

from runflow_async.distributed import wait_for_batches

if TYPE_CHECKING:
    from uuid import UUID

    from distributed import Client

    from runflow_async import RunflowSession


async def forgotten(session: RunflowSession, client: Client, batch_id: UUID) -> None:
    """Each of these does nothing."""
    session.wait_for_batch(batch_id)  # type: ignore[unused-awaitable]
    session.wait_for_batches([batch_id])  # type: ignore[unused-awaitable]
    wait_for_batches(client, [batch_id])  # type: ignore[unused-awaitable]
    session.wait_for_batch(batch_id).raise_for_status()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
