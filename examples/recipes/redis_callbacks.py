"""Receive callbacks in any worker and nudge the waits of all: `uvicorn redis_callbacks:app --workers 2`.

Callbacks are posted to `/runflow`. Needs Starlette, or FastAPI, and redis-py. The environment has REDIS_URL and
RUNFLOW_CALLBACK_SECRET.
"""

# redis-py has partial types:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypedDict

from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from runflow_async import InvalidSignatureError, MalformedResponseError, RunflowSession
from runflow_async.callbacks import parse_callback, verify_signature

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request

CHANNEL = "runflow-callbacks"
logger = logging.getLogger(__name__)


class State(TypedDict):
    """What every request finds in `request.state`."""

    session: RunflowSession
    redis: Redis


@asynccontextmanager
async def hold_session(_app: Starlette) -> AsyncGenerator[State, None]:
    """Keep one session for each worker, and listen for the batches whose callbacks came to any."""
    async with RunflowSession() as session, Redis.from_url(os.environ["REDIS_URL"]) as redis:
        listening = asyncio.create_task(listen(redis, session))
        yield {"session": session, "redis": redis}
        listening.cancel()


async def listen(redis: Redis, session: RunflowSession) -> None:
    """Make this worker's waits for a batch poll once its callback has come."""
    while True:
        try:
            async with redis.pubsub() as channel:
                await channel.subscribe(CHANNEL)
                async for message in channel.listen():
                    if message["type"] == "message":
                        session.nudge(message["data"].decode())
        except RedisError as error:
            logger.warning("callbacks do not reach this worker: %s", error)
            await asyncio.sleep(1)


async def receive(request: Request) -> PlainTextResponse:
    """Tell all workers about a callback."""
    body = await request.body()
    try:
        verify_signature(os.environ["RUNFLOW_CALLBACK_SECRET"], body, request.headers.get("Runflow-Signature"))
        callback = parse_callback(body)
    except InvalidSignatureError as error:
        return PlainTextResponse(str(error), 401)
    except MalformedResponseError as error:
        return PlainTextResponse(str(error), 400)
    redis: Redis = request.state.redis
    await redis.publish(CHANNEL, str(callback.batch_id))
    return PlainTextResponse("")


app = Starlette(routes=[Route("/runflow", receive, methods=["POST"])], lifespan=hold_session)
