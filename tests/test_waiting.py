"""What a wait promises, on a loop whose time jumps."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
import traceback
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import msgspec
import pytest
import tenacity

from runflow_async import (
    AuthenticationError,
    Batch,
    MalformedResponseError,
    NotFoundError,
    OutageError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    TransportError,
    WaitClosedError,
    WaitTimeoutError,
    wait_adaptive,
)
from runflow_async._answers.ledger import Ledger
from runflow_async._http.replies import Reply
from runflow_async._verdict import Verdict
from tests.virtual import BATCH_ID, ISOLATED, body, item_id, line, perform, play

pytestmark = ISOLATED

QUICK = [(0.0, "queued"), (1.5, "running"), (3.0, "succeeded")]
SLOW = [(0.0, "queued"), (2.5, "running"), (9.0, "failed")]


def told(transitions: list) -> list[tuple[int, str | None, str]]:
    return [(t.item.sequence_index, t.previous, t.current) for t in transitions]


async def collect(wait) -> list[tuple[int, str | None, str]]:
    return told([transition async for transition in wait])


def live_timers() -> int:
    return sum(not timer.cancelled() for timer in asyncio.get_running_loop()._scheduled)


class TestAwaiting:
    async def test_gives_the_last_batch(self):
        wait = perform([QUICK, SLOW]).wait()
        batch = await wait
        assert [item.status_code for item in batch.items] == ["succeeded", "failed"]
        assert (wait.done(), wait.result(), wait.exception()) == (True, batch, None)

    async def test_again_gives_the_same_batch(self):
        wait = perform([QUICK]).wait()
        assert await wait is await wait

    async def test_again_as_another_task_gives_the_same_batch(self):
        wait = perform([QUICK]).wait()
        assert await asyncio.create_task(wait) is await asyncio.create_task(wait)

    async def test_is_what_tasks_and_gather_take(self):
        assert isinstance(perform([QUICK]).wait(), Coroutine)
        waits = [perform([QUICK]).wait() for _ in range(3)]
        batches = await asyncio.gather(*waits)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(perform([SLOW]).wait())
        assert [b.status_code for b in [*batches, task.result()]] == ["succeeded"] * 4

    async def test_names_the_task_that_awaits_it(self):
        task = asyncio.create_task(perform([QUICK]).wait())
        assert f"wait_for_batch {BATCH_ID}" in repr(task)
        await task

    async def test_a_failed_one_again_raises_its_error_with_its_own_traceback(self):
        wait = play(AuthenticationError(401)).wait()
        lengths = []
        for _ in range(4):
            with pytest.raises(AuthenticationError) as caught:
                await wait
            lengths.append(len(traceback.extract_tb(caught.value.__traceback__)))
        assert len(set(lengths[1:])) == 1

    async def test_takes_hours_without_taking_them(self):
        wait = perform([[(0.0, "queued"), (3 * 3600.0, "succeeded")]]).wait(timeout=None, interval=60)
        assert (await wait).is_terminal
        assert wait.stats.polls == 181
        assert wait.stats.elapsed == pytest.approx(3 * 3600)

    async def test_starts_nothing_before(self):
        transport = perform([QUICK])
        wait = transport.wait()
        await asyncio.sleep(10)
        assert (transport.polled_at, wait.stats.elapsed, wait.batch) == ([], 0.0, None)

    async def test_can_be_given_up_by_one_task_and_finished_by_another(self):
        wait = perform([QUICK]).wait(interval=1)
        task = asyncio.create_task(wait)
        await asyncio.sleep(1.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not wait.done()
        assert (await asyncio.create_task(wait)).status_code == "succeeded"

    async def test_has_no_result_before_the_end(self):
        wait = perform([QUICK]).wait()
        for ask in (wait.result, wait.exception):
            with pytest.raises(asyncio.InvalidStateError):
                ask()

    async def test_ends_where_completed_at_is_set_whatever_the_status(self):
        batch = await play(body("archived", ["succeeded"], completed_at="2026-01-01T00:00:00Z")).wait()
        assert batch.status_code == "archived"


class TestIterating:
    async def test_yields_every_change_in_sequence_order(self):
        assert await collect(perform([QUICK, SLOW]).wait(interval=1)) == [
            (0, None, "queued"),
            (1, None, "queued"),
            (0, "queued", "running"),
            (0, "running", "succeeded"),
            (1, "queued", "running"),
            (1, "running", "failed"),
        ]

    async def test_survives_a_break(self):
        wait = perform([QUICK, SLOW]).wait(interval=1)
        first = []
        async for transition in wait:
            first.append(transition)
            if len(first) == 3:
                break
        assert told(first) + await collect(wait) == await collect(perform([QUICK, SLOW]).wait(interval=1))

    async def test_survives_a_cancelled_anext_and_keeps_the_schedule(self):
        """A consumer's own short timeout neither ends the stream nor starts the pause anew."""
        transport = perform([QUICK])
        wait = transport.wait(interval=1)
        got = []
        while not wait.done() or len(got) < 3:
            try:
                got.append(await asyncio.wait_for(anext(wait), 0.3))
            except TimeoutError:
                continue
        assert told(got) == [(0, None, "queued"), (0, "queued", "running"), (0, "running", "succeeded")]
        assert transport.polled_at == pytest.approx([0, 1, 2, 3], abs=0.01)

    async def test_goes_on_after_awaiting_with_what_was_not_told(self):
        """An await in between skips what came and went, and loses nobody's last status."""
        wait = perform([QUICK, SLOW]).wait(interval=1)
        first = await anext(wait)
        await wait
        rest = await collect(wait)
        assert told([first]) + rest == [(0, None, "queued"), (0, "queued", "succeeded"), (1, None, "failed")]

    async def test_says_nothing_of_a_change_that_was_undone_while_nobody_asked(self):
        wait = play(body(items=["running"]), body(items=["queued"]), body("failed", ["running"])).wait(interval=1)
        assert told([await anext(wait)]) == [(0, None, "running")]
        await wait
        assert await collect(wait) == []

    async def test_polls_no_faster_than_the_consumer(self):
        transport = perform([QUICK, SLOW])
        async for _ in transport.wait(interval=1):
            await asyncio.sleep(5)
        assert transport.polled_at == pytest.approx([0, 10])

    async def test_tells_everything_before_it_raises(self):
        wait = play(body(items=["queued", "running"]), AuthenticationError(401)).wait()
        got = []

        async def gather() -> None:
            async for transition in wait:
                got.append(transition)  # noqa: PERF401  # what came before the error is the point

        with pytest.raises(AuthenticationError) as caught:
            await gather()
        assert told(got) == [(0, None, "queued"), (1, None, "running")]
        assert (caught.value.batch_id, caught.value.batch, caught.value.stats) == (BATCH_ID, wait.batch, wait.stats)
        with pytest.raises(AuthenticationError):
            await wait

    async def test_transitions_encode_to_json_as_they_are(self):
        transition = await anext(perform([QUICK]).wait())
        decoded = msgspec.json.decode(msgspec.json.encode(transition))
        assert decoded["item"]["status_code"] == "queued"
        assert (transition.current, transition.is_terminal, decoded["previous"]) == ("queued", False, None)
        assert transition.observed_at.utcoffset().total_seconds() == 0

    async def test_refuses_a_second_task(self):
        wait = perform([QUICK]).wait(interval=1)
        task = asyncio.create_task(wait)
        await asyncio.sleep(0.5)
        with pytest.raises(RuntimeError, match="two tasks"):
            await anext(wait)
        with pytest.raises(RuntimeError, match="two tasks"):
            await wait
        assert (await task).is_terminal

    async def test_of_two_tasks_made_of_one_wait_the_second_is_refused_and_harms_nobody(self):
        wait = perform([QUICK]).wait(interval=1)
        first, second = asyncio.create_task(wait), asyncio.create_task(wait)
        await asyncio.sleep(0.5)
        with pytest.raises(RuntimeError, match="two tasks"):
            await second
        assert (await first).is_terminal

    async def test_ends_early_when_until_says_so(self):
        wait = perform([QUICK]).wait(interval=1, until=lambda batch: batch.items[0].status_code == "running")
        assert await collect(wait) == [(0, None, "queued"), (0, "queued", "running")]
        assert (await wait).status_code == "running"

    async def test_lets_the_error_of_until_out(self):
        def until(_: Batch) -> bool:
            raise LookupError("mine")

        wait = perform([QUICK]).wait(until=until)
        assert told([await anext(wait)]) == [(0, None, "queued")]
        with pytest.raises(LookupError, match="mine"):
            await anext(wait)
        assert isinstance(wait.exception(), LookupError)


class TestClosing:
    async def test_ends_iteration_and_refuses_to_be_awaited(self):
        async with perform([QUICK]).wait() as wait:
            assert told([await anext(wait)]) == [(0, None, "queued")]
        assert await collect(wait) == []
        with pytest.raises(WaitClosedError):
            await wait

    async def test_lets_a_pending_anext_end_first(self):
        wait = perform([QUICK]).wait(interval=100)
        await anext(wait)
        pending = asyncio.create_task(wait.__anext__())
        await asyncio.sleep(1)
        await wait.aclose()
        with pytest.raises(StopAsyncIteration):
            pending.result() if pending.done() else await pending

    async def test_ends_a_pending_await_with_its_error(self):
        wait = perform([QUICK]).wait(interval=100)
        pending = asyncio.create_task(wait)
        await asyncio.sleep(1)
        await wait.aclose()
        with pytest.raises(WaitClosedError) as caught:
            await pending
        assert pending.cancelling() == 0
        assert caught.value.batch_id == BATCH_ID

    async def test_in_the_middle_of_a_poll_its_error_counts_that_request_as_cut(self):
        wait = play(body("running"), roundtrip=100).wait()
        pending = asyncio.create_task(wait)
        await asyncio.sleep(1)
        await wait.aclose()
        with pytest.raises(WaitClosedError) as caught:
            await pending
        assert caught.value.stats == wait.stats
        assert (wait.stats.requests, wait.stats.cut) == (1, 1)

    async def test_ends_the_await_of_a_task_that_had_outlived_a_cancel_with_its_error_too(self):
        """The task's own earlier cancellation was dealt with, and does not come up again."""
        wait = perform([QUICK]).wait(interval=100)

        async def outlive_a_cancel() -> None:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(1000)
            await wait

        pending = asyncio.create_task(outlive_a_cancel())
        await asyncio.sleep(1)
        pending.cancel()
        await asyncio.sleep(1)
        await wait.aclose()
        with pytest.raises(WaitClosedError):
            await pending
        assert pending.cancelling() == 1

    async def test_returns_once_a_task_that_takes_long_to_leave_has_left(self):
        transport = play(body())

        async def get(*_: Any, **__: Any) -> Reply:
            try:
                return await asyncio.get_running_loop().create_future()
            finally:
                await asyncio.sleep(5)

        transport.get = get
        wait = transport.wait()
        pending = asyncio.create_task(wait)
        await asyncio.sleep(1)
        await wait.aclose()
        assert pending.done()
        assert isinstance(pending.exception(), WaitClosedError)

    async def test_leaves_no_timer_of_the_pause_in_the_loop(self):
        """It would stay there for as long as the pause was to last."""
        before = live_timers()
        wait = perform([QUICK]).wait(interval=3600)
        pending = asyncio.create_task(wait)
        await asyncio.sleep(1)
        assert live_timers() == before + 1
        await wait.aclose()
        assert live_timers() == before
        with pytest.raises(WaitClosedError):
            await pending

    async def test_keeps_the_result_of_a_wait_that_had_ended(self):
        async with perform([QUICK]).wait() as wait:
            batch = await wait
        assert wait.result() is batch
        assert await collect(wait) == []

    async def test_of_the_task_leaves_the_wait_whole(self):
        wait = perform([QUICK]).wait()
        wait.send(None)
        wait.close()
        assert (await wait).is_terminal


class TestOutsideOfTasks:
    def test_a_wait_cannot_be_stepped_without_a_task(self):
        """Driven by hand, there is nobody whom a close could interrupt."""
        loop = asyncio.new_event_loop()

        def step() -> None:
            with pytest.raises(RuntimeError, match="asyncio task"):
                perform([QUICK]).wait().send(None)
            loop.stop()

        loop.call_soon(step)
        loop.run_forever()
        loop.close()

    async def test_what_was_thrown_into_a_fresh_coroutine_comes_out(self):
        wait = perform([QUICK]).wait()
        with pytest.raises(LookupError):
            wait.throw(LookupError())
        wait.close()
        assert (await wait).is_terminal
        assert repr(wait) == f"<BatchWait {BATCH_ID} done, last seen succeeded, 1 of 1 item ended>"


class TestTimeout:
    async def test_is_raised_on_time_with_the_last_snapshot(self):
        wait = play(body(items=["running"])).wait(timeout=10, interval=4)
        with pytest.raises(WaitTimeoutError, match=r"still running.*since=") as caught:
            await wait
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.batch.items[0].status_code == "running"
        assert wait.stats.elapsed == pytest.approx(10, abs=0.01)

    async def test_draws_the_last_poll_forward_by_a_roundtrip(self):
        transport = play(body(), roundtrip=0.5)
        with pytest.raises(WaitTimeoutError):
            await transport.wait(timeout=9, interval=4)
        assert transport.polled_at == pytest.approx([0, 4.5, 8.24], abs=0.01)

    async def test_zero_is_exactly_one_poll(self):
        running = play(body(items=["running"]), roundtrip=2)
        with pytest.raises(WaitTimeoutError) as caught:
            await running.wait(timeout=0)
        assert len(running.polled_at) == 1
        assert caught.value.batch.items[0].status_code == "running"
        assert (await play(body("failed")).wait(timeout=0)).status_code == "failed"

    async def test_zero_names_the_failure_of_its_only_poll(self):
        with pytest.raises(WaitTimeoutError) as caught:
            await play(ServerError(503)).wait(timeout=0)
        assert isinstance(caught.value.__cause__, ServerError)

    async def test_none_waits_without_end(self):
        wait = perform([[(0.0, "queued"), (1e6, "succeeded")]]).wait(timeout=None, interval=1e5)
        assert (await wait).is_terminal

    async def test_spent_by_a_slow_consumer_is_raised_without_another_poll(self):
        transport = play(body(items=["running"]))
        wait = transport.wait(timeout=5, interval=1)
        await anext(wait)
        await asyncio.sleep(60)
        with pytest.raises(WaitTimeoutError):
            await anext(wait)
        assert transport.polled_at == [0]

    async def test_of_the_caller_stays_the_callers(self):
        wait = play(body()).wait(timeout=100)
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(1):
                await wait
        assert not isinstance(caught.value, WaitTimeoutError)
        assert not wait.done()


class TestFailures:
    async def test_transient_ones_are_retried_and_counted(self):
        transport = play(ServerError(502), TransportError("gone"), body("succeeded", ["succeeded"]))
        wait = transport.wait()
        await wait
        assert (wait.stats.polls, wait.stats.requests, wait.stats.retries) == (1, 3, 2)

    async def test_final_ones_are_raised_at_once(self):
        transport = play(body(), AuthenticationError(401))
        with pytest.raises(AuthenticationError):
            await transport.wait()
        assert len(transport.polled_at) == 2

    async def test_suspect_answers_are_raised_at_the_third_in_a_row(self):
        transport = play(b"[]", b"[]", body(), b"[]", b"[]", b"[]")
        with pytest.raises(MalformedResponseError):
            await transport.wait()
        assert len(transport.polled_at) == 6

    async def test_suspect_answers_with_a_transient_failure_between_them_are_not_in_a_row(self):
        transport = play(b"[]", b"[]", ServerError(503), b"[]", b"[]", body("succeeded"))
        assert (await transport.wait()).is_terminal
        assert len(transport.polled_at) == 6

    async def test_an_outage_is_survived_for_max_outage(self):
        transport = play(body(), ServerError(503))
        with pytest.raises(OutageError, match="503") as caught:
            await transport.wait(interval=5, max_outage=60)
        assert isinstance(caught.value.__cause__, ServerError)
        assert caught.value.batch.status_code == "running"
        assert caught.value.stats.elapsed == pytest.approx(65, abs=0.05)

    async def test_each_is_logged_with_the_batch_and_the_poll_that_really_comes_next(self, caplog):
        caplog.set_level(logging.INFO, "runflow_async")
        transport = play(ServerError(503, retry_after=3), ServerError(503), ServerError(503, retry_after=13))
        with pytest.raises(OutageError):
            await transport.wait(max_outage=8)
        told = [re.search(r"^batch (.*): attempt (\d) failed .*; (.*)$", text).groups() for text in caplog.messages]
        assert [(batch_id, int(attempt)) for batch_id, attempt, _ in told] == [(str(BATCH_ID), n) for n in (1, 2, 3)]
        delays = [float(re.fullmatch(r"next one in (.*) s", upcoming)[1]) for *_, upcoming in told[:-1]]
        polled_after = [late - early for early, late in zip(transport.polled_at, transport.polled_at[1:], strict=False)]
        assert delays == pytest.approx(polled_after, abs=0.01)
        assert told[-1][2] == "no further one would be in time"

    async def test_a_poll_drawn_forward_is_logged_for_when_it_comes(self, caplog):
        caplog.set_level(logging.INFO, "runflow_async")
        transport = play(ServerError(503))
        with pytest.raises(OutageError):
            await transport.wait(max_outage=2, retry=RetryPolicy(wait_initial=1000, wait_max=1000))
        delays = [float(found[1]) for text in caplog.messages if (found := re.search(r"next one in (.*) s", text))]
        assert delays
        assert max(delays) < 2

    async def test_are_an_outage_until_a_good_answer_or_the_end(self):
        transport = play(body(), ServerError(503, retry_after=10), body(), ServerError(503, retry_after=10))
        wait = transport.wait(interval=5, max_outage=60)
        task = asyncio.ensure_future(wait)
        seen = []
        for _ in range(90):
            await asyncio.sleep(1)
            seen.append(wait.outage and (round(wait.outage.since), round(wait.outage.until), str(wait.outage.error)))
        with pytest.raises(OutageError):
            await task
        assert seen[2] is None
        assert seen[7][:2] == (5, 65)
        assert seen[7][2].startswith("HTTP 503")
        assert seen[18] is None
        assert seen[60][0] == round(transport.polled_at[3])
        assert wait.outage is None

    async def test_a_good_answer_starts_the_outage_anew(self):
        def answer(now: float, _: int) -> bytes:
            if now < 50 or 85 < now < 130:
                raise ServerError(503)
            return body("succeeded" if now > 130 else "running")

        transport = play(body())
        transport.answer = answer
        assert (await transport.wait(interval=1, max_outage=60)).is_terminal

    async def test_a_long_interval_is_no_outage(self):
        transport = play(body(), ServerError(503), body("succeeded"))
        assert (await transport.wait(interval=1000, max_outage=60)).is_terminal

    async def test_a_cancelled_pause_does_not_shorten_the_backoff(self):
        transport = play(RateLimitError(429, retry_after=10), body("succeeded"))
        wait = transport.wait()
        for _ in range(20):
            try:
                async with asyncio.timeout(0.4):
                    await wait
            except TimeoutError:
                continue
        await wait
        assert 10 <= transport.polled_at[1] <= 11.01

    async def test_retry_after_is_never_undercut(self):
        transport = play(RateLimitError(429, retry_after=30), body("succeeded"))
        await transport.wait()
        assert 30 <= transport.polled_at[1] <= 33

    async def test_retry_after_is_cut_to_the_sessions_maximum(self):
        transport = play(RateLimitError(429, retry_after=500), body("succeeded"))
        await transport.wait(max_retry_after=120.0)
        assert 120 <= transport.polled_at[1] <= 132

    async def test_retry_after_beyond_the_deadline_is_raised_at_once(self):
        transport = play(RateLimitError(429, retry_after=100_000))
        with pytest.raises(RateLimitError) as caught:
            await transport.wait(timeout=60)
        assert (caught.value.retry_after, transport.polled_at) == (100_000, [0])

    async def test_retry_after_of_a_good_answer_is_kept_too(self):
        transport = play(Reply(body(), 20.0, 0.0, None), body("succeeded"))
        await transport.wait(interval=1)
        assert transport.polled_at == pytest.approx([0, 20], abs=0.01)

    async def test_a_consumer_that_was_away_for_longer_than_max_outage_gets_another_attempt(self):
        transport = play(body(items=["running"]), TransportError("gone"), body("succeeded", ["succeeded"]))
        wait = transport.wait(interval=1, retry=RetryPolicy(wait_initial=1000, wait_max=1000))
        await anext(wait)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.05):
                await anext(wait)
        await asyncio.sleep(400)
        assert (await anext(wait)).current == "succeeded"

    async def test_a_nudge_before_that_attempt_is_answered_by_it(self):
        """The attempt was sent after the nudge, so no further poll is owed at once."""
        running = body(items=["running"])
        transport = play(running, TransportError("gone"), running, body("succeeded", ["succeeded"]))
        wait = transport.wait(interval=7, retry=RetryPolicy(wait_initial=1000, wait_max=1000))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(7.05):
                await wait
        await asyncio.sleep(400)
        wait.nudge()
        await wait
        assert transport.polled_at[3] - transport.polled_at[2] == pytest.approx(7, abs=0.01)

    async def test_a_good_answers_retry_after_holds_a_nudge_back_too(self):
        transport = play(Reply(body(), 3.0, 0.0, None), body("succeeded"))
        wait = transport.wait(interval=5)
        asyncio.get_running_loop().call_later(1, wait.nudge)
        await wait
        assert transport.polled_at == pytest.approx([0, 3], abs=0.01)

    async def test_not_found_is_borne_for_three_seconds_after_the_first_poll(self):
        transport = play(NotFoundError(404))
        with pytest.raises(NotFoundError):
            await transport.wait()
        assert transport.polled_at[-1] == pytest.approx(3, abs=0.01)
        assert (await play(NotFoundError(404), body("succeeded")).wait()).is_terminal

    async def test_not_found_after_good_answers_is_suspect(self):
        transport = play(body(items=["running"]), NotFoundError(404))
        with pytest.raises(NotFoundError) as caught:
            await transport.wait()
        assert len(transport.polled_at) == 4
        assert caught.value.batch.items[0].status_code == "running"

    async def test_what_a_poll_raised_comes_out_as_it_was(self):
        """The wait judges a 404 by what it knows of the batch; the error's own verdict is that of the status."""
        transport = play(body(items=["running"]), NotFoundError(404))
        with pytest.raises(NotFoundError) as caught:
            await transport.wait()
        assert caught.value.verdict is Verdict.FINAL

    async def test_another_batchs_answer_is_never_shown(self):
        foreign = body("succeeded", ["failed"], id="99999999-2222-4333-8444-555555555555")
        wait = play(foreign, foreign, body("succeeded", ["succeeded"])).wait()
        assert await collect(wait) == [(0, None, "succeeded")]


class TestSettling:
    """Row 102."""

    async def test_gives_the_items_of_a_terminal_batch_a_few_short_polls(self):
        """The batch ends at 1 s, its item a second later."""
        wait = perform([[(0.0, "running"), (2.0, "succeeded")]], ended=1.0).wait(interval=1)
        assert await collect(wait) == [(0, None, "running"), (0, "running", "succeeded")]

    async def test_ends_with_the_items_as_they_are(self):
        transport = perform([[(0.0, "running")]], ended=0.0)
        wait = transport.wait()
        assert (await wait).items[0].status_code == "running"
        assert len(transport.polled_at) == 4
        assert transport.polled_at[-1] <= 5

    async def test_does_not_outlast_the_deadline_nor_turn_the_end_into_a_timeout(self):
        assert (await perform([[(0.0, "running")]], ended=0.0).wait(timeout=0)).is_terminal
        transport = perform([[(0.0, "running")]], ended=0.0)
        assert (await transport.wait(timeout=1)).is_terminal
        assert transport.polled_at[-1] <= 1

    async def test_ends_at_once_when_no_further_poll_could_be_in_time(self):
        """The answer comes at 1 s, the next poll would be due at 1.25 s."""
        wait = play(body("succeeded", ["running"]), roundtrip=1.0).wait(timeout=1.2)
        assert (await wait).is_terminal
        assert wait.stats.elapsed == pytest.approx(1.0, abs=0.01)

    async def test_is_not_undone_by_failures_or_stale_answers(self):
        ended = body("succeeded", ["running", "succeeded"])
        stale = body("running", ["queued", "running"])
        wait = play(ended, stale, ServerError(500), AuthenticationError(401)).wait()
        assert [item.status_code for item in (await wait).items] == ["running", "succeeded"]
        assert wait.batch.status_code == "succeeded"

    async def test_goes_on_after_a_failed_poll(self):
        ended = body("succeeded", ["running"])
        wait = play(ended, ServerError(500), body("succeeded", ["failed"])).wait()
        assert await collect(wait) == [(0, None, "running"), (0, "running", "failed")]


class TestPace:
    async def test_takes_any_tenacity_strategy(self):
        seen = []

        class Doubling(tenacity.wait.wait_base):
            def __call__(self, retry_state: tenacity.RetryCallState) -> float:
                batch = retry_state.outcome.result()
                seen.append((retry_state.attempt_number, retry_state.seconds_since_start, batch.status_code))
                return 1.0 * 2 ** (retry_state.attempt_number - 1)

        transport = perform([[(0.0, "running"), (5.0, "succeeded")]])
        await transport.wait(interval=Doubling())
        assert transport.polled_at == pytest.approx([0, 1, 3, 7], abs=0.01)
        assert seen == [(1, 0.0, "running"), (2, 1.0, "running"), (3, 3.0, "running")]

    async def test_takes_a_combination_of_ours_and_theirs(self):
        transport = perform([[(0.0, "running"), (5.0, "succeeded")]])
        await transport.wait(interval=wait_adaptive() + tenacity.wait_fixed(2))
        assert transport.polled_at[1] == pytest.approx(3.05, abs=0.11)

    async def test_refuses_a_strategy_that_answers_nonsense(self):
        with pytest.raises(ValueError, match="interval strategy"):
            await play(body()).wait(interval=lambda _: float("nan"))

    async def test_is_broken_by_a_nudge(self):
        transport = perform([[(0.0, "running"), (5.0, "succeeded")]])
        wait = transport.wait(interval=1000)
        asyncio.get_running_loop().call_later(6, wait.nudge)
        await wait
        assert transport.polled_at == pytest.approx([0, 6], abs=0.01)
        assert wait.nudge() is False

    async def test_repeats_a_poll_that_was_nudged_while_under_way(self):
        """The answer under way may be older than what the nudge is about."""
        transport = play(body(), body("succeeded"), roundtrip=2.0)
        wait = transport.wait(interval=1000)
        asyncio.get_running_loop().call_later(1, wait.nudge)
        await wait
        assert transport.polled_at == pytest.approx([0, 2], abs=0.01)

    async def test_of_an_unchanged_answer_decode_it_once(self, monkeypatch):
        decoded: Counter[bytes] = Counter()

        def spy(ledger, answer):
            decoded[answer] += 1
            return read(ledger, answer)

        read = Ledger.read
        monkeypatch.setattr(Ledger, "read", spy)
        running, ended = body(items=["running"]), body("succeeded", ["succeeded"])
        wait = play(running, running, running, ended).wait()
        assert await collect(wait) == [(0, None, "running"), (0, "running", "succeeded")]
        assert wait.stats.polls == 4
        assert decoded == {running: 1, ended: 1}


class TestOddAnswers:
    async def test_an_unknown_status_is_reported_once_and_not_terminal(self, caplog):
        wait = play(body("warming", ["odd"]), body("warming", ["odd"], cost="1"), body("succeeded", ["odd"])).wait()
        assert await collect(wait) == [(0, None, "odd")]
        assert sum("unknown status" in record.message for record in caplog.records) == 1

    async def test_items_that_vanish_keep_their_last_status(self, caplog):
        wait = play(
            body(items=["running", "running"]),
            body(items=[line(1, "running")]),
            body("succeeded", [line(1, "succeeded")]),
        ).wait()
        assert await collect(wait) == [(0, None, "running"), (1, None, "running"), (1, "running", "succeeded")]
        assert [item.status_code for item in wait.batch.items] == ["running", "succeeded"]
        assert any(item_id(0) in record.getMessage() for record in caplog.records)

    async def test_items_not_told_keep_the_ones_known(self):
        wait = play(body(items=["running"]), body(items=None), body("succeeded", None)).wait()
        assert await collect(wait) == [(0, None, "running")]
        assert wait.batch.items[0].status_code == "running"

    async def test_items_that_return_are_no_news(self):
        wait = play(body(items=["running"]), body(items=[]), body("succeeded", ["succeeded"])).wait()
        assert await collect(wait) == [(0, None, "running"), (0, "running", "succeeded")]

    async def test_items_that_return_are_not_reported_as_missing_at_the_end(self, caplog):
        await play(body(items=["running"]), body(items=[]), body("succeeded", ["succeeded"])).wait()
        assert [record.getMessage() for record in caplog.records if "missing" in record.getMessage()] == []

    async def test_terminal_items_stay_terminal(self, caplog):
        caplog.set_level(logging.DEBUG, logger="runflow_async")
        wait = play(
            body(items=["failed", "succeeded"]),
            body(items=["succeeded", "running"]),
            body("succeeded", ["canceled", "succeeded"]),
        ).wait()
        assert await collect(wait) == [(0, None, "failed"), (1, None, "succeeded")]
        levels = {record.levelname for record in caplog.records if "item" in record.message}
        assert {"WARNING", "DEBUG"} <= levels

    async def test_an_item_that_is_said_to_have_ended_twice_is_reported_once(self, caplog):
        said = [body(items=["succeeded", status]) for status in ("queued", "running", "succeeded")]
        await play(body(items=["failed", "queued"]), *said, body("succeeded", ["succeeded", "succeeded"])).wait()
        (line,) = [record.getMessage() for record in caplog.records if "now reported" in record.message]
        assert str(BATCH_ID) in line

    async def test_counts_that_contradict_the_items_are_reported_once(self, caplog):
        answers = [body(items=["running"], items_total=n) for n in (7, 8)]
        await play(*answers, body("succeeded", ["succeeded"], items_total=9)).wait()
        assert sum("items_total" in record.message for record in caplog.records) == 1

    @pytest.mark.parametrize(("succeeded", "reports"), [(0, 0), (1, 0), (2, 1)])
    async def test_more_items_counted_as_ended_than_there_are_is_reported(self, caplog, succeeded, reports):
        await play(body("succeeded", ["succeeded"], items_total=1, items_succeeded=succeeded)).wait()
        assert sum("items_total" in record.message for record in caplog.records) == reports

    async def test_a_deeply_nested_answer_can_be_looked_at_deep_in_the_stack(self):
        """Before Python 3.12 the decoder's recursion counts against the caller's stack."""
        deep = json.loads('{"a": ' * 700 + "1" + "}" * 700)
        wait = play(body(items=["running"], metadata=deep), body("succeeded", ["succeeded"], metadata=deep)).wait()
        await anext(wait)

        def look(depth: int) -> tuple[str, Batch]:
            return look(depth - 1) if depth else (repr(wait), wait.batch)

        shown, batch = look(sys.getrecursionlimit() - 200)
        assert "running" in shown
        assert [item.status_code for item in batch.items] == ["running"]
        assert batch.metadata in (None, deep)
        assert (await wait).status_code == "succeeded"


class TestExpectingACallback:
    def wait(self, transport, **keywords):
        return transport.wait(expect_callback=True, **keywords)

    async def test_polls_rarely_until_it_is_nudged_and_then_as_usual(self):
        transport = perform([[(0.0, "running"), (400.5, "succeeded")]])
        wait = self.wait(transport)
        asyncio.get_running_loop().call_later(399, wait.nudge)
        await wait
        assert transport.polled_at[:3] == pytest.approx([0, 171, 342], abs=19)
        assert transport.polled_at[3] == pytest.approx(399, abs=0.01)
        assert transport.polled_at[-1] < 411

    async def test_that_comes_ends_it_within_a_round_trip(self):
        transport = perform([[(0.0, "running"), (200.0, "succeeded")]])
        wait = self.wait(transport)
        asyncio.get_running_loop().call_later(200.1, wait.nudge)
        await wait
        assert wait.stats.elapsed == pytest.approx(200.1, abs=0.01)
        assert wait.stats.polls <= 3

    async def test_that_never_comes_delays_it_by_three_minutes_at_most(self):
        transport = perform([[(0.0, "running"), (500.0, "succeeded")]])
        wait = self.wait(transport)
        await wait
        assert wait.stats.elapsed <= 680


async def test_a_wait_that_is_closed_before_its_first_answer_misses_no_item(caplog):
    since = msgspec.json.decode(body("running", ["running"]), type=Batch)
    await play(body()).wait(since=since).aclose()
    assert caplog.records == []
