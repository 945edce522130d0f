"""Waits on a loop whose time jumps: answers are computed from timelines, hours pass in milliseconds."""

from __future__ import annotations

import asyncio
import json
import pickle
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import msgspec
import pytest

from runflow_async._http.protocol import batch_path
from runflow_async._http.replies import Reply
from runflow_async._lifetime import Lifetime
from runflow_async._observing import Observing
from runflow_async._waits.one import BatchWait
from runflow_async._waits.options import WaitOptions
from runflow_async._waits.polling import Polling
from runflow_async._waits.retries import Retries, RetryPolicy
from runflow_async._waits.run import Run
from runflow_async._waits.sharing import Sharing
from runflow_async._waits.silence import Silence
from runflow_async._waits.witness import Witness
from runflow_async.errors import BatchFailedError, RunflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ISOLATED = pytest.mark.looptime(noop_cycles=0)
"""A test whose time jumps without a look for I/O before each jump, because there is none."""

BATCH_ID = UUID("11111111-2222-4333-8444-555555555555")
RUN_ID = str(uuid5(BATCH_ID, "run"))

Timeline = "Sequence[tuple[float, str]]"


@cache
def item_id(index: int) -> str:
    return str(uuid5(BATCH_ID, f"item {index}"))


def line(index: int, status: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": item_id(index),
        "sequence_index": index,
        "run_id": RUN_ID,
        "client_ref": f"ref-{index}",
        "status_code": status,
    } | fields


def body(status: str | None = "running", items: Any = (), **fields: Any) -> bytes:
    """An answer; `items` as statuses, or as lines."""
    lines = None if items is None else [line(i, s) if isinstance(s, str) else s for i, s in enumerate(items)]
    return json.dumps({"id": str(BATCH_ID), "status_code": status, "items": lines} | fields).encode()


def status_at(timeline: Timeline, seconds: float) -> str | None:
    """What a reader of the timeline would say; None before its first entry."""
    current = None
    for instant, status in timeline:
        if instant <= seconds:
            current = status
    return current


class VirtualTransport:
    """Stands where the transport stands: `answer` makes a body, or raises, for every poll.

    Args:
        answer: given the seconds since the first poll and the number of the poll, from 0.
        roundtrip: virtual seconds that each answer takes.
    """

    def __init__(self, answer: Callable[[float, int], bytes | Reply], roundtrip: float = 0.0) -> None:
        self.answer = answer
        self.roundtrip = roundtrip
        self.polled_at: list[float] = []
        self.lifetime = Lifetime()
        self.sharing = Sharing(self.lifetime)
        self.observing = Observing()
        self._origin: float | None = None

    async def get(self, path: str, *, sent: Callable[[], None], limit: float, **_: object) -> Reply:
        loop = asyncio.get_running_loop()
        if self._origin is None:
            self._origin = loop.time()
        now = loop.time() - self._origin
        sent()
        self.polled_at.append(now)
        await asyncio.sleep(min(self.roundtrip, max(limit - loop.time(), 0)))
        answer = self.answer(now, len(self.polled_at) - 1)
        return answer if isinstance(answer, Reply) else Reply(answer, None, self.roundtrip, None)

    def wait(self, batch_id: UUID = BATCH_ID, **keywords: Any) -> BatchWait:
        """A wait on this transport, with the defaults of `wait_for_batch`."""
        return BatchWait(self.run(batch_id, **keywords))

    def run(self, batch_id: UUID = BATCH_ID, **keywords: Any) -> Run:
        """The same, to be driven step by step."""
        keywords = {"timeout": 3600.0, "interval": None, "max_outage": 300.0, "until": None} | keywords
        since, checkpoint = keywords.pop("since", None), keywords.pop("checkpoint", None)
        policy = keywords.pop("retry", RetryPolicy())
        retries = Retries(policy, keywords.pop("max_retry_after", 120.0), self.observing)
        options = WaitOptions.check(**keywords)
        loop = {name: getattr(self.lifetime, name) for name in ("utc_now", "take_turn")} | {"clock": self.lifetime.now}
        fetch = partial(self.get, batch_path(batch_id))
        witness = Witness(Silence(self.observing), batch_id)
        polling = Polling(self.sharing, fetch, witness, options, retries=retries, since=since, **loop)  # type: ignore[arg-type]
        run = Run(self.lifetime, polling, checkpoint, load_timeout=options.timeout or 30.0)
        self.sharing.registry.add(run)
        return run


def look_at_everything(wait: BatchWait) -> None:
    """Whatever a consumer can look at, also as UTF-8, through JSON and through pickle; nothing of it may raise."""
    for value in (wait.batch, wait.delivered, wait.stats, *iter(wait._run.next_transition, None)):
        _go_round(value)
        msgspec.json.encode(value)
    for batch in (wait.batch, wait.delivered):
        assert batch is None or isinstance(batch.is_terminal, bool)
        with suppress(BatchFailedError):
            batch and batch.raise_for_status()
    (repr(wait) + wait.__name__).encode()
    assert not wait.has_pending
    if wait.done() and (error := wait.exception()) is not None:
        _go_round(error)


def _go_round(value: object) -> None:
    (repr(value) + str(value)).encode()
    assert str(pickle.loads(pickle.dumps(value))) == str(value)


def play(*answers: bytes | RunflowError | Reply, roundtrip: float = 0.0) -> VirtualTransport:
    """A transport that gives these answers in turn and repeats the last one."""

    def answer(_now: float, number: int) -> bytes | Reply:
        chosen = answers[min(number, len(answers) - 1)]
        if isinstance(chosen, RunflowError):
            raise chosen
        return chosen

    return VirtualTransport(answer, roundtrip)


def perform(timelines: Sequence[Timeline], ended: float | None = None) -> VirtualTransport:
    """A transport whose batch follows the items' timelines and succeeds at `ended`, by default with the last item."""
    last = max(timeline[-1][0] for timeline in timelines) if ended is None else ended

    def answer(now: float, _number: int) -> bytes:
        statuses = [(i, status_at(timeline, now)) for i, timeline in enumerate(timelines)]
        lines = [line(i, status) for i, status in statuses if status is not None]
        return body("succeeded" if now >= last else "running", lines)

    return VirtualTransport(answer)
