"""A server that Prism makes of the contract, against the client: `python -m proofs.mocked [--rounds 100]`.

Every response is drawn from the schema, and the client must accept each one. Lists are read to their last page, a wait
is followed to its first transition: the next response would contradict it. The copy of the contract that Prism gets is
narrower where responses have to agree: ids are those that were asked for, no cursor comes twice, and a page that names
another is not empty. `make proofs/node/node_modules` installs Prism.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import aiohttp
import yaml

from runflow_async import RetryPolicy, RunflowError, RunflowSession
from tests.rig import refused_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

HERE = Path(__file__).parent
PRISM = HERE / "node" / "node_modules" / ".bin" / "prism"
CONTRACT = HERE.parent / "tests" / "contract" / "openapi.yaml"
ID = UUID("8c1f2a4e-6f0b-4c57-9d53-1b0c7f3f2a10")
ASKED_FOR = {"type": "string", "enum": [str(ID)]}
OWNERS = {"Batch": "id", "BatchItem": "batch_id", "CallbackDelivery": "batch_id"}
CURSOR = {"type": ["string", "null"], "format": "uuid"}
STARTS_WITHIN = 60.0


def following(page: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a page with something in it, which may name another."""
    fields = page["properties"]
    return page | {
        "properties": fields | {"items": fields["items"] | {"minItems": 1}, "next_pq": CURSOR, "next": CURSOR}
    }


def last(page: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a page, perhaps empty, that names no other."""
    return page | {"properties": page["properties"] | {"next_pq": {"type": "null"}, "next": {"type": "null"}}}


def contract() -> dict[str, Any]:
    """Return the contract with the ids that will be asked for, and lists that end."""
    document: dict[str, Any] = yaml.safe_load(CONTRACT.read_text())
    schemas = document["components"]["schemas"]
    for schema, name in OWNERS.items():
        schemas[schema]["properties"][name] = ASKED_FOR
    for schema in ("ItemsPage", "DeliveriesPage"):
        schemas[schema] = {"oneOf": [following(schemas[schema]), last(schemas[schema])]}
    item = document["paths"]["/v1/batches/{batch_id}/items/{id}"]["get"]["responses"]["200"]["content"]
    only = {"type": "object", "properties": {"id": ASKED_FOR}}
    item["application/json"]["schema"] = {"allOf": [{"$ref": "#/components/schemas/BatchItem"}, only]}
    return document


@asynccontextmanager
async def prism(document: dict[str, Any]) -> AsyncIterator[str]:
    """Serve the document on loopback, with responses drawn anew for each request; the server's URL."""
    with refused_port() as port:
        pass  # it is free again
    with tempfile.NamedTemporaryFile("w", suffix=".json") as copy:
        json.dump(document, copy)
        copy.flush()
        command = [str(PRISM), "mock", "--dynamic", "--port", str(port), copy.name]
        null = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(*command, stdout=null, stderr=null)
        try:
            url = f"http://127.0.0.1:{port}"
            await answers(url)
            yield url
        finally:
            process.terminate()
            await process.wait()


async def answers(url: str) -> None:
    """Return once the server answers."""
    async with asyncio.timeout(STARTS_WITHIN), aiohttp.ClientSession() as http:
        while True:
            try:
                async with http.get(url):
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.1)


def calls(session: RunflowSession) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return one call of everything that reads a response, by its name."""

    async def items() -> None:
        async for _ in session.iter_batch_items(ID):
            pass

    async def transitions() -> None:
        async with session.wait_for_batch(ID) as wait:
            async for _ in wait:
                break

    async def creation() -> None:
        await (await session.create_batch("owner/model", [{"prompt": "a fox"}])).aclose()

    return {
        "get_batch": lambda: session.get_batch(ID),
        "wait_for_batch": transitions,
        "iter_batch_items": items,
        "get_batch_item": lambda: session.get_batch_item(ID, ID),
        "create_batch": creation,
        "callback_deliveries": lambda: session.callback_deliveries(ID),
        "redeliver_callback": lambda: session.redeliver_callback(ID),
    }


async def ask(url: str, rounds: int) -> tuple[Counter[str], list[str]]:
    """Make each call so many times; how many responses were accepted, by call, and why others were not."""
    accepted, refused = Counter[str](), []
    async with RunflowSession("rf_test_key", base_url=url, retry=RetryPolicy(attempts=1)) as session:
        for _ in range(rounds):
            for name, call in calls(session).items():
                try:
                    async with asyncio.timeout(10):
                        await call()
                    accepted[name] += 1
                except (RunflowError, TimeoutError) as error:
                    refused.append(f"{name}: {error!r}")
    return accepted, refused


async def run(rounds: int) -> int:
    """Start the server, ask, and print what came of it."""
    async with prism(contract()) as url:
        accepted, refused = await ask(url, rounds)
    print(json.dumps({"accepted": accepted, "refused": len(refused)}))
    print("\n".join(refused[:10]), file=sys.stderr)
    return int(bool(refused))


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    logging.getLogger("runflow_async").setLevel(logging.ERROR)  # optional fields with odd values are warned of
    return asyncio.run(run(options.rounds))


if __name__ == "__main__":
    sys.exit(main())
