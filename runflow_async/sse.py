"""Server-sent events of a wait, for a web page that shows the progress of a batch and resumes where it was cut.

Decides which events there are and what the id of one holds. Knows nothing of web frameworks.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import urlsafe_b64encode
from binascii import a2b_base64
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from runflow_async._arguments.values import check_seconds, check_type
from runflow_async._text import printable
from runflow_async._waits.one import BatchWait
from runflow_async.errors import RunflowError, SessionClosedError, WaitClosedError
from runflow_async.models import Batch, BatchItemHandle, ItemTransition

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from datetime import timedelta

__all__ = ["EndOfWait", "since_of", "sse"]

logger = logging.getLogger("runflow_async")

VERSION = "1"
LONGEST_ID = 8_000
"""Most servers and proxies accept no header line above 8 kB. About 370 items fit."""
UUID_BYTES = 16
NO_RUN = UUID(int=0)
COMMENT = b":\n\n"


class EndOfWait(msgspec.Struct, frozen=True, kw_only=True):
    """The data of the event `end`.

    Attributes:
        batch_id: the batch.
        status_code: the last status of the batch; None if no response has come.
        items_total: number of its items, as the server counts them.
        items_succeeded: likewise.
        items_failed: likewise.
        items_cancelled: likewise.
        error: the class name of the error that ended the wait, such as `WaitTimeoutError`; None if the batch has
            ended, or `until` was met.
    """

    batch_id: UUID
    status_code: str | None
    items_total: int | None
    items_succeeded: int | None
    items_failed: int | None
    items_cancelled: int | None
    error: str | None


class _Delivered(msgspec.Struct, frozen=True, array_like=True):
    """What the id of an event holds: the ids of the items, 16 bytes each, by the status that was delivered last."""

    batch_id: UUID
    items: dict[str, bytes]


_packer = msgspec.msgpack.Encoder(uuid_format="bytes")
_from_url_safe = str.maketrans("-_", "+/")
_unpacker = msgspec.msgpack.Decoder(_Delivered)


def sse(wait: BatchWait, *, heartbeat: float | timedelta = 15.0) -> AsyncGenerator[bytes, None]:
    """Iterate the transitions of a wait as server-sent events, each as the bytes to send.

    - `transitions`: its data is a JSON list of the `ItemTransition`s that one response brought. Its id says what was
      delivered so far, so that the next connection resumes there; see `since_of`.
    - `end`: the last event. Its data is `EndOfWait`. The page must close its `EventSource`, or else it reconnects.
    - a comment after every `heartbeat` seconds without an event, so that proxies keep the connection and a client that
      has gone is noticed.

    A wait that fails ends with `end`, too; the message of its error is logged as a WARNING and does not leave the
    server. If the wait or its session is closed, such as at shutdown, the stream just stops: a browser reconnects, and
    resumes.

    Closing the iterator, or cancelling the task that iterates it, closes the wait. Frameworks do so once they notice
    that the client has disconnected. Waits of one session for the same batch share their polls, so a wait for each
    connection costs one request when it begins, and none as long as another one is there.

    Args:
        wait: an unused wait, such as `session.wait_for_batch(batch_id, timeout=None, since=since_of(last_event_id))`.
        heartbeat: in seconds.

    Raises:
        ConfigurationError: at once, if an argument is invalid.

    Exceptions raised by `until`, a strategy or the checkpoint propagate.
    """
    return _events(check_type("wait", wait, BatchWait), check_seconds("heartbeat", heartbeat))


def since_of(last_event_id: str | None) -> Batch | None:
    """Return what `since=` takes to resume after the event with this id.

    An id is opaque and URL-safe text without a secret, at most 8,000 characters long; 100 items take 2,200. Nothing is
    stored on the server, so another process or a newer release can resume. Every `transitions` event has an id until
    more than about 370 items have been delivered; from then on, reconnecting starts from the beginning.

    Args:
        last_event_id: the header `Last-Event-ID`.

    Returns:
        A snapshot that `wait_for_batch` accepts for the same batch only. Its items have their ids and statuses, and
        neither run ids nor references. None, so that the wait delivers everything, if the id is missing, empty or not
        one that this release can read. That is no error, because a browser gives up for good after an error response.
    """
    if not last_event_id:
        return None
    try:
        delivered = _unpack(last_event_id)
    except (ValueError, msgspec.DecodeError) as error:
        logger.debug("Last-Event-ID %r ignored: %s", printable(last_event_id, 40), error)
        return None
    ids = [(status, UUID(bytes=one)) for status, joined in delivered.items.items() for one in _split(joined)]
    items = [BatchItemHandle(item_id, index, NO_RUN, status) for index, (status, item_id) in enumerate(ids)]
    return Batch(id=delivered.batch_id, items=items)


def _unpack(event_id: str) -> _Delivered:
    if len(event_id) > LONGEST_ID or not event_id.isascii() or not event_id.startswith(VERSION):
        raise ValueError("not an id of this release")
    text = event_id.removeprefix(VERSION).translate(_from_url_safe)
    delivered = _unpacker.decode(a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True))
    if any(len(joined) % UUID_BYTES for joined in delivered.items.values()):
        raise ValueError("an item's id is cut")
    return delivered


def _split(joined: bytes) -> list[bytes]:
    return [joined[start : start + UUID_BYTES] for start in range(0, len(joined), UUID_BYTES)]


def _id_of(delivered: Batch, batch_id: UUID) -> bytes:
    """Pack what was delivered; empty if it is too much, which makes a browser forget the id before."""
    items: dict[str, bytearray] = {}
    for item in delivered.items or ():
        items.setdefault(item.status_code, bytearray()).extend(item.id.bytes)
    packed = _packer.encode((batch_id, items))
    text = VERSION.encode() + urlsafe_b64encode(packed).rstrip(b"=")
    return text if len(text) <= LONGEST_ID else b""


async def _events(wait: BatchWait, heartbeat: float) -> AsyncGenerator[bytes, None]:
    news = wait.batched()
    next_news: asyncio.Task[list[ItemTransition] | RunflowError | None] | None = None
    try:
        while True:
            # A task, because a heartbeat must not cut the request that is in flight.
            next_news = next_news or asyncio.create_task(_next(news), name=f"sse {wait.batch_id}")
            await asyncio.wait([next_news], timeout=heartbeat)
            if not next_news.done():
                yield COMMENT
                continue
            outcome, next_news = next_news.result(), None
            if not isinstance(outcome, list):
                break
            yield _event(b"transitions", msgspec.json.encode(outcome), _id_of(wait.delivered, wait.batch_id))
        if end := _end_of(wait, outcome):
            yield end
    finally:
        # It takes effect, and ends the task, even if the await is cancelled too, as anyio does under Starlette.
        await wait.aclose()


async def _next(news: AsyncIterator[list[ItemTransition]]) -> list[ItemTransition] | RunflowError | None:
    """The next transitions, or what has ended the wait."""
    try:
        return await anext(news, None)
    except RunflowError as error:
        return error


def _end_of(wait: BatchWait, error: RunflowError | None) -> bytes | None:
    """The last event; None if the wait was closed before its end."""
    batch = wait.batch or Batch()
    if isinstance(error, SessionClosedError) or isinstance(wait.exception(), WaitClosedError):
        return None
    if error is not None:
        logger.warning("the server-sent events of batch %s end: %s: %s", wait.batch_id, type(error).__name__, error)
    end = EndOfWait(
        batch_id=wait.batch_id,
        status_code=batch.status_code,
        items_total=batch.items_total,
        items_succeeded=batch.items_succeeded,
        items_failed=batch.items_failed,
        items_cancelled=batch.items_cancelled,
        error=None if error is None else type(error).__name__,
    )
    return _event(b"end", msgspec.json.encode(end))


def _event(kind: bytes, data: bytes, event_id: bytes | None = None) -> bytes:
    named = b"" if event_id is None else b"id: %s\n" % event_id
    return b"event: %s\n%sdata: %s\n\n" % (kind, named, data)
