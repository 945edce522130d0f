"""`python manage.py follow_batches BATCH_ID...`: handle each transition, and resume where the last run was stopped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from runflow_async import RunflowError, RunflowSession
from runflow_async.checkpoints import SQLiteCheckpoints

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from runflow_async import ItemTransition


class Command(BaseCommand):
    """Ends once every batch has ended."""

    help = "Follow batches until they have ended."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the ids of the batches."""
        parser.add_argument("batch_ids", nargs="+")

    def handle(self, *_: Any, batch_ids: list[str], **__: Any) -> None:
        """Run the loop; an error of the SDK becomes one of the command."""
        try:
            asyncio.run(self.follow(batch_ids))
        except* RunflowError as errors:
            raise CommandError("\n".join(map(str, errors.exceptions))) from errors

    async def follow(self, batch_ids: list[str]) -> None:
        """Follow all batches in one session."""
        async with RunflowSession() as session, SQLiteCheckpoints(settings.RUNFLOW_CHECKPOINTS) as checkpoints:
            async for transition in session.wait_for_batches(batch_ids, timeout=None, checkpoint=checkpoints):
                await self.take(transition)

    async def take(self, transition: ItemTransition) -> None:
        """Do your work, with the asynchronous ORM for instance: `await Row.objects.aupdate_or_create(...)`."""
        self.stdout.write(f"{transition.item.client_ref} {transition.current}")
