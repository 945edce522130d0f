"""What the observers of a session see, and that they harm nothing; over loopback, on both lanes."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import pytest

from runflow_async import (
    ConfigurationError,
    OutageError,
    RetryPolicy,
    RunflowSession,
    ServerError,
    SessionClosedError,
    WaitClosedError,
)
from runflow_async._observing import Observing
from runflow_async.emulator import Emulator, faults
from runflow_async.observers import (
    Event,
    FleetEnded,
    OutageBegan,
    OutageEnded,
    OutputSaved,
    PaceChanged,
    Polled,
    RequestEnded,
    RequestSent,
    ResultDelivered,
    Retrying,
    TransitionDelivered,
    WaitEnded,
    WaitStarted,
)
from tests.faults.tables import BATCH_ID, GOOD, RUNNING, connect
from tests.rig import ScriptedServer, assert_no_leaks, close, eventually, hang, http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator
    from pathlib import Path

pytestmark = [pytest.mark.usefixtures("both_lanes"), pytest.mark.looptime]

CANARY = "rf_live_canary_4e2a90"
E = TypeVar("E")
TWO_ITEMS = [[(0.0, "queued"), (1.0, "running"), (3.0, "succeeded")]] * 2


@asynccontextmanager
async def emulated(**keywords: Any) -> AsyncIterator[tuple[Emulator, RunflowSession]]:
    clock = asyncio.get_running_loop().time
    async with Emulator(clock=clock, api_key=CANARY) as emulator:
        settings = {"api_key": CANARY, "base_url": emulator.url, "retry": RetryPolicy(wait_initial=0.5)} | keywords
        async with assert_no_leaks(), RunflowSession(**settings) as session:
            yield emulator, session


def kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def of(kind: type[E], events: list[Event]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


class TestEventsOfAWait:
    async def test_come_in_order_and_agree_with_its_stats(self):
        events: list[Event] = []
        async with emulated(observers=[events.append]) as (emulator, session):
            batch_id = emulator.create_scripted_batch(TWO_ITEMS)
            wait = session.wait_for_batch(batch_id)
            transitions = [transition async for transition in wait]
        assert kinds(events)[:4] == ["WaitStarted", "RequestSent", "RequestEnded", "Polled"]
        (ended,) = of(WaitEnded, events)
        assert (ended.status_code, ended.error, ended.stats.polls) == ("succeeded", None, wait.stats.polls)
        assert len(of(RequestSent, events)) == len(of(RequestEnded, events)) == wait.stats.requests
        assert len(of(Polled, events)) == wait.stats.polls
        assert [event.transition for event in of(TransitionDelivered, events)] == transitions
        assert sum(event.changes for event in of(Polled, events)) == len(transitions)
        assert (of(Polled, events)[-1].items_ended, of(Polled, events)[-1].items_total) == (2, 2)
        assert {event.batch_id for event in events} == {batch_id}
        assert {event.wait_id for event in events} == {1}

    async def test_end_with_the_session_though_nobody_uses_the_wait_any_more(self):
        """It is still referred to, so that only the session can end it."""
        events: list[Event] = []
        async with emulated(observers=[events.append]) as (emulator, session):
            waits = [session.wait_for_batch(emulator.create_scripted_batch(TWO_ITEMS)) for _ in range(2)]
            await anext(waits[0])
        (ended,) = of(WaitEnded, events)
        assert isinstance(ended.error, SessionClosedError)
        assert [wait.done() for wait in waits] == [True, False]
        with pytest.raises(SessionClosedError):
            await waits[0]
        waits[1].close()

    async def test_say_how_old_a_transition_can_be_at_most(self):
        """The time since the response before the one that showed it, or since the start."""
        events: list[Event] = []
        clock, answered = asyncio.get_running_loop().time, []

        def note(event: Event) -> None:
            events.append(event)
            if isinstance(event, Polled):
                answered.append(clock())
            if isinstance(event, TransitionDelivered) and len(answered) > 1:
                assert event.age == pytest.approx(clock() - answered[-2], abs=0.01)

        async with emulated(observers=[note]) as (emulator, session):
            batch_id = emulator.create_scripted_batch(TWO_ITEMS)
            assert [_ async for _ in session.wait_for_batch(batch_id, interval=0.7)]
        assert len(of(TransitionDelivered, events)) > 2
        assert max(event.age for event in of(TransitionDelivered, events)) == pytest.approx(0.7, abs=0.05)

    async def test_count_a_slow_consumers_delay_into_the_age(self):
        events: list[Event] = []
        async with emulated(observers=[events.append]) as (emulator, session):
            batch_id = emulator.create_scripted_batch([[(0.0, "succeeded")]] * 2)
            async for _ in session.wait_for_batch(batch_id):
                await asyncio.sleep(9)
        first, second = (event.age for event in of(TransitionDelivered, events))
        assert second - first == pytest.approx(9, abs=0.1)

    async def test_number_the_waits_of_a_session_and_say_which_are_of_a_fleet(self):
        events: list[Event] = []
        async with emulated(observers=[events.append]) as (emulator, session):
            ids = [emulator.create_batch(items=1, duration=0.1) for _ in range(2)]
            await session.wait_for_batch(ids[0])
            await session.wait_for_batches(ids)
        started = of(WaitStarted, events)
        assert [(event.batch_id, event.wait_id, event.fleet_id) for event in started] == [
            (ids[0], 1, None),
            (ids[0], 2, 1),
            (ids[1], 3, 1),
        ]
        assert sorted(event.wait_id for event in of(WaitEnded, events)) == [1, 2, 3]

    async def test_of_a_fleet_are_over_once_its_last_wait_has_ended_or_it_is_closed(self):
        """Not between two of its waits, though the first one ends before the second one starts."""
        events: list[Event] = []
        async with emulated(observers=[events.append]) as (emulator, session):
            done = [emulator.create_scripted_batch([[(0.0, "succeeded")]]) for _ in range(3)]
            fleet = session.wait_for_batches(done)
            await fleet
            assert of(FleetEnded, events) == [FleetEnded(fleet_id=1, waits=3)]
            assert kinds(events)[-2:] == ["WaitEnded", "FleetEnded"]
            fleet.add(emulator.create_batch(items=1, duration=600))
            for _ in range(4):
                await anext(fleet)
            await fleet.aclose()
            await fleet.aclose()
        assert of(FleetEnded, events)[1:] == [FleetEnded(fleet_id=1, waits=4)]
        assert kinds(events)[-2:] == ["WaitEnded", "FleetEnded"]

    async def test_have_an_end_of_what_is_dropped_too(self):
        """A timeout around an `await`, and a loop that is left, are how most waits end early."""
        events: list[Event] = []
        async with emulated(observers=[events.append]) as (emulator, session):
            batch_id = emulator.create_batch(items=1, duration=600)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await session.wait_for_batch(batch_id)
            async for _ in session.wait_for_batches([batch_id]):
                break
            await eventually(lambda: of(FleetEnded, events) and len(of(WaitEnded, events)) == 2)
        assert [(end.wait_id, type(end.error), end.status_code) for end in of(WaitEnded, events)] == [
            (1, WaitClosedError, "queued"),
            (2, WaitClosedError, "queued"),
        ]
        assert of(WaitEnded, events)[0].stats.polls > 0
        assert of(FleetEnded, events) == [FleetEnded(fleet_id=1, waits=1)]

    async def test_of_a_shared_poll_are_one_request_and_a_polled_for_each_wait(self):
        events: list[Event] = []
        async with emulated(observers=[events.append]) as (emulator, session):
            batch_id = emulator.create_batch(items=1, duration=3)
            await asyncio.gather(*(session.wait_for_batch(batch_id, interval=1) for _ in range(10)))
            sent = sum(request.batch_id == batch_id for request in emulator.requests)
        assert len(of(RequestSent, events)) == sent
        polled = Counter(event.wait_id for event in of(Polled, events))
        assert set(polled) == set(range(1, 11))
        assert set(polled.values()) == {sent}

    async def test_have_an_end_with_its_error_however_it_ends(self):
        events: list[Event] = []
        async with emulated(observers=[events.append]) as (emulator, session):
            batch_id = emulator.create_batch(items=1, duration=600)
            with pytest.raises(TimeoutError) as timed_out:
                await session.wait_for_batch(batch_id, timeout=5)
            async with session.wait_for_batch(batch_id) as closed:
                await anext(closed)
            session.wait_for_batch(batch_id).close()  # never used
            cut = asyncio.ensure_future(session.wait_for_batch(batch_id))
            await eventually(lambda: len(of(WaitStarted, events)) == 3)
            await session.close()
            await asyncio.gather(cut, return_exceptions=True)
        ends = of(WaitEnded, events)
        errors = [type(end.error).__name__ for end in ends]
        assert errors == ["WaitTimeoutError", "WaitClosedError", "SessionClosedError"]
        assert ends[0].error is timed_out.value
        assert ends[0].error.stats == ends[0].stats

    async def test_for_results_name_each_item_that_is_delivered(self):
        events: list[Event] = []
        async with emulated(observers=[events.append]) as (emulator, session):
            batch_id = emulator.create_batch(items=3, duration=1, outputs=[{"urls": ["x"]}] * 3)
            delivered = [item.id async for item in session.iter_results(batch_id)]
        assert [event.item.id for event in of(ResultDelivered, events)] == delivered
        assert {event.wait_id for event in of(RequestSent, events)} == {1}


class TestEventsOfRequests:
    async def test_have_status_size_and_the_error(self):
        events: list[Event] = []
        async with ScriptedServer([http(503), GOOD]) as server, connect(server, observers=[events.append]) as session:
            await session.get_batch(BATCH_ID)
        failed, good = of(RequestEnded, events)
        assert (failed.status, failed.bytes, failed.attempt, failed.method) == (503, 0, 1, "GET")
        assert isinstance(failed.error, ServerError)
        assert (good.status, good.error, good.attempt) == (200, None, 2)
        assert good.bytes > 100
        assert (good.batch_id, good.wait_id, good.path) == (BATCH_ID, None, f"/v1/batches/{BATCH_ID}")
        (retrying,) = of(Retrying, events)
        assert (retrying.batch_id, retrying.attempt, retrying.error) == (BATCH_ID, 1, failed.error)

    async def test_number_the_attempts_of_a_wait_until_a_valid_response(self):
        events: list[Event] = []
        script = [http(503), http(500), RUNNING, GOOD]
        async with ScriptedServer(script) as server, connect(server, observers=[events.append]) as session:
            await session.wait_for_batch(BATCH_ID)
        assert [event.attempt for event in of(RequestSent, events)] == [1, 2, 3, 1]
        assert [(event.attempt, event.wait_id) for event in of(Retrying, events)] == [(1, 1), (2, 1)]

    async def test_show_a_request_that_is_sent_again_as_two(self):
        events: list[Event] = []
        script = [RUNNING, close(), GOOD]
        async with ScriptedServer(script) as server, connect(server, observers=[events.append]) as session:
            wait = session.wait_for_batch(BATCH_ID, interval=0.01)
            await wait
        ended = of(RequestEnded, events)
        assert len(ended) == wait.stats.requests == 3
        assert "closed while it was idle" in str(ended[1].error)

    async def test_end_when_the_request_is_cancelled(self):
        events: list[Event] = []
        async with ScriptedServer(hang()) as server, connect(server, observers=[events.append]) as session:
            task = asyncio.create_task(session.get_batch(BATCH_ID))
            await eventually(lambda: server.requests)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert kinds(events) == ["RequestSent", "RequestEnded"]
        assert (events[1].status, events[1].error) == (None, None)

    async def test_of_a_creation_have_no_batch(self):
        events: list[Event] = []
        async with emulated(observers=[events.append]) as (_, session):
            await (await session.create_batch("acme/cats", [{"prompt": "a cat"}]))
        created = of(RequestSent, events)[0]
        assert (created.method, created.batch_id) == ("POST", None)

    async def test_tell_of_a_slower_pace_and_its_recovery(self):
        events: list[Event] = []
        async with emulated(observers=[events.append]) as (emulator, session):
            batch_id = emulator.create_batch(items=1, duration=0.1)
            emulator.faults.append(faults.status(429, headers={"Retry-After": "2"}))
            await session.get_batch(batch_id)
            await asyncio.sleep(61)
            await session.get_batch(batch_id)
        slower, recovered = of(PaceChanged, events)
        assert (slower.rate, slower.held_for) == (1.0, pytest.approx(2, abs=0.1))
        assert (recovered.rate, recovered.held_for) == (None, 0.0)


async def give_up(session: RunflowSession, *, after: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(after):
            await session.wait_for_batch(BATCH_ID)


class TestOutages:
    async def test_are_one_event_for_all_waits_when_they_begin_and_when_they_end(self, caplog):
        caplog.set_level(logging.INFO, "runflow_async")
        events: list[Event] = []
        patient = RetryPolicy(wait_initial=4, wait_max=4)
        has_begun = asyncio.Event()

        def note(event: Event) -> None:
            events.append(event)
            if isinstance(event, OutageBegan):
                has_begun.set()

        async with emulated(observers=[note], retry=patient) as (emulator, session):
            ids = [emulator.create_batch(items=1, duration=90) for _ in range(3)]
            tasks = [asyncio.ensure_future(session.wait_for_batch(one, interval=5)) for one in ids]
            await asyncio.sleep(1)
            emulator.faults.append(faults.status(503, times=10**6))
            await has_begun.wait()
            await asyncio.sleep(20)
            emulator.faults.clear()
            await asyncio.gather(*tasks)
        (began,), (ended,) = of(OutageBegan, events), of(OutageEnded, events)
        assert (began.waits, ended.waits) == (3, 3)
        assert 30 <= began.seconds < 36
        assert ended.seconds > 50
        told = [(one.levelname, one.getMessage()) for one in caplog.records if "3 waits" in one.getMessage()]
        assert [level for level, _ in told] == ["WARNING", "INFO"]
        assert told[0][1].startswith(f"no valid response for {began.seconds:.0f} s, 3 waits (HTTP 503")
        assert told[1][1] == f"a valid response again, after {ended.seconds:.0f} s, 3 waits"

    async def test_of_a_single_batch_among_good_ones_are_none(self):
        events: list[Event] = []
        patient = RetryPolicy(wait_initial=4, wait_max=4)
        async with emulated(observers=[events.append], retry=patient) as (emulator, session):
            bad, good = (emulator.create_batch(items=1, duration=100) for _ in range(2))
            emulator.faults.append(faults.status(503, times=10**6, batch_id=bad))
            with pytest.raises(ExceptionGroup):
                await session.wait_for_batches([bad, good], interval=2, max_outage=60)
        assert of(Retrying, events)
        assert not of(OutageBegan, events)

    async def test_do_not_count_waits_that_were_dropped(self):
        """With a timeout around an `await`, a wait ends without a word."""
        events: list[Event] = []
        patient = RetryPolicy(wait_initial=4, wait_max=4)
        async with (
            ScriptedServer(http(503)) as server,
            connect(server, retry=patient, observers=[events.append]) as session,
        ):
            await give_up(session, after=20)
            with pytest.raises(OutageError):
                await session.wait_for_batch(BATCH_ID, max_outage=45)
        (began,) = of(OutageBegan, events)
        assert began.waits == 1
        assert began.seconds < 40

    async def test_end_without_waits_if_none_is_left(self):
        events: list[Event] = []
        patient = RetryPolicy(wait_initial=4, wait_max=4)
        async with (
            ScriptedServer(http(503)) as server,
            connect(server, retry=patient, observers=[events.append]) as session,
        ):
            with pytest.raises(OutageError):
                await session.wait_for_batch(BATCH_ID, max_outage=60)
        assert [event.waits for event in of(OutageEnded, events)] == [0]
        assert kinds(events)[-2:] == ["OutageEnded", "WaitEnded"]


class TestAnObserver:
    async def test_that_fails_is_logged_once_and_harms_neither_the_wait_nor_the_others(self, caplog):
        calls = Counter[str]()
        events: list[Event] = []

        def broken(event: Event) -> None:
            calls[type(event).__name__] += 1
            raise ValueError("broken")

        async with emulated(observers=[broken, events.append]) as (emulator, session):
            batch = await session.wait_for_batch(emulator.create_batch(items=1, duration=2))
        assert batch.is_terminal
        assert calls == {"WaitStarted": 1}
        assert kinds(events)[-1] == "WaitEnded"
        (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert "broken" in record.exc_text
        assert "not called again" in record.getMessage()

    @pytest.mark.parametrize("error", [StopIteration, asyncio.CancelledError])
    async def test_may_raise_what_ends_loops_and_tasks(self, error):
        def broken(_: Event) -> None:
            raise error

        async with emulated(observers=[broken]) as (emulator, session):
            assert await session.wait_for_batch(emulator.create_batch(items=1, duration=2))

    async def test_that_causes_an_event_disturbs_the_order_for_nobody(self):
        first, second = (OutageEnded(seconds=float(number), waits=1) for number in (1, 2))
        events: list[Event] = []

        def meddle(event: Event) -> None:
            if event is first:
                observing.emit(second)

        observing = Observing([meddle, events.append])
        observing.emit(first)
        assert events == [first, second]

    @pytest.mark.parametrize("wrong", [print, [None], [list], 7])
    async def test_is_a_plain_callable_in_a_list(self, wrong):
        with pytest.raises(ConfigurationError, match=r"observers? must be"):
            RunflowSession("key", observers=wrong)

    async def test_is_no_coroutine_function(self):
        async def observer(_: Event) -> None: ...

        with pytest.raises(ConfigurationError, match="plain callable"):
            RunflowSession("key", observers=[observer])

    async def test_sees_no_key_and_no_signature(self, tmp_path: Path, caplog):
        caplog.set_level(logging.DEBUG)
        events: list[Event] = []
        async with emulated(observers=[events.append]) as (emulator, session):
            batch_id = emulator.create_batch(items=2, duration=1)
            emulator.faults.append(faults.reset(route="output"))
            urls = [url async for item in session.iter_results(batch_id) for url in item.urls]
            saved = await session.save_outputs(batch_id, tmp_path)
        assert {event.saved for event in of(OutputSaved, events)} == set(saved.files)
        assert urls
        assert len(saved.files) == len(urls)
        shown = repr(events) + "".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
        assert CANARY not in shown
        for url in urls:
            assert url.partition("?")[2] not in shown

    async def test_of_an_own_session_of_aiohttp_sees_the_same(self):
        events: list[Event] = []
        async with ScriptedServer(GOOD) as server, aiohttp.ClientSession() as own:
            async with connect(server, observers=[events.append], http=own) as session:
                await session.get_batch(BATCH_ID)
        assert kinds(events) == ["RequestSent", "RequestEnded"]


class Wrapper:
    """Adds headers to every request, and notes when it is entered and left."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers
        self.log: list[Any] = []

    def __call__(self, event: Event) -> None:
        self.log.append(type(event).__name__)

    @contextmanager
    def sending(self, request: RequestSent) -> Generator[dict[str, str]]:
        task = asyncio.current_task()
        self.log.append(request.method)
        try:
            yield self.headers
        finally:
            self.log.append("left" if asyncio.current_task() is task else "another task")


class TestAWrapperOfRequests:
    async def test_adds_headers_to_every_request_but_replaces_none_of_the_sessions(self):
        wrapper = Wrapper({"traceparent": "00-abc-def-01", "authorization": "stolen"})
        async with emulated(observers=[wrapper]) as (emulator, session):
            batch_id = (await session.create_batch("acme/cats", [{"prompt": "a cat"}])).batch_id
            await session.get_batch(batch_id)
            sent = [(one.method, one.headers) for one in emulator.requests]
        assert [method for method, _ in sent] == ["POST", "GET"]
        for _, headers in sent:
            lowered = {name.lower(): value for name, value in headers.items()}
            assert lowered["traceparent"] == "00-abc-def-01"
            assert "stolen" not in headers.values()

    async def test_is_entered_in_the_task_that_sends_and_has_both_events_inside(self):
        wrapper = Wrapper({})
        async with emulated(observers=[wrapper]) as (emulator, session):
            await session.get_batch(emulator.create_batch(items=1, duration=0.1))
        assert wrapper.log == ["GET", "RequestSent", "RequestEnded", "left"]

    async def test_is_left_however_the_request_ends(self):
        wrapper = Wrapper({})
        async with ScriptedServer(hang()) as server, connect(server, observers=[wrapper]) as session:
            task = asyncio.create_task(session.get_batch(BATCH_ID))
            await eventually(lambda: server.requests)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert wrapper.log == ["GET", "RequestSent", "RequestEnded", "left"]

    @pytest.mark.parametrize("headers", [{"a": "b\r\nc: d"}, {"a b": "c"}, {"a": "ä"}, {"a": 7}, None])
    async def test_that_returns_no_headers_is_dismissed(self, headers, caplog):
        wrapper = Wrapper(headers)
        async with emulated(observers=[wrapper]) as (emulator, session):
            await session.get_batch(emulator.create_batch(items=1, duration=0.1))
            assert "c" not in emulator.requests[0].headers
        assert "not called again" in caplog.text
        assert wrapper.log == ["GET", "left"]

    async def test_cannot_swallow_what_a_request_ends_with(self):
        class Swallowing(Wrapper):
            @contextmanager
            def sending(self, request: RequestSent) -> Generator[dict[str, str]]:
                with suppress(Exception):
                    yield {}
                self.log.append("swallowed")

        wrapper = Swallowing({})
        async with ScriptedServer(http(401)) as server, connect(server, observers=[wrapper]) as session:
            with pytest.raises(Exception, match="401"):
                await session.get_batch(BATCH_ID)
        assert wrapper.log[-1] == "swallowed"


class TestTheLog:
    async def test_has_the_same_fields_in_every_record_of_an_event(self, caplog):
        caplog.set_level(logging.DEBUG, "runflow_async")
        async with ScriptedServer([http(503), GOOD]) as server, connect(server) as session:
            await session.wait_for_batch(BATCH_ID)
        records = [record for record in caplog.records if hasattr(record, "wait_id")]
        shown = [(one.levelname, one.batch_id, one.wait_id, one.attempt, one.status) for one in records]
        name = str(BATCH_ID)
        assert shown == [
            ("DEBUG", name, 1, 1, 503),
            ("INFO", name, 1, 1, 503),
            ("DEBUG", name, 1, 2, 200),
            ("INFO", name, 1, 2, None),
        ]
        assert 0 <= records[1].delay < 1

    async def test_has_one_debug_line_for_each_request(self, caplog):
        caplog.set_level(logging.DEBUG, "runflow_async")
        async with emulated() as (emulator, session):
            await session.wait_for_batch(emulator.create_batch(items=1, duration=5))
            sent = len(emulator.requests)
        lines = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
        assert sum(line.startswith("GET /v1/batches/") for line in lines) == sent

    async def test_asks_for_no_events_without_observers_and_below_debug(self, monkeypatch):
        made = Counter[str]()
        monkeypatch.setattr("runflow_async._http.transport.Exchange", lambda *_: made.update(["exchange"]))
        monkeypatch.setattr("runflow_async._waits.witness.Polled", lambda **_: made.update(["polled"]))
        async with emulated() as (emulator, session):
            await session.wait_for_batch(emulator.create_batch(items=1, duration=5))
        assert not made
