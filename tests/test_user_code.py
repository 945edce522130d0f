"""What a function of the user raises comes out of every face of a wait, on a loop whose time jumps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from runflow_async import Batch, SessionClosedError, WaitClosedError
from runflow_async._arguments.batches import parse_batch_id
from runflow_async._waits.fleet import BatchesWait
from tests.virtual import BATCH_ID, ISOLATED, body, perform, play

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from runflow_async import ItemTransition
    from runflow_async._waits.run import Run

pytestmark = ISOLATED

SCRIPT = [[(0.0, "queued"), (1.5, "running"), (3.0, "succeeded")]]
OTHERS = "99999999-2222-4333-8444-555555555555"
ERRORS = {
    "its own": LookupError("mine"),
    "a closed wait": WaitClosedError(parse_batch_id(OTHERS)),
    "a closed session": SessionClosedError(),
    "StopAsyncIteration": StopAsyncIteration("mine"),
    "StopIteration": StopIteration("mine"),
    "CancelledError": asyncio.CancelledError("mine"),
}
SIGNALS = (StopAsyncIteration, StopIteration, asyncio.CancelledError)


class Failing:
    """A checkpoint that raises in one of its methods."""

    def __init__(self, method: str, error: BaseException) -> None:
        self.method = method
        self.error = error

    async def load(self, batch_id: UUID) -> Batch | None:
        if self.method == "load":
            raise self.error
        return None

    def record(self, transition: ItemTransition) -> None:
        if self.method == "record":
            raise self.error


def keywords_with(function: str, error: BaseException) -> dict[str, Any]:
    def fail(_: object) -> Any:
        raise error

    if function in {"until", "interval"}:
        return {"interval": 1, function: fail}
    return {"interval": 1, "checkpoint": Failing(function, error)}


def fleet_of(make: Callable[..., Run], transport: Any) -> BatchesWait:
    waits = BatchesWait(lambda _: make(), transport.lifetime.scope("the wait for batches"), 200)
    waits.add(BATCH_ID)
    return waits


async def iterate(stream: Any) -> None:
    async for _ in stream:
        pass


async def take_results(waits: BatchesWait) -> None:
    async for wait in waits.as_completed():
        wait.result()


async def raised_by(face: Awaitable[object]) -> BaseException:
    """What comes out; out of a fleet, the one failure of its one batch."""
    with pytest.raises(BaseException) as caught:
        await face
    error = caught.value
    return error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error


def assert_came_out(error: BaseException, original: BaseException) -> None:
    if isinstance(original, SIGNALS):
        assert type(error) is RuntimeError
        assert error.__cause__ is original
    else:
        assert error is original


@pytest.mark.parametrize("original", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("function", ["until", "interval", "load", "record"])
class TestEveryErrorOfEveryFunctionComesOut:
    """Row 158."""

    async def test_of_an_await(self, function, original):
        wait = perform(SCRIPT).wait(**keywords_with(function, original))
        assert_came_out(await raised_by(wait), original)

    async def test_of_an_iteration(self, function, original):
        wait = perform(SCRIPT).wait(**keywords_with(function, original))
        assert_came_out(await raised_by(iterate(wait)), original)

    async def test_of_a_task(self, function, original):
        wait = perform(SCRIPT).wait(**keywords_with(function, original))
        assert_came_out(await raised_by(asyncio.create_task(wait)), original)

    async def test_of_a_fleets_await(self, function, original):
        transport = perform(SCRIPT)
        waits = fleet_of(lambda: transport.run(**keywords_with(function, original)), transport)
        assert_came_out(await raised_by(waits), original)

    async def test_of_a_fleets_iteration(self, function, original):
        transport = perform(SCRIPT)
        waits = fleet_of(lambda: transport.run(**keywords_with(function, original)), transport)
        assert_came_out(await raised_by(iterate(waits)), original)

    async def test_of_a_fleet_as_completed(self, function, original):
        transport = perform(SCRIPT)
        waits = fleet_of(lambda: transport.run(**keywords_with(function, original)), transport)
        assert_came_out(await raised_by(take_results(waits)), original)


@pytest.mark.parametrize("function", ["until", "interval", "load"])
async def test_a_wait_ends_with_the_error_and_raises_it_again_after_what_it_has_to_tell(function):
    wait = perform(SCRIPT).wait(**keywords_with(function, StopAsyncIteration()))
    if function != "load":
        assert (await anext(wait)).current == "queued"
    for face in (anext(wait), iterate(wait), wait):
        with pytest.raises(RuntimeError, match="StopAsyncIteration"):
            await face


async def test_the_error_of_another_wait_keeps_saying_of_which():
    other = play(
        body(),
    ).wait()
    await other.aclose()
    wait = perform(SCRIPT).wait(until=lambda _: bool(other.result()))
    error = await raised_by(wait)
    assert error is other.exception()
    theirs = WaitClosedError(parse_batch_id(OTHERS))
    await raised_by(perform(SCRIPT).wait(**keywords_with("until", theirs)))
    assert str(theirs.batch_id) == OTHERS
    assert theirs.batch is None


async def test_a_cancellation_that_was_asked_for_stays_one_while_the_checkpoint_is_read():
    class Slow(Failing):
        async def load(self, batch_id: UUID) -> Batch | None:
            await asyncio.sleep(5)
            return None

    wait = perform(SCRIPT).wait(interval=1, checkpoint=Slow("", LookupError()))
    task = asyncio.create_task(wait)
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not wait.done()
    assert (await wait).is_terminal


class TestClosedByAFunctionOfItsOwn:
    async def test_while_the_checkpoint_is_read_it_polls_no_more(self):
        class Closing(Failing):
            async def load(self, batch_id: UUID) -> Batch | None:
                await wait.aclose()
                return None

        for face in ("await", "iterate"):
            transport = perform(SCRIPT)
            wait = transport.wait(interval=1, checkpoint=Closing("", LookupError()))
            if face == "iterate":
                await iterate(wait)
            with pytest.raises(WaitClosedError):
                await wait
            assert transport.polled_at == []

    async def test_by_until_in_another_task_an_iteration_ends_and_an_await_raises(self):
        closing: list[asyncio.Task[None]] = []

        def until(_: Batch) -> bool:
            closing.append(asyncio.create_task(wait.aclose()))
            return False

        wait = perform(SCRIPT).wait(interval=1, until=until)
        await iterate(wait)
        await asyncio.gather(*closing)
        wait = perform(SCRIPT).wait(interval=1, until=until)
        with pytest.raises(WaitClosedError):
            await wait
        await asyncio.gather(*closing)

    async def test_twice_at_once_a_pending_anext_ends(self):
        wait = perform(SCRIPT).wait(interval=100)
        await anext(wait)
        pending = asyncio.create_task(iterate(wait))
        await asyncio.sleep(1)
        await asyncio.gather(wait.aclose(), wait.aclose())
        assert await pending is None


async def test_a_cancellation_that_was_asked_for_before_a_function_began_is_one():
    """As Ctrl-C asks a task that is running."""

    class Slow(Failing):
        async def load(self, batch_id: UUID) -> Batch | None:
            await asyncio.sleep(1)
            return None

    async def wait() -> None:
        asked_for = asyncio.current_task()
        assert asked_for is not None
        asked_for.cancel()
        await perform(SCRIPT).wait(interval=1, checkpoint=Slow("none", LookupError()))

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(wait())
