"""`results`: print each item with its result as it ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from runflow_async.cli.connecting import open_session
from runflow_async.cli.following import accompany
from runflow_async.cli.lines import print_results
from runflow_async.cli.messages import say_of
from runflow_async.cli.outages import OutageWatch
from runflow_async.cli.watching import (
    following_options,
    how_to_go_on,
    open_state,
    read_ids,
    report,
    resuming_options,
    run_until_interrupted,
)

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["results"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one item per line, as JSON with its output.")
@resuming_options
@following_options
def results(
    *,
    batch_ids: tuple[str, ...],
    timeout: float | None,
    interval: float | None,
    max_outage: float,
    as_json: bool,
    since: Path | None,
    save: Path | None,
) -> int:
    """Print each item with its result as soon as it has ended.

    Each is a line of a table, or of JSON.

    An ID of - reads ids from standard input, where # starts a comment. --since and --save are those of watch, but each
    of the two commands needs a file of its own.
    """
    ids = read_ids(batch_ids)
    state = open_state("results", since, save)

    async def show() -> int:
        async with open_session() as session:
            found = session.iter_results(
                ids, timeout=timeout, interval=interval, max_outage=max_outage, checkpoint=state
            )
            outages = OutageWatch(found, began=say_of, over=say_of)
            try:
                async with found:
                    work = print_results(found, as_json=as_json)
                    await accompany(work, lambda: outages.look(asyncio.get_running_loop().time()))
            finally:
                state.write()
        return report(found)

    return run_until_interrupted(show, how_to_go_on(since, save))
