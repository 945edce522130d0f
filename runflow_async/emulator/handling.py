"""One request from its arrival to its response: recorded, hit by a fault or not, and delayed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from multidict import CIMultiDict

from runflow_async.emulator.answers import send
from runflow_async.emulator.faults import take_fault
from runflow_async.emulator.received import Request, record
from runflow_async.emulator.routing import call_of

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSequence

    from aiohttp import web

    from runflow_async.emulator.answers import Answer
    from runflow_async.emulator.faults import Fault
    from runflow_async.emulator.received import ReceivedRequest

__all__ = ["handle"]


async def handle(
    request: web.BaseRequest,
    answer_to: Callable[[Request], Answer],
    faults: list[Fault],
    records: MutableSequence[ReceivedRequest],
    *,
    now: Callable[[], float],
    latency: float,
) -> web.StreamResponse:
    """Respond to a request.

    Args:
        request: the request on its connection.
        answer_to: decides the response.
        faults: the next one that hits the request is taken out of them.
        records: where the request is recorded.
        now: the emulator's clock.
        latency: delay of the response, in seconds.
    """
    received_at, call = now(), call_of(request.raw_path)
    received = Request(request.method, request.raw_path, request.headers, await request.content.read())
    fault = take_fault(faults, call)
    if fault is None:
        answer = answer_to(received)
    else:
        answer = fault.rewrite(fault.instead or answer_to(_without(received, fault.ignores)))
    status = None if fault and fault.silent else answer.status
    records.append(record(received, received_at, status, call.batch_id if call else None))
    if latency:
        await asyncio.sleep(latency)
    return await (fault.deliver if fault else send)(request, answer)


def _without(request: Request, names: tuple[str, ...]) -> Request:
    headers = CIMultiDict(request.headers)
    for name in names:
        headers.popall(name, None)
    return msgspec.structs.replace(request, headers=headers)
