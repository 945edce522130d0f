"""Send every request through a proxy: `HTTPS_PROXY=http://user:password@proxy.example:3128 python ... BATCH_ID`."""

from __future__ import annotations

import asyncio
import os
import sys

import aiohttp

from runflow_async import Batch, RunflowSession


async def main(batch_id: str) -> Batch:
    """Await a batch through the proxy that the environment names."""
    proxy = os.environ["HTTPS_PROXY"]
    async with aiohttp.ClientSession(proxy=proxy) as http, RunflowSession(http=http) as session:
        return await session.wait_for_batch(batch_id)


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1])).status_code)
