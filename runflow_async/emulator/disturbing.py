"""Ways to send a response badly: late, in part, without end or not at all. Decides neither which response nor when."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, cast

from aiohttp import web

if TYPE_CHECKING:
    from runflow_async.emulator.answers import Answer

__all__ = ["drip", "flood", "hang", "misannounce", "reset", "truncate"]

RST_ON_CLOSE = struct.pack("ii", 1, 0)
PIECE_BYTES = 65_536
"""What an endless body grows by at a time, at least."""


async def reset(request: web.BaseRequest, _: Answer) -> web.StreamResponse:
    """Reset the connection (RST) instead of responding."""
    # Not None: a handler that lost its connection was cancelled before it got here.
    transport = cast("asyncio.Transport", request.transport)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
    transport.abort()
    return web.Response()  # it is never sent, but aiohttp requires one


async def hang(_: web.BaseRequest, __: Answer) -> web.StreamResponse:
    """Never respond."""
    never: asyncio.Future[web.StreamResponse] = asyncio.get_running_loop().create_future()
    return await never


async def drip(request: web.BaseRequest, answer: Answer, seconds: float, pieces: int) -> web.StreamResponse:
    """Send the body in `pieces`, the last one after `seconds`."""
    response = await _send_head(request, answer, length=len(answer.body))
    size = max(1, -(-len(answer.body) // pieces))
    with contextlib.suppress(ConnectionError):  # a client that gives up is the purpose of this fault
        for start in range(0, len(answer.body), size):
            await asyncio.sleep(seconds / pieces)
            await response.write(answer.body[start : start + size])
    return response


async def truncate(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """Announce the whole body, send half of it and disconnect."""
    response = await _send_head(request, answer, length=len(answer.body))
    with contextlib.suppress(ConnectionError):
        await response.write(answer.body[: len(answer.body) // 2])
    response.force_close()
    return response


async def misannounce(request: web.BaseRequest, answer: Answer, by: int) -> web.StreamResponse:
    """Announce `by` bytes more than the body has, send the body and disconnect."""
    response = await _send_head(request, answer, length=max(0, len(answer.body) + by))
    transport = request.transport
    with contextlib.suppress(ConnectionError):
        await response.write(answer.body)
        if by < 0 and transport is not None:
            transport.write(answer.body[by:])  # aiohttp itself sends no more than it has announced
    response.force_close()
    return response


async def flood(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """Send the body over and over again until the client disconnects."""
    response = await _send_head(request, answer, length=None)
    piece = answer.body.ljust(1) * (1 + PIECE_BYTES // max(1, len(answer.body)))
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(piece)
    return response


async def _send_head(request: web.BaseRequest, answer: Answer, length: int | None) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=answer.multi_headers())
    response.content_type = answer.content_type
    response.content_length = length
    await response.prepare(request)
    return response
