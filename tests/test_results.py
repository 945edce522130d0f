"""Each item's result once, as it ends: from the emulator on a loop whose time jumps, and from servers that lag."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest

from runflow_async import (
    AuthenticationError,
    Batch,
    BatchItem,
    ConfigurationError,
    MalformedResponseError,
    NotFoundError,
    RunflowSession,
    SessionClosedError,
    WaitClosedError,
    WaitTimeoutError,
)
from runflow_async.emulator import faults
from tests.faults.tables import BATCH_ID, connect
from tests.rig import Reply, ScriptedServer, assert_no_leaks, cancel_at_every_suspension, hang, http, item, json_batch
from tests.test_checkpointing import Memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runflow_async.emulator import Emulator

SCRIPT = [[(0.0, "queued"), (1.0, "running"), (ended, "succeeded")] for ended in (2.0, 3.0, 3.0, 8.0)]
OTHER = UUID(int=99)


def at(statuses: Sequence[str]) -> Batch:
    """A snapshot that says so."""
    return msgspec.json.decode(json_batch(BATCH_ID, statuses), type=Batch)


def handle(index: int) -> UUID:
    return UUID(item(BATCH_ID, index)["id"])


class Lists:
    """A server whose batch and whose items say what a test wants, each by its own script; the last entry repeats.

    Args:
        batches: the statuses of the items as the batch has them, with "!" in front if it has ended.
        pages: the statuses as the items have them; None leaves an item out; or a whole reply.
        page_size: items on a page.
    """

    def __init__(
        self, batches: Sequence[str | Reply], pages: Sequence[Sequence[str | None] | Reply], page_size: int = 500
    ) -> None:
        self.batches, self.pages, self.page_size = list(batches), list(pages), page_size
        self.asked: list[str] = []
        self.was_asked_for_item = asyncio.Event()
        self.refused: dict[str, Reply] = {}  # by a part of the path, before anything else; 503 once

    def __call__(self, number: int) -> Reply:
        path = self.server.requests[number - 1].split(b" ")[1].decode()
        tail = path.removeprefix(f"/v1/batches/{BATCH_ID}").lstrip("/")
        if "items/" in path:
            self.was_asked_for_item.set()
        self.asked.append("batch" if not tail else "page" if "?" in tail else "item")
        for part, reply in self.refused.items():
            if part in tail:
                if b" 503 " in reply.data:
                    self.refused = {}
                return reply
        if not tail:
            return self._batch(self._next(self.batches))
        if isinstance(entries := self.pages[0] if "pq=" in tail else self._next(self.pages), Reply):
            return entries
        items = [self._item(index, status) for index, status in enumerate(entries) if status is not None]
        if "?" not in tail:
            found = [one for one in items if tail.endswith(one["id"])]
            return http(200, json.dumps(found[0])) if found else http(404)
        start = int(tail.partition("pq=")[2] or 0)
        end = start + self.page_size
        return http(200, json.dumps({"items": items[start:end], "next_pq": str(end) if end < len(items) else None}))

    def _batch(self, entry: str | Reply) -> Reply:
        if isinstance(entry, Reply):
            return entry
        words = entry.lstrip("!").split()
        return http(200, json_batch(BATCH_ID, words, "succeeded" if entry[0] == "!" else "running"))

    @staticmethod
    def _item(index: int, status: str) -> dict[str, Any]:
        output = {"number": index} if status == "succeeded" else None
        return item(BATCH_ID, index, None if status == "null" else status, output=output) | {"batch_id": str(BATCH_ID)}

    @staticmethod
    def _next(script: list[Any]) -> Any:
        return script.pop(0) if len(script) > 1 else script[0]

    async def __aenter__(self) -> RunflowSession:
        self.server = await ScriptedServer(self).__aenter__()
        self.session = connect(self.server)
        return self.session

    async def __aexit__(self, *error: object) -> None:
        await self.session.close()
        await self.server.__aexit__(*error)


async def collect(results: Any) -> list[BatchItem]:
    return [result async for result in results]


async def drain(results: Any, taken: list[int | None]) -> None:
    """Append the index of every result that comes before the end or the error."""
    async for result in results:
        taken.append(result.sequence_index)  # noqa: PERF401  # what came before the error counts


async def numbers(session: RunflowSession, **keywords: Any) -> list[int | None]:
    """The indexes of the results, each of which must be whole."""
    results = await collect(session.iter_results(BATCH_ID, **{"interval": 0.01, "timeout": 5.0} | keywords))
    assert all(one.is_terminal and one.output == {"number": one.sequence_index} for one in results)
    return [one.sequence_index for one in results]


def paths(emulator: Emulator) -> list[str]:
    return ["page" if "?" in one.path else "batch" if one.path.count("/") == 3 else "item" for one in emulator.requests]


@pytest.mark.looptime
class TestResults:
    @pytest.mark.parametrize("interval", [None, 0.3, 5.0])
    async def test_come_whole_and_once(self, emulator, session, interval):
        batch_id = emulator.create_batch(40, 12.0, fail=0.2, cancel=0.1)
        results = await collect(session.iter_results(batch_id, interval=interval))
        assert len({one.id for one in results}) == len(results) == 40
        statuses = [one.status_code for one in results]
        assert (statuses.count("succeeded"), statuses.count("failed"), statuses.count("canceled")) == (28, 8, 4)
        for one in results:
            assert one.completed_at is not None
            assert bool(one.output) == (one.status_code == "succeeded")
            assert bool(one.error) == (one.status_code == "failed")

    async def test_come_with_the_poll_that_sees_their_end(self, emulator, session):
        batch_id = emulator.create_scripted_batch(SCRIPT)
        loop = asyncio.get_running_loop()
        began = loop.time()
        came = [
            (one.sequence_index, round(loop.time() - began))
            async for one in session.iter_results(batch_id, interval=1.0)
        ]
        assert came == [(0, 2), (1, 3), (2, 3), (3, 8)]

    async def test_cost_hardly_more_requests_than_waiting_and_then_paging(self, emulator, session):
        """A poll of the page of items stands for one of the batch; only the first news after the start adds one."""
        batch_id = emulator.create_batch(100, 60.0, seed=5)
        await collect(session.iter_results(batch_id, interval=2.0))
        assert len(emulator.requests) <= 1.3 * (60.0 / 2.0 + 2)
        assert paths(emulator)[0] == paths(emulator)[-1] == "batch"
        # The batch itself is looked at now and then, because it may end without its items.
        assert max(len(pages) for pages in " ".join(paths(emulator)).split("batch")) <= len(" page" * 5 + " ")

    async def test_of_many_batches_end_with_the_last_one(self, emulator, session):
        batch_ids = [emulator.create_batch(10, 3.0 + number) for number in range(5)]
        results = session.iter_results(batch_ids)
        assert len({one.id async for one in results}) == 50
        assert {wait.result().status_code for wait in results.waits.values()} == {"succeeded"}

    async def test_of_many_batches_raise_the_failures_of_some_at_the_end(self, emulator, session):
        batch_id, taken = emulator.create_batch(10, 3.0), []
        with pytest.raises(ExceptionGroup) as caught:
            await drain(session.iter_results([OTHER, batch_id]), taken)
        assert len(taken) == 10
        (error,) = caught.value.exceptions
        assert isinstance(error, NotFoundError)
        assert error.batch_id == OTHER

    async def test_are_not_fetched_while_a_consumer_is_slow(self, emulator, session):
        batch_id = emulator.create_scripted_batch(SCRIPT)
        async for _ in session.iter_results(batch_id, interval=0.5):
            before = len(emulator.requests)
            await asyncio.sleep(60)
            assert len(emulator.requests) == before

    async def test_go_on_where_since_says(self, emulator, session):
        batch_id = emulator.create_scripted_batch(SCRIPT)
        first = session.iter_results(batch_id, interval=0.5)
        taken = [(await anext(first)).sequence_index for _ in range(2)]
        kept = msgspec.json.encode(first.delivered)  # in the middle of what one poll has brought
        rest = session.iter_results([batch_id], since=msgspec.json.decode(kept, type=list[Batch]))
        assert (taken, [one.sequence_index async for one in rest]) == ([0, 1], [2, 3])
        await first.aclose()

    async def test_are_recorded_when_the_loop_comes_back_for_the_next_one(self, emulator, session):
        batch_id, memory = emulator.create_scripted_batch(SCRIPT), Memory()

        def recorded() -> list[int]:
            return [one.item.sequence_index for one in memory.recorded if one.is_terminal]

        results = session.iter_results(batch_id, interval=0.5, checkpoint=memory)
        await anext(results)
        await anext(results)
        assert recorded() == [0]  # item 2 has ended, too
        again = session.iter_results([batch_id], checkpoint=memory)
        assert [one.sequence_index async for one in again] == [1, 2, 3]
        assert recorded() == [0, 1, 2, 3]
        assert await collect(session.iter_results(batch_id, checkpoint=memory)) == []
        await results.aclose()

    async def test_wait_after_the_loop_was_left(self, emulator, session):
        batch_id = emulator.create_scripted_batch(SCRIPT)
        results, taken = session.iter_results(batch_id, interval=0.5), []
        taken.append((await anext(results)).sequence_index)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await anext(results)
        taken += [one.sequence_index async for one in results]
        assert taken == [0, 1, 2, 3]

    async def test_end_when_closed(self, emulator, session):
        async with session.iter_results(emulator.create_scripted_batch(SCRIPT)) as results:
            await anext(results)
        assert await collect(results) == []
        assert isinstance(next(iter(results.waits.values())).exception(), WaitClosedError)

    async def test_that_came_before_a_timeout_are_delivered_before_it_is_raised(self, emulator, session):
        taken = []
        with pytest.raises(WaitTimeoutError) as caught:
            await drain(session.iter_results(emulator.create_scripted_batch(SCRIPT), timeout=5.0), taken)
        assert taken == [0, 1, 2]
        assert [one.status_code for one in caught.value.batch.items] == ["succeeded"] * 3 + ["running"]

    async def test_are_lost_to_no_fault(self, emulator, session):
        """Requests for results are retried as all others are."""
        batch_id = emulator.create_batch(30, 20.0)
        results, taken = session.iter_results(batch_id, interval=0.5), []
        async for one in results:
            taken.append(one.id)
            emulator.faults[:] = [faults.status(503), faults.truncated_body(), faults.reset()]
        assert len(set(taken)) == len(taken) == 30

    async def test_are_nudged_along_with_every_wait(self, emulator, session):
        batch_id = emulator.create_scripted_batch([[(0.0, "running"), (5.0, "succeeded")]])
        results = session.iter_results(batch_id, expect_callback=True)
        asyncio.get_running_loop().call_later(6.0, session.nudge, batch_id)
        async with asyncio.timeout(10.0):
            assert len(await collect(results)) == 1

    async def test_of_a_batch_that_ends_without_its_items_are_those_that_came(self, emulator, session):
        running = [(0.0, "running")]
        batch_id = emulator.create_scripted_batch(
            [running, [(0.0, "running"), (2.0, "succeeded")]], status_timeline=[(0.0, "running"), (4.0, "canceled")]
        )
        results = await collect(session.iter_results(batch_id, interval=0.5))
        assert [one.sequence_index for one in results] == [1]

    async def test_of_an_item_that_runs_again_come_once(self, emulator, session):
        again = [(0.0, "running"), (1.0, "failed"), (2.0, "running"), (5.0, "succeeded")]
        batch_id = emulator.create_scripted_batch([again, SCRIPT[3]])
        results = await collect(session.iter_results(batch_id, interval=0.5))
        assert [(one.sequence_index, one.status_code) for one in results] == [(0, "failed"), (1, "succeeded")]

    async def test_of_more_items_than_a_page_has_come_by_pages(self, emulator, session):
        batch_id = emulator.create_batch(1100, 10.0)
        results = await collect(session.iter_results(batch_id, interval=5.0))
        assert len({one.id for one in results}) == len(results) == 1100

    async def test_follow_until(self, emulator, session):
        batch_id = emulator.create_scripted_batch(SCRIPT)
        results = session.iter_results(batch_id, interval=0.5, until=lambda batch: batch.items_succeeded == 1)
        assert [one.sequence_index for one in await collect(results)] == [0]


class TestFetches:
    async def test_are_single_if_no_fewer_pages_would_do(self):
        lists = Lists(["succeeded running", "!succeeded succeeded"], [["succeeded", "running"], ["succeeded"] * 2])
        async with lists as session:
            assert await numbers(session) == [0, 1]
        assert lists.asked == ["batch", "item", "page", "batch"]

    async def test_are_one_page_for_all_that_ended_with_one_poll(self):
        lists = Lists(
            ["succeeded succeeded running", "!" + "succeeded " * 3],
            [["succeeded"] * 2 + ["running"], ["succeeded"] * 3],
        )
        async with lists as session:
            assert await numbers(session) == [0, 1, 2]
        assert lists.asked == ["batch", "page", "page", "batch"]

    async def test_stop_at_the_page_with_the_last_wanted_one(self):
        lists = Lists(["!" + "succeeded " * 5], [["succeeded"] * 5], page_size=2)
        async with lists as session:
            assert await numbers(session, since=at(["succeeded"] * 2 + ["running"] * 2 + ["succeeded"])) == [2, 3]
        assert lists.asked == ["batch", "page", "page"]

    async def test_do_not_rely_on_pages_as_large_as_asked_for(self):
        """The server may hold back the size of its pages; then a page cannot stand for the batch."""
        lists = Lists(["running " * 3, "succeeded " * 2 + "running", "!" + "succeeded " * 3], [["succeeded"] * 3], 2)
        async with lists as session:
            assert await numbers(session) == [0, 1, 2]
        assert lists.asked[:2] == ["batch", "page"]
        assert "page" not in lists.asked[2:]

    @pytest.mark.parametrize("late", ["running", "queued", None], ids=str)
    async def test_are_repeated_for_results_that_lag_behind_the_end(self, late):
        lists = Lists(["!succeeded succeeded"], [[late, "succeeded"], [late, "succeeded"], ["succeeded"] * 2])
        async with lists as session:
            assert await numbers(session) == [1, 0]

    async def test_that_lag_for_ever_end_in_an_error_after_all_other_results(self):
        lists, taken = Lists(["!succeeded succeeded"], [["running", "succeeded"]]), []
        async with lists as session:
            results = session.iter_results(BATCH_ID, interval=0.01)
            with pytest.raises(MalformedResponseError, match=str(handle(0))) as caught:
                await drain(results, taken)
        assert taken == [1]
        assert caught.value.batch_id == BATCH_ID
        assert lists.asked.count("batch") == 5
        (delivered,) = results.delivered
        assert [one.is_terminal for one in delivered.items] == [False, True]

    async def test_that_fail_for_good_raise_after_what_was_fetched(self):
        lists, taken = Lists(["!" + "succeeded " * 3], [["succeeded"] * 3], page_size=2), []
        lists.refused = {"pq=2": http(401), f"items/{handle(2)}": http(401)}
        async with lists as session:
            results = session.iter_results(BATCH_ID, interval=0.01)
            with pytest.raises(AuthenticationError):
                await drain(results, taken)
            assert taken == [0, 1]
            lists.refused = {}
            assert await numbers(session, since=results.delivered) == [2]

    async def test_that_fail_once_are_made_again_with_the_next_poll(self):
        lists = Lists(["!" + "succeeded " * 3], [["succeeded"] * 3], page_size=2)
        lists.refused = {"pq=2": http(503)}
        async with lists as session:
            assert await numbers(session) == [0, 1, 2]
        assert lists.asked == ["batch", "page", "page", "batch", "item"]

    async def test_of_a_batch_whose_last_poll_fails_deliver_its_results_first(self):
        lists, taken = Lists(["running", http(401)], [["succeeded"]]), []
        async with lists as session:
            with pytest.raises(AuthenticationError):
                await drain(session.iter_results(BATCH_ID, interval=0.01), taken)
        assert taken == [0]

    async def test_find_the_items_of_a_batch_that_lists_none(self):
        bare = [http(200, json_batch(BATCH_ID, None, status)) for status in ("running", "succeeded")]
        lists = Lists(bare, [["running", "running"], ["succeeded", "running"], ["succeeded", "succeeded"]])
        async with lists as session:
            assert await numbers(session) == [0, 1]

    async def test_of_pages_without_statuses_go_by_the_batch(self):
        lists = Lists(["running running", "succeeded running", "!succeeded succeeded"], [["null"] * 2])
        async with lists as session:
            results = await collect(session.iter_results(BATCH_ID, interval=0.01))
        assert [one.sequence_index for one in results] == [0, 1]

    @pytest.mark.parametrize(
        ("one", "where"),
        [({"sequence_index": 0}, "$.items[0]"), ({"id": str(OTHER), "batch_id": str(OTHER)}, "$.items[0].batch_id")],
        ids=["an item without an id", "an item of another batch"],
    )
    async def test_refuse(self, one, where):
        lists = Lists(["running"], [http(200, json.dumps({"items": [one]}))])
        async with lists as session:
            with pytest.raises(MalformedResponseError, match=re.escape(where)):
                await numbers(session)

    @pytest.mark.parametrize("late", [False, True], ids=["", "late"])
    async def test_cancelled_anywhere_lose_nothing(self, late):
        """Iterating again gives the rest: after a single fetch, a page that is a poll, and the poll of the end."""
        lists = Lists([], [])
        taken: list[int | None] = []
        results: Any = None

        def begin() -> Any:
            nonlocal results
            taken.clear()
            lists.batches = ["succeeded running running", "!succeeded succeeded succeeded"]
            lists.pages = [["succeeded", *["running"] * 2], ["succeeded", "succeeded", "running"], ["succeeded"] * 3]
            results = session.iter_results(BATCH_ID, interval=0.001)
            return drain(results, taken)

        async def go_on(_: object) -> None:
            await drain(results, taken)
            assert taken == [0, 1, 2]

        async with lists as session, assert_no_leaks():
            cuts = await cancel_at_every_suspension(begin, settle=go_on, late=late)
        assert len(cuts) > 5

    async def test_in_flight_can_be_cancelled_and_begun_again(self):
        lists = Lists(["!succeeded"], [["succeeded"]])
        lists.refused = {"items/": hang()}
        async with lists as session, assert_no_leaks():
            results = session.iter_results(BATCH_ID)
            waiting = asyncio.create_task(anext(results))
            await lists.was_asked_for_item.wait()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            lists.refused = {}
            assert [one.sequence_index async for one in results] == [0]

    async def test_in_flight_end_with_their_session(self):
        lists = Lists(["!succeeded"], [["succeeded"]])
        lists.refused = {"items/": hang()}
        async with lists as session:
            waiting = asyncio.create_task(anext(session.iter_results(BATCH_ID)))
            await lists.was_asked_for_item.wait()
            await session.close()
            with pytest.raises(SessionClosedError):
                await waiting
            with pytest.raises(SessionClosedError):
                session.iter_results(BATCH_ID)


class TestOneItem:
    async def test_is_fetched(self):
        async with Lists([], [["succeeded", "running"]]) as session:
            assert (await session.get_batch_item(str(BATCH_ID), handle(0))).output == {"number": 0}

    async def test_is_fetched_again_after_a_failure(self):
        async with Lists([], [http(503), ["succeeded"]]) as session:
            assert (await session.get_batch_item(BATCH_ID, handle(0))).is_terminal

    async def test_that_does_not_exist_is_not_found(self):
        async with Lists([], [["succeeded"]]) as session:
            with pytest.raises(NotFoundError) as caught:
                await session.get_batch_item(BATCH_ID, OTHER)
        assert caught.value.batch_id == BATCH_ID

    @pytest.mark.parametrize(
        ("content", "where"),
        [({"id": str(OTHER)}, "$.id"), ({"batch_id": str(OTHER)}, "$.batch_id"), ({"id": None}, "$.id")],
        ids=["another one", "of another batch", "without an id"],
    )
    async def test_must_be_the_one_that_was_asked_for(self, content, where):
        reply = http(200, json.dumps({"id": str(handle(0)), "batch_id": str(BATCH_ID)} | content))
        async with Lists([], [reply]) as session:
            with pytest.raises(MalformedResponseError) as caught:
                await session.get_batch_item(BATCH_ID, handle(0))
        assert caught.value.where == where

    @pytest.mark.parametrize(
        ("item_id", "says"),
        [
            ("7", "item_id must be a UUID, such as"),
            (BatchItem(id=OTHER), "not a BatchItem: pass its `id`"),
        ],
        ids=["a number", "an item"],
    )
    async def test_needs_an_id(self, item_id, says):
        async with Lists([], []) as session:
            with pytest.raises(ConfigurationError, match=re.escape(says)):
                await session.get_batch_item(BATCH_ID, item_id)


class TestArguments:
    @pytest.mark.parametrize(
        ("batch_ids", "keywords", "says"),
        [
            ("x", {}, "batch_id must be a UUID"),
            (["x"], {}, "batch_id must be a UUID"),
            (7, {}, "batch_ids must be an iterable"),
            (BATCH_ID, {"since": Batch(id=OTHER)}, f"since must be a snapshot of batch {BATCH_ID}"),
            ([BATCH_ID], {"since": Batch()}, "since must hold snapshots with their ids"),
            (BATCH_ID, {"since": Batch(id=BATCH_ID), "checkpoint": Memory()}, "since"),
            (BATCH_ID, {"timeout": -1}, "timeout"),
        ],
    )
    async def test_are_checked_at_once(self, session, batch_ids, keywords, says):
        with pytest.raises(ConfigurationError, match=says):
            session.iter_results(batch_ids, **keywords)

    async def test_that_nobody_uses_are_warned_of(self, session):
        with pytest.warns(RuntimeWarning, match=rf"iter_results\({BATCH_ID}\) was never"):
            session.iter_results(BATCH_ID)
