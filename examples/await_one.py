"""Await one batch and show the outcome of its items: `python examples/await_one.py BATCH_ID`.

The key comes from the environment variable RUNFLOW_API_KEY.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from runflow_async import RunflowError, RunflowSession, WaitTimeoutError


async def main(batch_id: str, timeout: float = 3600.0) -> int:
    """Return the exit status: 0 if everything succeeded, 1 if not, 3 if the batch was still running."""
    async with RunflowSession() as session:
        try:
            batch = await session.wait_for_batch(batch_id, timeout=timeout)
        except WaitTimeoutError as error:
            print(error, file=sys.stderr)
            return 3
        print(f"{batch.status_code}: {batch.items_succeeded} of {batch.items_total} succeeded")
        async for item in session.iter_batch_items(batch_id):
            print(item.client_ref, item.status_code, item.cost, item.output or item.error)
    return 0 if batch.status_code == "succeeded" else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("batch_id")
    try:
        sys.exit(asyncio.run(main(parser.parse_args().batch_id)))
    except RunflowError as error:
        sys.exit(f"{type(error).__name__}: {error}")
