"""Server-sent events of a wait: what they say, and that a connection resumes where the last one was cut."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from runflow_async import Batch, BatchItemHandle, ConfigurationError, RunflowSession
from runflow_async.emulator import faults
from runflow_async.sse import LONGEST_ID, _id_of, since_of, sse
from tests.rig import eventually, on_uvicorn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

STEPS = [[(0.0, "queued"), (2.0 + n % 3, "running"), (5.0 + n % 4, "succeeded")] for n in range(12)]
SHORT = [[(0.0, "queued"), (0.1, "running"), (0.2 + n / 20, "succeeded")] for n in range(4)]
FOREVER = [[(0.0, "running")]]


class Event(NamedTuple):
    kind: str
    data: object
    id: str | None


def read(block: str) -> Event:
    """One event, as a browser reads it."""
    fields = dict(line.split(": ", 1) for line in block.rstrip().splitlines())
    return Event(fields["event"], json.loads(fields["data"]), fields.get("id"))


async def events_of(chunks: AsyncIterator[bytes]) -> list[Event]:
    text = b"".join([chunk async for chunk in chunks]).decode()
    assert text.endswith("\n\n")
    return [read(block) for block in text.split("\n\n")[:-1] if not block.startswith(":")]


def transitions_of(events: Iterable[Event]) -> list[dict[str, object]]:
    return [one for event in events if event.kind == "transitions" for one in event.data]


def check_whole(events: Iterable[Event], items: int) -> None:
    """Nothing is lost and nothing is twice: each item's transitions begin where the ones before have ended."""
    seen: dict[str, list[tuple[str | None, str]]] = {}
    for one in transitions_of(events):
        seen.setdefault(one["item"]["id"], []).append((one["previous"], one["item"]["status_code"]))
    assert len(seen) == items
    for steps in seen.values():
        assert steps[0][0] is None
        assert steps[-1][1] == "succeeded"
        assert all(before[1] == after[0] for before, after in pairwise(steps))


class TestEvents:
    async def test_hold_every_transition_and_the_end(self, emulator, session):
        batch_id = emulator.create_scripted_batch(SHORT)
        events = await events_of(sse(session.wait_for_batch(batch_id, interval=0.02)))
        check_whole(events, 4)
        assert events[0].data[0].keys() == {"batch_id", "item", "previous", "observed_at"}
        assert events[-1] == Event(
            "end",
            {
                "batch_id": str(batch_id),
                "status_code": "succeeded",
                "items_total": 4,
                "items_succeeded": 4,
                "items_failed": 0,
                "items_cancelled": 0,
                "error": None,
            },
            None,
        )

    async def test_come_one_for_each_response_that_brings_any(self, stepping_emulator):
        batch_id = stepping_emulator.create_scripted_batch(STEPS)
        async with RunflowSession() as session:
            events = await events_of(sse(session.wait_for_batch(batch_id, interval=0.001)))
        instants = [{one["observed_at"] for one in event.data} for event in events[:-1]]
        assert [len(one) for one in instants] == [1] * len(instants)
        assert len(set.union(*instants)) == len(instants)

    async def test_keep_an_idle_connection_with_comments(self, emulator, session):
        batch_id = emulator.create_scripted_batch(FOREVER)
        async with aclosing(sse(session.wait_for_batch(batch_id), heartbeat=0.01)) as events:
            assert (await anext(events)).startswith(b"event: transitions\n")
            assert [await anext(events) for _ in range(3)] == [b":\n\n"] * 3

    async def test_are_not_late_or_cut_by_a_heartbeat(self, emulator, session):
        emulator.latency = 0.1
        wait = session.wait_for_batch(emulator.create_scripted_batch(SHORT), interval=0.01)
        check_whole(await events_of(sse(wait, heartbeat=0.01)), 4)
        assert (wait.stats.cut, wait.stats.failures) == (0, 0)

    async def test_end_with_the_kind_of_an_error_and_keep_its_text_to_the_log(self, emulator, session, caplog):
        batch_id = emulator.create_scripted_batch(FOREVER)
        emulator.faults.append(faults.status(403, message="internal details"))
        (end,) = await events_of(sse(session.wait_for_batch(batch_id)))
        assert (end.kind, end.data["error"], end.data["status_code"]) == ("end", "PermissionDeniedError", None)
        assert "internal details" not in str(end)
        assert "internal details" in caplog.text

    async def test_end_with_an_error_after_what_was_seen(self, emulator, session):
        wait = session.wait_for_batch(emulator.create_scripted_batch(FOREVER), timeout=0.1)
        first, end = await events_of(sse(wait))
        assert (first.kind, end.data["error"], end.data["status_code"]) == (
            "transitions",
            "WaitTimeoutError",
            "running",
        )

    @pytest.mark.parametrize("close", [lambda wait, session: session.close(), lambda wait, session: wait.aclose()])
    async def test_just_stop_when_the_wait_is_closed_so_that_a_browser_comes_back(self, emulator, session, close):
        wait = session.wait_for_batch(emulator.create_scripted_batch(FOREVER))
        async with aclosing(sse(wait)) as events:
            await anext(events)
            rest = asyncio.create_task(events_of_rest(events))
            await asyncio.sleep(0)
            await close(wait, session)
            assert await rest == []

    async def test_let_exceptions_of_the_callers_code_through(self, emulator, session):
        def until(batch):
            raise ArithmeticError

        with pytest.raises(ArithmeticError):
            await events_of(sse(session.wait_for_batch(emulator.create_scripted_batch(FOREVER), until=until)))

    @pytest.mark.parametrize("heartbeat", [0, -1, "soon", None])
    async def test_need_a_wait_and_a_length_of_time(self, emulator, session, heartbeat):
        async with session.wait_for_batch(emulator.create_batch()) as wait:
            with pytest.raises(ConfigurationError, match="heartbeat"):
                sse(wait, heartbeat=heartbeat)
            with pytest.raises(ConfigurationError, match="wait must be a BatchWait"):
                sse(aiter(wait.batched()))


async def events_of_rest(events: AsyncIterator[bytes]) -> list[bytes]:
    return [chunk async for chunk in events]


class TestAStreamThatIsLeft:
    async def test_closes_its_wait(self, emulator, session):
        wait = session.wait_for_batch(emulator.create_scripted_batch(FOREVER))
        async with aclosing(sse(wait)) as events:
            await anext(events)
        assert wait.done()

    async def test_closes_its_wait_in_the_middle_of_a_heartbeat(self, emulator, session):
        wait = session.wait_for_batch(emulator.create_scripted_batch(FOREVER))
        async with aclosing(sse(wait, heartbeat=0.001)) as events:
            await anext(events)
            await anext(events)
        assert wait.done()
        assert [task for task in asyncio.all_tasks() if task.get_name().startswith("sse")] == []

    async def test_closes_its_wait_when_its_task_is_cancelled(self, emulator, session):
        wait = session.wait_for_batch(emulator.create_scripted_batch(FOREVER))
        task = asyncio.create_task(events_of_rest(sse(wait)))
        await eventually(lambda: wait.stats.polls)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert wait.done()


class TestIds:
    async def test_resume_after_any_event_without_loss_and_without_repetition(self, stepping_emulator):
        """In another session, as in another process, from nothing but the id."""
        batch_id = stepping_emulator.create_scripted_batch(STEPS)
        kept: list[Event] = []
        last_id, connections = None, 0
        while not kept or kept[-1].kind != "end":
            connections += 1
            async with RunflowSession() as session:
                wait = session.wait_for_batch(batch_id, interval=0.001, since=since_of(last_id))
                async with aclosing(sse(wait)) as events:
                    kept.append(read((await anext(events)).decode()))
            last_id = kept[-1].id
        check_whole(kept, 12)
        assert connections > 4

    async def test_of_the_last_event_lead_to_the_end_alone(self, emulator, session):
        batch_id = emulator.create_scripted_batch(SHORT)
        *_, last, end = await events_of(sse(session.wait_for_batch(batch_id, interval=0.02)))
        assert await events_of(sse(session.wait_for_batch(batch_id, since=since_of(last.id)))) == [end]

    async def test_hold_what_was_delivered_and_nothing_else(self, emulator, session):
        wait = session.wait_for_batch(emulator.create_scripted_batch(SHORT))
        async with aclosing(sse(wait)) as events:
            resumed = since_of(read((await anext(events)).decode()).id)
            assert resumed.id == wait.batch_id
            assert statuses(resumed) == statuses(wait.delivered)

    @pytest.mark.parametrize(("items", "length"), [(0, 40), (1, 61), (100, 2250), (370, LONGEST_ID)])
    def test_are_short_and_fit_into_a_url(self, items, length):
        text = _id_of(batch_of(items), UUID(int=7)).decode()
        assert re.fullmatch(r"[\w-]+", text, re.ASCII)
        assert len(text) <= length
        assert statuses(since_of(text)) == statuses(batch_of(items))

    def test_of_too_many_items_are_empty_so_that_a_browser_starts_again(self):
        assert _id_of(batch_of(380), UUID(int=7)) == b""
        assert since_of("") is None

    @pytest.mark.parametrize("status", ["queued", "", "läuft", "a: b\nid: c", "x" * 300])
    def test_hold_any_status(self, status):
        batch = Batch(items=[BatchItemHandle(UUID(int=1), 0, UUID(int=2), status)])
        assert statuses(since_of(_id_of(batch, UUID(int=7)).decode())) == {UUID(int=1): status}

    @given(st.text(max_size=300) | st.text("AQkw-_0", max_size=300).map("1".__add__))
    def test_that_are_none_mean_a_fresh_start(self, text):
        assert isinstance(since_of(text), Batch | None)

    def test_that_are_cut_or_long_or_of_another_release_mean_a_fresh_start(self):
        text = _id_of(batch_of(3), UUID(int=7)).decode()
        assert [since_of(text[:end]) for end in range(len(text))] == [None] * len(text)
        for other in (None, text + "A", "2" + text[1:], "1" + "A" * LONGEST_ID, f" {text}", "7", "é"):
            assert since_of(other) is None

    async def test_of_another_batch_are_refused(self, emulator, session):
        foreign = since_of(_id_of(batch_of(3), UUID(int=7)).decode())
        with pytest.raises(ConfigurationError, match="not of 00000000-0000-0000-0000-000000000007"):
            session.wait_for_batch(emulator.create_batch(), since=foreign)


def statuses(batch: Batch) -> dict[UUID, str]:
    return {item.id: item.status_code for item in batch.items}


def batch_of(items: int) -> Batch:
    kinds = ["queued", "running", "succeeded", "failed"]
    return Batch(
        items=[BatchItemHandle(UUID(int=2**96 + n), n, UUID(int=n), kinds[n * 4 // items]) for n in range(items)],
        created_at=datetime.now(UTC),
    )


@asynccontextmanager
async def page_server(session: RunflowSession, **keywords: object) -> AsyncIterator[tuple[str, list]]:
    """Starlette on uvicorn, as an application would have it; its waits, too."""
    waits = []

    async def events(request):
        since = since_of(request.headers.get("Last-Event-ID"))
        wait = session.wait_for_batch(request.path_params["batch_id"], timeout=None, since=since, **keywords)
        waits.append(wait)
        return StreamingResponse(sse(wait), media_type="text/event-stream")

    async with on_uvicorn(Starlette(routes=[Route("/{batch_id}", events)])) as url:
        yield url, waits


async def follow(http: aiohttp.ClientSession, url: str, last_id: str | None = None) -> AsyncIterator[Event]:
    """Read events as they come, and cut the connection when nobody asks for more."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    async with http.get(url, headers=headers) as response:
        assert response.status == 200
        while block := (await response.content.readuntil(b"\n\n")).decode().removesuffix("\n\n"):
            event = read(block)
            yield event
            if event.kind == "end":
                break
        response.close()


class TestAPage:
    async def test_whose_connection_drops_again_and_again_loses_nothing(self, emulator, session):
        batch_id = emulator.create_scripted_batch([[(0.0, "queued"), (n / 40, "succeeded")] for n in range(1, 21)])
        kept: list[Event] = []
        async with page_server(session, interval=0.01) as (url, waits), aiohttp.ClientSession() as http:
            while not kept or kept[-1].kind != "end":
                last_id = kept[-1].id if kept else None
                async with aclosing(follow(http, f"{url}/{batch_id}", last_id)) as events:
                    kept.append(await anext(events))
        check_whole(kept, 20)
        assert len(waits) > 3

    async def test_that_is_closed_ends_its_wait(self, emulator, session):
        batch_id = emulator.create_scripted_batch(FOREVER)
        async with page_server(session) as (url, waits), aiohttp.ClientSession() as http:
            async with aclosing(follow(http, f"{url}/{batch_id}")) as events:
                await anext(events)
            await eventually(waits[0].done)

    async def test_in_ten_tabs_shares_every_poll_but_the_first(self, emulator, session):
        batch_id = emulator.create_scripted_batch([[(0.0, "queued"), (n / 40, "succeeded")] for n in range(1, 21)])
        async with page_server(session, interval=0.02) as (url, waits), aiohttp.ClientSession() as http:

            async def tab() -> list[Event]:
                return [event async for event in follow(http, f"{url}/{batch_id}")]

            tabs = await asyncio.gather(*(tab() for _ in range(10)))
        for events in tabs:
            check_whole(events, 20)
        polls = [wait.stats.polls for wait in waits]
        assert len(polls) == 10
        assert len(emulator.requests) <= max(polls) + 9
        assert sum(polls) > 3 * len(emulator.requests)
