"""Watchers of one batch that come, go, come back, nudge and dawdle at random each see what a lone one would see."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runflow_async import OutageError, RunflowError, ServerError, TransportError, WaitTimeoutError
from tests.virtual import VirtualTransport, body, status_at

if TYPE_CHECKING:
    from runflow_async import BatchWait

LATE = 0.05
"""Seconds by which the sum of several timers may be late."""

seconds = st.integers(0, 400).map(lambda tenths: tenths / 10)
pauses = st.integers(1, 300).map(lambda tenths: tenths / 10)


class Plan(NamedTuple):
    """What one watcher does.

    Attributes:
        begins_at: when it begins.
        interval: between its polls.
        timeout: of the wait.
        max_outage: of the wait.
        leaves: after how long its steps are cancelled, one after the other; it comes back at once.
        nudges_at: when it nudges.
        dawdles: seconds that it takes for each transition.
    """

    begins_at: float
    interval: float
    timeout: float
    max_outage: float
    leaves: list[float]
    nudges_at: list[float]
    dawdles: float


class Server(NamedTuple):
    """What the server does.

    Attributes:
        roundtrip: seconds that each response takes.
        outage: when it begins, and for how long it lasts.
        statuses: of the item, with the instants at which they begin; the batch ends with the last one.
    """

    roundtrip: float
    outage: tuple[float, float]
    statuses: list[tuple[float, str]]

    @property
    def ends_at(self) -> float:
        return self.statuses[-1][0]

    def answer(self, now: float, _number: int) -> bytes:
        began, lasts = self.outage
        if began <= now < began + lasts:
            raise ServerError(503)
        status = status_at(self.statuses, now)
        return body("succeeded" if now >= self.ends_at else "running", [status])


plans = st.builds(
    Plan,
    begins_at=seconds,
    interval=pauses,
    timeout=st.sampled_from([0.0, 5.0, 30.0, 500.0]),
    max_outage=st.sampled_from([3.0, 20.0, 200.0]),
    leaves=st.lists(seconds, max_size=3),
    nudges_at=st.lists(seconds, max_size=3),
    dawdles=st.sampled_from([0.0, 0.0, 7.0]),
)
servers = st.builds(
    Server,
    roundtrip=st.sampled_from([0.0, 0.2, 4.0]),
    outage=st.tuples(seconds, st.sampled_from([0.0, 2.0, 15.0])),
    statuses=st.tuples(pauses, pauses).map(
        lambda spans: [(0.0, "queued"), (spans[0], "running"), (sum(spans), "succeeded")]
    ),
)


class Watcher:
    """Carries out a plan, and notes what it saw and how it ended."""

    def __init__(self, plan: Plan, wait: BatchWait) -> None:
        self.plan = plan
        self.wait = wait
        self.seen: list[tuple[str | None, str]] = []
        self.error: RunflowError | None = None
        self.began_at = self.ended_at = 0.0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self.plan.begins_at)
        self.began_at = loop.time()
        nudges = [loop.call_later(after, self.wait.nudge) for after in self.plan.nudges_at]
        for stay in self.plan.leaves:
            task = asyncio.ensure_future(self._follow())
            await asyncio.wait([task], timeout=stay)
            task.cancel()
            await asyncio.wait([task])
        await self._follow()
        for nudge in nudges:
            nudge.cancel()

    async def _follow(self) -> None:
        try:
            async for transition in self.wait:
                self.seen.append((transition.previous, transition.current))
                await asyncio.sleep(self.plan.dawdles)
        except RunflowError as error:
            self.error = self.error or error
        self.ended_at = self.ended_at or asyncio.get_running_loop().time()


class Counting(VirtualTransport):
    """Knows how many requests are in flight."""

    in_flight = most = 0

    async def get(self, *args: object, **keywords: object) -> object:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            return await super().get(*args, **keywords)
        finally:
            self.in_flight -= 1


def play_out(server: Server, plans: list[Plan]) -> tuple[Counting, list[Watcher]]:
    """Carry out all plans at the same server."""

    async def main() -> tuple[Counting, list[Watcher]]:
        transport = Counting(server.answer, server.roundtrip)
        transport._origin = asyncio.get_running_loop().time()
        watchers = []
        for plan in plans:
            bounds = {"interval": plan.interval, "timeout": plan.timeout, "max_outage": plan.max_outage}
            watchers.append(Watcher(plan, transport.wait(**bounds)))
        await asyncio.gather(*(watcher.run() for watcher in watchers))
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return transport, watchers

    loop = looptime.new_event_loop()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


def check_alone(watcher: Watcher, server: Server) -> None:
    """What holds for any wait, whoever else watches the batch."""
    states = [None, "queued", "running", "succeeded"]
    steps = [(states.index(before), states.index(after)) for before, after in watcher.seen]
    assert all(before < after for before, after in steps)
    assert [after for _, after in steps[:-1]] == [before for before, _ in steps[1:]]
    error, plan = watcher.error, watcher.plan
    if error is None:
        assert watcher.wait.result().status_code == watcher.seen[-1][1] == "succeeded"
    else:
        assert isinstance(error, (WaitTimeoutError, OutageError, ServerError, TransportError))
        assert error.batch_id == watcher.wait.batch_id
        assert error.stats == watcher.wait.stats
    if plan.timeout and not plan.dawdles:
        assert watcher.ended_at <= watcher.began_at + plan.timeout + LATE
    reach = watcher.began_at + plan.timeout
    _, lasts = server.outage
    if not plan.dawdles and plan.max_outage > lasts + 40 + server.roundtrip and reach > server.ends_at + 60:
        assert error is None
        patience = plan.interval + (lasts + 35 if lasts else 0) + 2 * server.roundtrip
        assert watcher.ended_at <= max(server.ends_at, watcher.began_at) + patience + LATE


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(server=servers, plans=st.lists(plans, min_size=1, max_size=5))
def test_each_sees_what_a_lone_one_would(server, plans):
    transport, watchers = play_out(server, plans)
    for watcher in watchers:
        check_alone(watcher, server)
    stats = [watcher.wait.stats for watcher in watchers]
    assert sum(one.requests for one in stats) == len(transport.polled_at)
    assert transport.most <= 1
    assert transport.in_flight == 0
