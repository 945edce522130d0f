"""How waits are shown to people: in a line, or in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runflow_async._shown import batch_row, counts_of, describe_batch, join_parts, outlook_text
from runflow_async._waits.estimates import estimate_end

if TYPE_CHECKING:
    from collections.abc import Collection

    from runflow_async._waits.run import Run

__all__ = ["describe_wait", "describe_waits", "row_of_wait"]


def describe_wait(run: Run) -> str:
    """Describe how far one wait is."""
    batch = run.polling.ledger.batch
    under_way = "not started" if run.polling.agenda.started is None else "waiting"
    state = f"ended with {type(run.error).__name__}" if run.error else "done" if run.is_done else under_way
    seen = "" if batch is None else f"last seen {describe_batch(batch)}"
    return join_parts([state, seen, outlook_text(estimate_end([run.polling]))])


def row_of_wait(run: Run) -> str:
    """Return a row of a table for one wait."""
    batch = run.polling.ledger.batch
    return batch_row(str(run.batch_id), {} if batch is None else counts_of(batch), describe_wait(run))


def describe_waits(runs: Collection[Run]) -> str:
    """Describe how far many waits are."""
    unfinished = [run.polling for run in runs if not run.is_done]
    batches = f"{len(runs):,} batch{'' if len(runs) == 1 else 'es'}"
    return join_parts([batches, f"{len(unfinished):,} unfinished", outlook_text(estimate_end(unfinished))])
