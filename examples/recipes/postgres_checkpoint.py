"""Checkpoints in PostgreSQL, shared by any number of workers. Copy `write_behind.py` beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from write_behind import WriteBehind

from runflow_async import BatchItemHandle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    import asyncpg

    from runflow_async import ItemTransition

SCHEMA = """\
CREATE TABLE runflow_items (
    batch_id uuid, item_id uuid, ended boolean NOT NULL, item json NOT NULL, PRIMARY KEY (batch_id, item_id)
)"""
"""Belongs into a migration: two workers that create the table at the same time would fail."""
UPSERT = """\
INSERT INTO runflow_items VALUES ($1, $2, $3, $4)
ON CONFLICT (batch_id, item_id) DO UPDATE SET ended = excluded.ended, item = excluded.item
WHERE NOT runflow_items.ended"""


class PostgresCheckpoint(WriteBehind):
    """A row for each item. The condition of the upsert keeps its first end, whoever writes last."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        super().__init__()
        self._pool = pool

    async def read(self, batch_id: UUID) -> Sequence[BatchItemHandle]:
        """Return the items of a batch."""
        rows = await self._pool.fetch("SELECT item FROM runflow_items WHERE batch_id = $1", batch_id)
        return [msgspec.json.decode(row["item"], type=BatchItemHandle) for row in rows]

    async def write(self, transitions: Sequence[ItemTransition]) -> None:
        """Write all in one transaction, in the order of their keys, so that two workers cannot deadlock."""
        rows = [
            (one.batch_id, one.item.id, one.is_terminal, msgspec.json.encode(one.item).decode()) for one in transitions
        ]
        await self._pool.executemany(UPSERT, sorted(rows, key=lambda row: row[:2]))
