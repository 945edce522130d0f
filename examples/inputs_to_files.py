"""From inputs to files: `python examples/inputs_to_files.py OWNER/SLUG INPUTS.jsonl FOLDER`.

The key comes from the environment variable RUNFLOW_API_KEY.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from runflow_async import RunflowSession


async def main(model: str, inputs: str, folder: str) -> None:
    """Create a batch for each 100 lines, show each result as it is ready, and save the files."""
    lines = await asyncio.to_thread(Path(inputs).read_text)
    async with RunflowSession() as session:
        waits = await session.create_batches(model, [json.loads(line) for line in lines.splitlines()])
        async for item in session.iter_results(waits.waits):
            print(item.client_ref, item.status_code, item.error or len(item.urls))
        saved = [await session.save_outputs(batch_id, folder) for batch_id in waits.waits]
        print(f"{sum(len(one.files) for one in saved)} files in {folder}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
