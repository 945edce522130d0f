"""Present a client certificate to a gateway that demands one: `python ... BATCH_ID CERTIFICATE.pem AUTHORITY.pem`."""

from __future__ import annotations

import asyncio
import ssl
import sys

import aiohttp

from runflow_async import Batch, RunflowSession


async def main(batch_id: str, certificate: str, authority: str | None = None) -> Batch:
    """Await a batch.

    Args:
        batch_id: the batch.
        certificate: a PEM file with the client's private key and certificate.
        authority: a PEM file with the gateway's own authority, unless a public one signed its certificate.
    """
    context = ssl.create_default_context(cafile=authority)
    context.load_cert_chain(certificate)
    connector = aiohttp.TCPConnector(ssl=context, limit=0)  # the session has a limit of its own: max_connections
    async with aiohttp.ClientSession(connector=connector) as http, RunflowSession(http=http) as session:
        return await session.wait_for_batch(batch_id)


if __name__ == "__main__":
    print(asyncio.run(main(*sys.argv[1:])).status_code)
