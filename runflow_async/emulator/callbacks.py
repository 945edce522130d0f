"""Posts the emulator's callbacks when a batch has ended: signed, and retried until they are accepted.

Posts to loopback only. The time comes from the batch's timelines, so nothing has to be watched until then.
"""

from __future__ import annotations

import asyncio
import hmac
import math
from collections import Counter
from hashlib import sha256
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import aiohttp
import msgspec
from aiohttp import hdrs
from msgspec import Struct
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Callable

    from runflow_async.emulator.timelines import ScriptedBatch

__all__ = ["Deliveries", "SentCallback", "check_callback"]

RETRY_DELAYS = (0.05, 0.1, 0.2, 0.4)
"""Delays in seconds before each further attempt."""
RECEIVER_TIMEOUT_SECONDS = 5.0
CLOCK_POLL_SECONDS = 0.02
"""Time between two looks at a clock other than the loop's."""
SHORTEST_SLEEP_SECONDS = 0.001
ACCEPTED = range(200, 300)
"""Statuses that end a delivery."""


class SentCallback(Struct, frozen=True, kw_only=True):
    """One attempt to deliver a callback.

    Attributes:
        batch_id: the batch that ended.
        url: the URL it was posted to.
        body: the body, byte for byte.
        status: the status of the response; None if there was no response.
        attempt: number of the attempt within a delivery, from 1.
    """

    batch_id: UUID
    url: str
    body: bytes
    status: int | None
    attempt: int


def check_callback(url: str | None, times: int) -> None:
    """Reject callbacks that are invalid or leave this machine.

    Raises:
        ValueError: if `url` is neither None nor an http(s) URL on loopback, or `times` is not a positive whole number.
    """
    if url is not None and not _is_on_loopback(url):
        raise ValueError(f"callback_url must be an http or https URL on loopback, not {url!r}")
    if isinstance(times, bool) or not isinstance(times, int) or times < 1:
        raise ValueError(f"callback_times must be a positive whole number, not {times!r}")


def _is_on_loopback(text: object) -> bool:
    if not isinstance(text, str):
        return False
    try:
        url = URL(text)
        host = url.host or ""
        return url.scheme in ("http", "https") and (host == "localhost" or ip_address(host).is_loopback)
    except ValueError:
        return False


class Deliveries:
    """The callbacks of one emulator. A delivery that `close` interrupts starts afresh at the next `start`.

    Args:
        secret: signs the bodies; None leaves them unsigned.
        now: the emulator's clock.
        follows_loop: whether that clock is the running loop's time; any other clock is polled.

    Attributes:
        sent: every attempt, in the order in which they ended.

    Raises:
        ValueError: if the secret is not a string, or is empty.
    """

    def __init__(self, secret: str | None, now: Callable[[], float], *, follows_loop: bool) -> None:
        if secret is not None and not (isinstance(secret, str) and secret):
            raise ValueError("callback_secret must be a non-empty string, or None")
        self.sent: list[SentCallback] = []
        self._key = None if secret is None else secret.encode()
        self._now = now
        self._longest_sleep = math.inf if follows_loop else CLOCK_POLL_SECONDS
        self._owed: Counter[UUID] = Counter()
        self._batches: dict[UUID, ScriptedBatch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_running = False

    def expect(self, batch: ScriptedBatch, times: int) -> None:
        """Deliver the batch's callback `times` times once it has ended. Ignores a batch without a URL or an end."""
        if batch.callback_url is None or batch.ends() == math.inf:
            return
        self._owed[batch.id] = times
        self._batches[batch.id] = batch
        if self._is_running:
            self._begin(batch)

    def start(self) -> None:
        """Resume all deliveries that are still due."""
        self._is_running = True
        for batch in self._batches.values():
            self._begin(batch)

    async def close(self) -> None:
        """Cancel every delivery and wait until all have stopped."""
        self._is_running = False
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, batch: ScriptedBatch) -> None:
        task = asyncio.get_running_loop().create_task(self._run(batch), name=f"callback of batch {batch.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, batch: ScriptedBatch) -> None:
        # The same subtraction as in the responses, so that no callback precedes a response that says the same.
        end = batch.ends()
        left = end - (self._now() - batch.created)
        while left > 0:
            await asyncio.sleep(min(max(left, SHORTEST_SLEEP_SECONDS), self._longest_sleep))
            left = end - (self._now() - batch.created)
        body = msgspec.json.encode(_document(batch.snapshot_after(end)))
        # One connection per attempt, no cookies, and no certificate checks, because loopback has no trusted ones.
        connector = aiohttp.TCPConnector(force_close=True, ssl=False)
        jar, timeout = aiohttp.DummyCookieJar(), aiohttp.ClientTimeout(total=RECEIVER_TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=jar, timeout=timeout) as http:
            while self._owed[batch.id]:
                await self._deliver(http, batch, body)
                self._owed[batch.id] -= 1
        del self._owed[batch.id], self._batches[batch.id]

    async def _deliver(self, http: aiohttp.ClientSession, batch: ScriptedBatch, body: bytes) -> None:
        url = batch.callback_url or ""
        for attempt, delay in enumerate((*RETRY_DELAYS, None), start=1):
            status = await self._post(http, url, body)
            self.sent.append(
                SentCallback(batch_id=batch.id, url=url, body=body, status=status, attempt=attempt),
            )
            if delay is None or status in ACCEPTED:
                return
            await asyncio.sleep(delay)

    async def _post(self, http: aiohttp.ClientSession, url: str, body: bytes) -> int | None:
        headers = {hdrs.CONTENT_TYPE: "application/json", "Runflow-Request-Id": str(uuid4())}
        if self._key is not None:
            headers["Runflow-Signature"] = hmac.new(self._key, body, sha256).hexdigest()
        try:
            # A redirect could lead away from loopback.
            async with http.post(url, data=body, headers=headers, allow_redirects=False) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None


def _document(end: dict[str, Any]) -> dict[str, Any]:
    status: str = end["status_code"]
    # The API's events use the spelling with two l, whichever spelling the status has.
    event = "cancelled" if status == "canceled" else status
    shown = ("output", "duration_ms", "created_at", "completed_at", "metadata")
    return {"event": f"batch.{event}", "batch_id": end["id"], "status": status} | {name: end[name] for name in shown}
