"""A model of the wait: whoever consumes it, in whatever order things happen, each transition is delivered once."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, NamedTuple
from uuid import UUID

import looptime
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from runflow_async import (
    BatchWait,
    MalformedResponseError,
    OutageError,
    RateLimitError,
    RunflowError,
    RunflowSession,
    SessionClosedError,
    WaitClosedError,
    WaitTimeoutError,
)
from runflow_async._http import connections
from tests.rig import connections_in_use
from tests.virtual import body, line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from runflow_async import BatchesWait, ItemTransition

HISTORIES = int(os.environ.get("MODEL_HISTORIES", "0"))
BATCHES = (UUID(int=1), UUID(int=2))
INTERVAL = 5.0
OUTAGE = 90.0
LONGEST_BACKOFF = 32.0
CALM = 150.0
"""Seconds without faults after which every wait that is consumed has caught up, whatever pace 429s have left."""
SETTLED = 4.0
"""Seconds that the items of an ended batch have at least to end too."""
SLACK = 0.05

timeouts = st.sampled_from([None, 40.0, 400.0])
roundtrips = st.sampled_from([0.0, 0.3, 4.0, 4.0])
numbers = st.integers(0, 1)
ways = st.sampled_from(["iterated", "iterated", "batched", "awaited", "as completed"])


class Batch:
    """A batch as the server has it. The status of an item names its version, so that no two are the same."""

    def __init__(self) -> None:
        self.status = "running"
        self.items = {0: "queued"}
        self.hidden: set[int] = set()
        self.version = 0

    def shown(self) -> dict[int, str]:
        return {number: status for number, status in self.items.items() if number not in self.hidden}


class Said(NamedTuple):
    """A valid response that was sent in whole."""

    at: float
    batch: UUID
    status: str
    items: dict[int, str]


class Server:
    """Answers from its batches, or with the next of its faults, byte by byte."""

    def __init__(self) -> None:
        self.batches = {batch_id: Batch() for batch_id in BATCHES}
        self.faults: list[str] = []
        self.roundtrip = 0.0
        self.requests: list[tuple[float, UUID]] = []
        self.answering: list[tuple[UUID, asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.said: list[Said] = []
        self.is_down = False
        self.refused_at = -1e9  # when it last wanted fewer requests

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                batch_id = UUID(head.split()[1].decode().rpartition("/")[2])
                self.answering.append((batch_id, reader, writer))
                try:
                    await self._answer(batch_id, reader, writer)
                finally:
                    self.answering.remove((batch_id, reader, writer))
        writer.close()

    @property
    def in_flight(self) -> list[UUID]:
        """The batches of requests that somebody still waits for."""
        gone = (reader.at_eof() or writer.is_closing() for _, reader, writer in self.answering)
        return [one[0] for one, is_gone in zip(self.answering, gone, strict=True) if not is_gone]

    async def _answer(self, batch_id: UUID, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        now = asyncio.get_running_loop().time
        self.requests.append((now(), batch_id))
        fault = "502" if self.is_down else self.faults.pop(0) if self.faults else None
        if self.roundtrip:
            await asyncio.sleep(self.roundtrip)
        if reader.at_eof() or writer.is_closing():
            raise ConnectionError
        batch = self.batches[batch_id]
        items = batch.shown()
        content = body(batch.status, [line(number, status) for number, status in items.items()], id=str(batch_id))
        if fault == "429":
            self.refused_at = now()
            writer.write(b"HTTP/1.1 429 Slow\r\nRetry-After: 20\r\nContent-Length: 0\r\n\r\n")
        elif fault == "502":
            writer.write(b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n")
        elif fault == "not the contract":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{]")
        else:
            head = (
                f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode()
            )
            if fault == "cut":
                writer.write(head + content[:-9])
                raise ConnectionError
            writer.write(head + content)
            self.said.append(Said(now(), batch_id, batch.status, items))
            if fault == "closed after":
                raise ConnectionError


FAULTS = ("429", "502", "cut", "not the contract", "closed after")


class Consumer(NamedTuple):
    """A task that takes what a wait gives, in one of the ways there are."""

    how: str
    task: asyncio.Task[object]
    began: float
    leaves: list[bool]  # not empty: it breaks out after the next transition


class Watch:
    """One wait, or one fleet, with what was delivered of it so far."""

    def __init__(self, wait: BatchWait | BatchesWait, timeout: float | None) -> None:
        self.wait = wait
        self.timeout = timeout
        self.delivered: dict[tuple[UUID, int], list[str]] = {}
        self.consumer: Consumer | None = None
        self.closed: set[UUID] = set()  # by the program

    @property
    def members(self) -> list[BatchWait]:
        return [self.wait] if isinstance(self.wait, BatchWait) else list(self.wait.waits.values())

    @property
    def is_consumed(self) -> bool:
        return self.consumer is not None and not self.consumer.task.done()

    @property
    def is_iterated(self) -> bool:
        return self.is_consumed and self.consumer.how in ("iterated", "batched")

    def last_of(self, batch_id: UUID) -> dict[int, str]:
        """The last delivered status of each item of a batch."""
        return {number: chain[-1] for (one, number), chain in self.delivered.items() if one == batch_id}

    def take(self, transition: ItemTransition) -> None:
        """Item by item, each begins where the one before has ended; what has ended does not go on."""
        chain = self.delivered.setdefault((transition.batch_id, transition.item.sequence_index), [])
        assert transition.previous == (chain[-1] if chain else None)
        assert transition.current != transition.previous
        assert not any(is_end(status) for status in chain)
        chain.append(transition.current)

    async def consume(self, how: str, leaves: list[bool]) -> object:
        if how == "awaited":
            return await self.wait
        if how == "as completed":
            return [one.batch_id async for one in self.wait.as_completed()]
        if how == "batched":
            async for transitions in self.wait.batched():
                assert transitions
                self._take_all(transitions)
                if leaves:
                    break
        else:
            async for transition in self.wait:
                self.take(transition)
                if leaves:
                    break
        return None

    def _take_all(self, transitions: list[ItemTransition]) -> None:
        assert len({transition.batch_id for transition in transitions}) == 1
        indexes = [transition.item.sequence_index for transition in transitions]
        assert indexes == sorted(set(indexes))
        for transition in transitions:
            self.take(transition)


def is_end(status: str) -> bool:
    return status in ("succeeded", "failed")


def statuses_after(said: Iterable[Said]) -> dict[int, list[str]]:
    """What a consumer of these responses is to get, item by item."""
    chains: dict[int, list[str]] = {}
    for one in said:
        for number, status in one.items.items():
            chain = chains.setdefault(number, [])
            if not chain or (chain[-1] != status and not is_end(chain[-1])):
                chain.append(status)
    return chains


class Waits(RuleBasedStateMachine):
    """Everything that can happen to waits of a session, on a loop whose time jumps, over real connections."""

    is_lean: ClassVar[bool] = True
    watches = Bundle("watches")

    @initialize(target=watches, roundtrip=roundtrips, timeout=timeouts, how=st.tuples(ways, ways, ways))
    def begin(self, roundtrip: float, timeout: float | None, how: tuple[str, str, str]) -> object:
        self.opened = connections.open_lane
        if not self.is_lean:
            connections.open_lane = lambda *_: None
        self.loop = looptime.new_event_loop()
        self.reported: list[object] = []
        self.loop.set_exception_handler(lambda _, context: self.reported.append(context))
        self.server = Server()
        self.server.roundtrip = roundtrip
        self.all: list[Watch] = []
        self.is_over = False
        self.listening = self.run(asyncio.start_server(self.server.serve, "127.0.0.1", 0))
        port = self.listening.sockets[0].getsockname()[1]

        async def open_session() -> RunflowSession:
            return RunflowSession("key", base_url=f"http://127.0.0.1:{port}")

        self.session = self.run(open_session())
        begun = zip((BATCHES[0], BATCHES[0], None), how, strict=True)
        return multiple(*(self.is_made(which, timeout, one) for which, one in begun))

    def run(self, awaitable: Awaitable[object]) -> object:
        async def bounded() -> object:
            async with asyncio.timeout(1e5):
                return await awaitable

        return self.loop.run_until_complete(bounded())

    @property
    def is_calm(self) -> bool:
        return self.loop.time() > self.server.refused_at + CALM

    def go_on(self, seconds: float = 0.01) -> None:
        self.run(asyncio.sleep(seconds))
        self.run(asyncio.sleep(0.00037))  # what was sent at that very instant is read, too

    # What the server does

    @rule(which=st.sampled_from(BATCHES), number=numbers, end=st.sampled_from([None, None, "succeeded", "failed"]))
    def an_item_changes(self, which: UUID, number: int, end: str | None) -> None:
        batch = self.server.batches[which]
        if not is_end(batch.items.get(number, "")):
            batch.version += 1
            batch.items[number] = end or f"step {batch.version}"

    @rule(which=st.sampled_from(BATCHES), number=numbers)
    def a_stale_replica_answers_once_about_an_item(self, which: UUID, number: int) -> None:
        batch = self.server.batches[which]
        if is_end(batch.items.get(number, "")):
            ended, batch.items[number] = batch.items[number], "stale"
            self.go_on(INTERVAL + 1)
            batch.items[number] = ended

    @rule(which=st.sampled_from(BATCHES), number=numbers)
    def an_item_disappears_or_returns(self, which: UUID, number: int) -> None:
        self.server.batches[which].hidden ^= {number}

    @rule(which=st.sampled_from(BATCHES), are_items_behind=st.booleans())
    def a_batch_ends(self, which: UUID, are_items_behind: bool) -> None:
        batch = self.server.batches[which]
        batch.status = "succeeded"
        batch.hidden.clear()
        if not are_items_behind:
            for number, status in batch.items.items():
                batch.items[number] = status if is_end(status) else "succeeded"

    @rule(faults=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=4))
    def responses_are_spoilt(self, faults: list[str]) -> None:
        self.server.faults += faults

    @rule(seconds=roundtrips, is_down=st.booleans())
    def it_gets_slower_or_faster_or_goes_down(self, seconds: float, is_down: bool) -> None:
        self.server.roundtrip = seconds
        self.server.is_down = is_down

    @rule()
    def it_is_down_until_nobody_waits(self) -> None:
        self.server.is_down = True
        self.go_on(OUTAGE + LONGEST_BACKOFF + 1)
        assert all(wait.done() for watch in self.all if watch.is_consumed for wait in watch.members)

    # What the program does

    @precondition(lambda self: not self.is_over)
    @rule(target=watches, which=st.sampled_from([*BATCHES, None]), timeout=timeouts, how=ways)
    def is_made(self, which: UUID | None, timeout: float | None, how: str) -> Watch:
        """A wait for a batch, or a fleet for both."""
        if which is None:
            wait = self.session.wait_for_batches(BATCHES, interval=INTERVAL, timeout=timeout, max_outage=OUTAGE)
        else:
            wait = self.session.wait_for_batch(which, interval=INTERVAL, timeout=timeout, max_outage=OUTAGE)
        watch = Watch(wait, timeout)
        self.all.append(watch)
        self.is_consumed(watch, how)
        return watch

    @rule(watch=watches, how=ways)
    def is_consumed(self, watch: Watch, how: str) -> None:
        if how == "as completed" and isinstance(watch.wait, BatchWait):
            how = "awaited"
        leaves: list[bool] = []
        task = self.loop.create_task(watch.consume(how, leaves))
        if watch.is_consumed:
            self.go_on()
            assert isinstance(task.exception(), RuntimeError), "two tasks may not use one wait"
        else:
            watch.consumer = Consumer(how, task, self.loop.time(), leaves)
            self.go_on()

    @rule(watch=watches)
    def its_consumer_is_cancelled(self, watch: Watch) -> None:
        if watch.is_consumed:
            watch.consumer.task.cancel()
            self.go_on()
            assert watch.consumer.task.cancelled()

    @rule(watch=watches, how=ways, seconds=st.sampled_from([0.0, 6.0]))
    def another_consumer_follows(self, watch: Watch, how: str, seconds: float) -> None:
        self.go_on(seconds)
        self.who_ended_has_a_reason()  # perhaps the consumer that is replaced now
        self.its_consumer_is_cancelled(watch)
        self.is_consumed(watch, how)

    @rule(watch=watches)
    def its_consumer_breaks_out_at_the_next_transition(self, watch: Watch) -> None:
        if watch.is_consumed:
            watch.consumer.leaves.append(True)

    @rule(watch=watches, number=st.integers(0, 1))
    def is_nudged(self, watch: Watch, number: int) -> None:
        wait = watch.members[number % len(watch.members)]
        was_done = wait.done()
        self._nudge(wait.batch_id, watch, lambda: wait.nudge() is not was_done)

    @precondition(lambda self: not self.is_over)
    @rule(which=st.sampled_from(BATCHES))
    def a_callback_comes(self, which: UUID) -> None:
        waits = [wait for watch in self.all for wait in watch.members if wait.batch_id == which and not wait.done()]
        watch = next((one for one in self.all if one.is_consumed and set(one.members) & set(waits)), None)
        self._nudge(which, watch, lambda: self.session.nudge(which) == bool(waits))

    def _nudge(self, batch_id: UUID, watch: Watch | None, nudge: Callable[[], bool]) -> None:
        before = len(self.server.requests)
        was_in_flight = batch_id in self.server.in_flight
        assert self.run(self._call(nudge))
        self.go_on(0.1)  # a fleet spreads its first polls
        is_running = watch is not None and watch.is_consumed and not self._member(watch, batch_id).done()
        if is_running and self.is_calm and not was_in_flight and not self.is_over:
            assert len(self.server.requests) > before, "a nudge polls at once"

    async def _call(self, function: Callable[[], bool]) -> bool:
        return function()

    def _member(self, watch: Watch, batch_id: UUID) -> BatchWait:
        return next(wait for wait in watch.members if wait.batch_id == batch_id)

    @rule(watch=watches)
    def is_closed(self, watch: Watch) -> None:
        watch.closed.update(wait.batch_id for wait in watch.members)
        is_over = all(wait.done() for wait in watch.members)
        self.run(watch.wait.aclose())
        self.go_on()
        assert not watch.is_consumed
        assert all(wait.done() for wait in watch.members)
        if not is_over:
            with pytest.raises((WaitClosedError, ExceptionGroup)):
                self.run(self._await(watch))

    async def _await(self, watch: Watch) -> object:
        return await watch.wait

    @rule(watch=watches, which=st.sampled_from(BATCHES))
    def one_of_a_fleet_is_closed(self, watch: Watch, which: UUID) -> None:
        if not isinstance(watch.wait, BatchWait) and not (member := self._member(watch, which)).done():
            watch.closed.add(which)
            self.run(member.aclose())
            self.go_on()
            assert isinstance(member.exception(), WaitClosedError)

    @precondition(lambda self: self.loop.time() > 400)
    @rule()
    def the_session_is_closed(self) -> None:
        self.run(self.session.close())
        self.is_over = True
        self.go_on()
        assert not any(watch.is_consumed for watch in self.all)

    @rule(seconds=st.sampled_from([0.5, 3.0, 6.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        is_idle = not self.server.in_flight and not any(watch.is_consumed for watch in self.all)
        before = len(self.server.requests)
        self.go_on(seconds)
        if is_idle:
            assert len(self.server.requests) == before, "nobody waits, and something polls"

    @rule()
    def all_is_calm_for_a_while(self) -> None:
        self.server.faults.clear()
        self.server.is_down = False
        self.server.roundtrip = min(self.server.roundtrip, 0.3)
        self.time_passes(CALM + 1)
        for wait in (wait for watch in self.all if watch.is_consumed for wait in watch.members if not wait.done()):
            batch, now = self.server.batches[wait.batch_id], self.loop.time()
            assert batch.status == "running", "a batch that ended keeps nobody waiting"
            said = [one for one in self.server.said if one.batch == wait.batch_id]
            assert said[-1].at > now - INTERVAL - 1
            for index, status in said[-1].items.items():
                (seen,) = (one.status_code for one in wait.batch.items if one.sequence_index == index)
                assert status in (seen, "stale")

    # What holds at any time

    @invariant()
    def it_holds(self) -> None:
        self.a_batch_is_polled_once_at_a_time()
        self.what_nobody_waits_for_holds_no_connection()
        self.whoever_is_consumed_has_something_to_do_before_the_deadline()
        self.an_outage_ends_who_has_no_answer()
        self.what_is_delivered_was_said_in_that_order()
        self.what_was_said_to_a_consumer_is_delivered()
        self.who_ended_has_a_reason()

    def a_batch_is_polled_once_at_a_time(self) -> None:
        in_flight = self.server.in_flight
        assert len(in_flight) == len(set(in_flight))

    def what_nobody_waits_for_holds_no_connection(self) -> None:
        for batch_id in self.server.in_flight:
            assert any(
                wait.batch_id == batch_id and not wait.done()
                for watch in self.all
                for wait in watch.members
                if watch.is_consumed or (watch.consumer.leaves and not isinstance(watch.wait, BatchWait))
            )
        if not self.server.in_flight:
            assert not connections_in_use(self.session)

    def whoever_is_consumed_has_something_to_do_before_the_deadline(self) -> None:
        now = self.loop.time()
        for watch in (watch for watch in self.all if watch.is_consumed):
            for wait in (wait for wait in watch.members if not wait.done()):
                agenda = wait._run.polling.agenda
                assert now <= wait.deadline + SLACK
                assert agenda.next_at <= wait.deadline
                if self.is_calm and agenda.started is not None and wait.batch_id not in self.server.in_flight:
                    assert now - SLACK < agenda.next_at < now + LONGEST_BACKOFF + SLACK

    def an_outage_ends_who_has_no_answer(self) -> None:
        now = self.loop.time()
        for watch in (watch for watch in self.all if watch.is_consumed):
            for wait in (wait for wait in watch.members if not wait.done()):
                answered = [one.at for one in self.server.said if one.batch == wait.batch_id]
                since = max(watch.consumer.began, *answered[-1:]) if answered else watch.consumer.began
                asked = [at for at, batch_id in self.server.requests if batch_id == wait.batch_id and at > since]
                assert not asked or now < asked[0] + OUTAGE + LONGEST_BACKOFF

    def what_is_delivered_was_said_in_that_order(self) -> None:
        for watch in self.all:
            for (batch_id, number), chain in watch.delivered.items():
                said = iter(
                    [one.items[number] for one in self.server.said if one.batch == batch_id and number in one.items]
                )
                assert all(status in said for status in chain)

    def what_was_said_to_a_consumer_is_delivered(self) -> None:
        for watch in self.all:
            consumer = watch.consumer
            if consumer is None or consumer.leaves or consumer.how not in ("iterated", "batched"):
                continue
            if consumer.task.done() and consumer.task.cancelled():
                continue
            for wait in watch.members:
                if wait.batch_id not in watch.closed and not self.is_over:
                    self._check_complete(watch, wait, consumer.began + 0.2)

    def _check_complete(self, watch: Watch, wait: BatchWait, since: float) -> None:
        if wait.batch is not None:
            assert not wait.has_pending
            last = {
                number: chain[-1] for (batch_id, number), chain in watch.delivered.items() if batch_id == wait.batch_id
            }
            assert {one.sequence_index: one.status_code for one in wait.batch.items or ()}.items() <= last.items()
        ended = wait._run.polling.agenda.ended
        until = self.loop.time() if ended is None else ended
        said = [one for one in self.server.said if one.batch == wait.batch_id and since < one.at <= until]
        for number, chain in statuses_after(said).items():
            delivered = iter(watch.delivered.get((wait.batch_id, number), []))
            missed = [status for status in chain if status != "stale" and status not in delivered]
            assert not missed, (missed, watch.delivered)

    def who_ended_has_a_reason(self) -> None:
        for watch in self.all:
            if watch.consumer is not None and watch.consumer.task.done() and not watch.consumer.task.cancelled():
                error = watch.consumer.task.exception()
                for one in error.exceptions if isinstance(error, ExceptionGroup) else [error]:
                    self._check_reason(watch, one)
                if error is None and not watch.consumer.leaves:
                    self._check_end(watch)

    def _check_reason(self, watch: Watch, error: BaseException | None) -> None:
        if error is None:
            return
        assert isinstance(error, RunflowError), repr(error)
        if isinstance(error, WaitClosedError):
            assert watch.closed
        elif isinstance(error, SessionClosedError):
            assert self.is_over
        elif isinstance(error, WaitTimeoutError):
            assert watch.timeout - SLACK < error.stats.elapsed
        elif isinstance(error, OutageError):
            ended = self._member(watch, error.batch_id)._run.polling.agenda.ended
            assert not any(
                one.batch == error.batch_id and ended - OUTAGE + SLACK < one.at < ended for one in self.server.said
            )
        elif isinstance(error, RateLimitError):
            wait = self._member(watch, error.batch_id)
            assert wait._run.polling.agenda.ended + error.retry_after > wait.deadline, "it could have waited"
        else:
            assert isinstance(error, MalformedResponseError), repr(error)

    def _check_end(self, watch: Watch) -> None:
        if watch.consumer.how == "as completed":
            assert set(watch.consumer.task.result()) == set(BATCHES)
            assert all(wait.done() for wait in watch.members)
            return
        for wait in watch.members:
            if wait.batch_id in watch.closed:
                continue
            batch = wait.result()
            assert batch.status_code == "succeeded"
            ended = wait._run.polling.agenda.ended
            said = [one for one in self.server.said if one.batch == wait.batch_id and one.status == "succeeded"]
            is_settled = all(is_end(one.status_code) for one in batch.items)
            assert is_settled or ended > min(said[0].at + SETTLED, wait.deadline - SETTLED)
            if watch.consumer.how != "awaited":
                last = watch.last_of(wait.batch_id)
                assert {one.sequence_index: one.status_code for one in batch.items}.items() <= last.items()

    def teardown(self) -> None:
        connections.open_lane = self.opened
        self.run(self._leave())
        self.loop.close()
        assert self.reported == []

    async def _leave(self) -> None:
        tasks = [watch.consumer.task for watch in self.all if watch.is_consumed]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for watch in self.all:
            await watch.wait.aclose()
        await self.session.close()
        assert not connections_in_use(self.session)
        assert not self.session._lifetime.entered
        self.listening.close()
        for _, _, writer in self.server.answering:
            writer.close()
        await asyncio.sleep(10)
        assert asyncio.all_tasks() <= {asyncio.current_task()}


class WaitsOnTheOrdinaryLane(Waits):
    is_lean = False


SETTINGS = settings(
    max_examples=HISTORIES or 25, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.slow
class TestOverTheLeanLane(Waits.TestCase):
    settings = SETTINGS


@pytest.mark.slow
@pytest.mark.ordinary
class TestOverTheOrdinaryLane(WaitsOnTheOrdinaryLane.TestCase):
    settings = SETTINGS
