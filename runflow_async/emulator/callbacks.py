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

from runflow_async.emulator.deliveries import ACCEPTED, Attempt, Delivery
from runflow_async.models import TERMINAL_STATUSES

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
MOST_ATTEMPTS = len(RETRY_DELAYS) + 1


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
        self._begun: dict[UUID, list[Delivery]] = {}
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

    def of(self, batch_id: UUID) -> list[Delivery]:
        """Return the deliveries of a batch's callback that have begun, oldest first."""
        return self._begun.get(batch_id, [])

    def redeliver(self, batch: ScriptedBatch) -> Delivery:
        """Deliver the callback of a batch once more, now.

        Raises:
            ValueError: if the batch has no callback URL or has not ended, or if a delivery is in flight.
        """
        if batch.callback_url is None:
            raise ValueError("the batch has no callback_url")
        if batch.snapshot(self._now())["status_code"] not in TERMINAL_STATUSES:
            raise ValueError("the batch has not ended")
        if batch.id in self._batches:
            raise ValueError("a delivery of this callback is in flight")
        delivery = self._open(batch)
        self.expect(batch, 1)
        return delivery

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
            while batch.id in self._owed:
                await self._deliver(http, self._open(batch), body)
                self._settle(batch.id)

    def _settle(self, batch_id: UUID) -> None:
        self._owed[batch_id] -= 1
        if not self._owed[batch_id]:
            del self._owed[batch_id], self._batches[batch_id]

    def _open(self, batch: ScriptedBatch) -> Delivery:
        """Return the delivery that is in flight, without the attempts that `close` cut short, or else a new one."""
        begun = self._begun.setdefault(batch.id, [])
        if begun and begun[-1].is_in_flight:
            begun[-1].attempts.clear()
        else:
            now = self._now()
            begun.append(Delivery(batch=batch, most_attempts=MOST_ATTEMPTS, created=now, next_attempt=now))
        return begun[-1]

    async def _deliver(self, http: aiohttp.ClientSession, delivery: Delivery, body: bytes) -> None:
        batch_id, url = delivery.batch.id, delivery.batch.callback_url or ""
        for number, delay in enumerate((*RETRY_DELAYS, None), start=1):
            began = self._now()
            status = await self._post(http, url, body)
            delivery.attempts.append(Attempt(began, self._now(), status))
            self.sent.append(SentCallback(batch_id=batch_id, url=url, body=body, status=status, attempt=number))
            if delay is None or status in ACCEPTED:
                delivery.next_attempt = None
                return
            delivery.next_attempt = self._now() + delay
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
