"""Scopes: one task at a time, ended from outside with an error of ours, and nobody else's cancellation lost.

Lifetimes: one event loop, and a close that ends every scope.
"""

from __future__ import annotations

import asyncio
from contextlib import closing, suppress

import pytest

from runflow_async import SessionClosedError, WaitClosedError
from runflow_async._lifetime import TURNS, Lifetime
from tests.rig import eventually


class Stage:
    """A scope, and a task that stays in it until it is let go or ended."""

    def __init__(self) -> None:
        self.lifetime = Lifetime()
        self.entered = self.lifetime.entered
        self.scope = self.lifetime.scope("the thing under test")
        self.ended = WaitClosedError()
        self.left = False
        self.go = asyncio.Event()

    async def stay(self) -> str:
        try:
            with self.scope:
                await self.go.wait()
            return "stayed"
        finally:
            self.left = True

    async def start(self) -> asyncio.Task[str]:
        task = asyncio.create_task(self.stay())
        await self.is_entered()
        return task

    async def is_entered(self) -> None:
        await eventually(lambda: self.entered)


@pytest.fixture
async def stage() -> Stage:
    return Stage()


class TestEntering:
    async def test_is_known_to_the_owner_until_it_is_left(self, stage):
        with stage.scope as entered:
            assert stage.entered == {stage.scope} == {entered}
        assert stage.entered == set()

    async def test_is_possible_again_after_an_error(self, stage):
        with suppress(LookupError), stage.scope:
            raise LookupError
        assert stage.entered == set()
        with stage.scope:
            pass

    async def test_by_a_second_task_is_refused_and_the_first_does_not_notice(self, stage):
        task = await stage.start()
        for use in (stage.scope.__enter__, stage.scope.check_free):
            with pytest.raises(RuntimeError, match="the thing under test is used by two tasks"):
                use()
        stage.go.set()
        assert await task == "stayed"

    async def test_twice_by_one_task_is_refused_and_leaves_it_whole(self, stage):
        with stage.scope:
            with pytest.raises(RuntimeError, match="two tasks"):
                stage.scope.__enter__()
            assert stage.entered == {stage.scope}
        assert stage.entered == set()

    async def test_outside_of_a_task_is_refused(self, stage):
        refused = asyncio.get_running_loop().create_future()

        def enter() -> None:
            try:
                stage.scope.check_free()
            except RuntimeError as error:
                refused.set_result(str(error))

        asyncio.get_running_loop().call_soon(enter)
        assert await refused == "the thing under test must be awaited from an asyncio task"

    async def test_on_a_wrong_loop_is_refused_as_is_ending_from_there(self):
        with closing(asyncio.new_event_loop()) as other:
            scope = Lifetime(other, wrong_loop="another loop").scope("the thing under test")
            for use in (scope.__enter__, scope.check_free):
                with pytest.raises(RuntimeError, match="another loop"):
                    use()
            with pytest.raises(RuntimeError, match="another loop"):
                await scope.interrupt(WaitClosedError())


class TestEnding:
    async def test_makes_the_task_leave_with_the_error_and_no_cancellation(self, stage):
        task = await stage.start()
        assert stage.scope.end(stage.ended)
        with pytest.raises(WaitClosedError) as caught:
            await task
        assert caught.value is stage.ended
        assert (task.cancelling(), stage.entered) == (0, set())

    async def test_returns_from_an_interrupt_only_when_the_task_has_left(self, stage):
        task = await stage.start()
        await stage.scope.interrupt(stage.ended)
        assert stage.entered == set()
        assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], WaitClosedError)
        assert stage.left

    async def test_waits_for_a_body_that_takes_its_time_to_leave(self, stage):
        async def leave_slowly() -> None:
            with stage.scope:
                try:
                    await asyncio.Event().wait()
                finally:
                    await stage.go.wait()

        task = asyncio.create_task(leave_slowly())
        await stage.is_entered()
        interrupting = asyncio.create_task(stage.scope.interrupt(stage.ended))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not interrupting.done()
        stage.go.set()
        await interrupting
        with pytest.raises(WaitClosedError):
            await task

    async def test_of_an_empty_scope_does_nothing_now_or_later(self, stage):
        assert not stage.scope.end(stage.ended)
        await stage.scope.interrupt(stage.ended)
        with stage.scope:
            await asyncio.sleep(0)

    async def test_from_inside_does_nothing(self, stage):
        with stage.scope:
            assert not stage.scope.end(stage.ended)
            await stage.scope.interrupt(stage.ended)
            await asyncio.sleep(0)

    async def test_twice_leaves_with_the_first_error_and_returns_to_both(self, stage):
        task = await stage.start()
        await asyncio.gather(stage.scope.interrupt(stage.ended), stage.scope.interrupt(SessionClosedError()))
        with pytest.raises(WaitClosedError):
            await task
        assert task.cancelling() == 0

    async def test_leaves_the_scope_as_good_as_new(self, stage):
        task = await stage.start()
        await stage.scope.interrupt(stage.ended)
        with suppress(WaitClosedError):
            await task
        again = await stage.start()
        stage.go.set()
        assert await again == "stayed"

    async def test_goes_before_what_the_body_raises_on_its_way_out(self, stage):
        async def fail() -> None:
            with stage.scope:
                try:
                    await stage.go.wait()
                except asyncio.CancelledError:
                    raise LookupError from None

        task = asyncio.create_task(fail())
        await stage.is_entered()
        stage.scope.end(stage.ended)
        with pytest.raises(WaitClosedError):
            await task

    async def test_counts_although_the_body_swallows_its_cancellation(self, stage):
        async def swallow() -> None:
            with stage.scope, suppress(asyncio.CancelledError):
                await stage.go.wait()

        task = asyncio.create_task(swallow())
        await stage.is_entered()
        stage.scope.end(stage.ended)
        with pytest.raises(WaitClosedError):
            await task

    async def test_counts_although_the_body_was_about_to_go_on(self, stage):
        task = await stage.start()
        stage.go.set()
        stage.scope.end(stage.ended)
        with pytest.raises(WaitClosedError):
            await task

    async def test_goes_on_when_the_one_who_asked_for_it_is_cancelled(self, stage):
        task = await stage.start()
        interrupting = asyncio.create_task(stage.scope.interrupt(stage.ended))
        await asyncio.sleep(0)
        interrupting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await interrupting
        with pytest.raises(WaitClosedError):
            await task


class TestOthersCancellations:
    @pytest.mark.parametrize("ended_first", [True, False])
    async def test_go_before_ours(self, stage, ended_first):
        task = await stage.start()
        steps = [lambda: stage.scope.end(stage.ended), task.cancel]
        for step in steps if ended_first else reversed(steps):
            step()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (task.cancelling(), stage.entered) == (1, set())

    async def test_that_came_before_the_scope_are_not_taken_for_new_ones(self, stage):
        """The task has swallowed one, and never taken it back."""

        async def swallow_and_stay() -> None:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await stage.stay()

        task = asyncio.create_task(swallow_and_stay())
        await asyncio.sleep(0)
        task.cancel()
        await stage.is_entered()
        stage.scope.end(stage.ended)
        with pytest.raises(WaitClosedError):
            await task
        assert task.cancelling() == 1

    async def test_of_a_timeout_around_it_come_out_as_that_timeouts(self, stage):
        async def use() -> None:
            async with asyncio.timeout(60) as timeout:
                asyncio.get_running_loop().call_soon(stage.scope.end, stage.ended)
                timeout.reschedule(0)
                await stage.stay()

        task = asyncio.create_task(use())
        with pytest.raises(TimeoutError):
            await task
        assert task.cancelling() == 0

    async def test_of_a_timeout_within_it_make_way(self, stage):
        async def use() -> None:
            with stage.scope:
                async with asyncio.timeout(60) as timeout:
                    asyncio.get_running_loop().call_soon(stage.scope.end, stage.ended)
                    timeout.reschedule(0)
                    await stage.go.wait()

        task = asyncio.create_task(use())
        with pytest.raises(WaitClosedError):
            await task
        assert task.cancelling() == 0


async def release() -> None:
    """There is nothing to release."""


class TestLifetime:
    def test_belongs_to_the_first_loop_that_uses_it(self):
        lifetime = Lifetime()

        async def use() -> None:
            lifetime.check_loop()

        with asyncio.Runner() as first:
            first.run(use())
            with asyncio.Runner() as second, pytest.raises(RuntimeError, match="belongs to one event loop"):
                second.run(use())
            first.run(use())

    def test_tells_the_time_of_its_loop_and_zero_before_there_is_one(self):
        lifetime = Lifetime()

        async def use() -> float:
            assert lifetime.now() == 0.0
            lifetime.check_loop()
            return asyncio.get_running_loop().time()

        with asyncio.Runner() as runner:
            before = runner.run(use())
        assert lifetime.now() >= before > 0  # its loop is closed by now

    async def test_is_over_for_good_once_it_was_closed(self):
        lifetime = Lifetime()
        lifetime.check_open()
        await lifetime.close(release)
        assert lifetime.is_closed()
        with pytest.raises(SessionClosedError):
            lifetime.check_open()

    async def test_closes_only_after_everybody_has_left_and_everything_is_released(self, stage):
        steps: list[str] = []
        others = [Stage() for _ in range(2)]
        for other in others:
            other.scope = stage.lifetime.scope("one more")
            other.entered = stage.entered
        tasks = [await one.start() for one in (stage, *others)]
        await eventually(lambda: len(stage.entered) == 3)

        async def note() -> None:
            await asyncio.sleep(0)
            steps.append("released")

        await stage.lifetime.close(note)
        assert (steps, stage.entered) == (["released"], set())
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(error) for error in errors] == [SessionClosedError] * 3

    async def test_closed_from_inside_a_scope_ends_that_one_too(self, stage):
        with pytest.raises(SessionClosedError), stage.scope:
            await stage.lifetime.close(release)
        assert (asyncio.current_task().cancelling(), stage.entered) == (0, set())

    async def test_is_closed_and_ends_everybody_although_the_close_is_cancelled_at_once(self, stage):
        task = await stage.start()
        hanging = asyncio.create_task(stage.lifetime.close(asyncio.Event().wait))
        await asyncio.sleep(0)
        hanging.cancel()
        assert stage.lifetime.is_closed()
        with pytest.raises(SessionClosedError):
            await task
        with pytest.raises(asyncio.CancelledError):
            await hanging

    def test_after_its_loop_was_closed_closes_without_releasing(self):
        lifetime = Lifetime()

        async def use() -> None:
            lifetime.check_loop()

        asyncio.run(use())

        async def refuse() -> None:
            raise AssertionError

        asyncio.run(lifetime.close(refuse))
        assert lifetime.is_closed()

    async def test_says_how_to_use_it_from_a_thread_without_a_loop(self):
        with pytest.raises(RuntimeError, match=r"none runs in this thread: .* loop\.call_soon_threadsafe"):
            await asyncio.to_thread(Lifetime().check_loop)

    async def test_refuses_to_be_closed_on_another_loop(self):
        with closing(asyncio.new_event_loop()) as other:
            lifetime = Lifetime(other)
            with pytest.raises(RuntimeError, match="belongs to one event loop"):
                await lifetime.close(release)
        assert not lifetime.is_closed()


class TestTurns:
    async def test_are_few_in_each_iteration_of_the_event_loop_and_taken_in_order(self):
        lifetime, taken = Lifetime(), []

        async def take(number: int) -> None:
            await lifetime.take_turn()
            taken.append(number)

        tasks = [asyncio.create_task(take(number)) for number in range(2 * TURNS + 1)]
        await asyncio.sleep(0)
        assert taken == list(range(TURNS))
        await asyncio.gather(*tasks)
        assert taken == list(range(2 * TURNS + 1))

    async def test_are_taken_at_once_while_there_are_some(self):
        lifetime = Lifetime()
        for _ in range(TURNS):
            with pytest.raises(StopIteration):
                lifetime.take_turn().send(None)

    async def test_are_not_lost_with_a_task_that_is_cancelled_while_it_waits_for_one(self):
        lifetime = Lifetime()
        tasks = [asyncio.create_task(lifetime.take_turn()) for _ in range(3 * TURNS)]
        await asyncio.sleep(0)
        for task in tasks[TURNS:]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(60):
            for _ in range(2 * TURNS):
                await lifetime.take_turn()
