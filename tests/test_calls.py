"""What a poll costs, in calls.

Counted are the calls of functions of the package, each start and each resumption of a coroutine as one, and those that
they make of functions written in C, such as a decoder. Unlike a time, the least number of several polls is the same on
every machine, busy or not, on every Python and on every event loop.
"""

from __future__ import annotations

import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

import runflow_async
from runflow_async import RunflowSession
from tests.faults.tables import BATCH_ID
from tests.rig import ScriptedServer, http, json_batch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import FrameType

PACKAGE = str(Path(runflow_async.__file__).parent)
INLINED = {"<listcomp>", "<dictcomp>", "<setcomp>"}
"""Functions of their own only before Python 3.12."""
CURRENT_TASK = "current_task"
"""Written in C only since Python 3.12."""
POLLS = 14
WARM_UP = 6
ITEMS = 100


def answer(running: int) -> Any:
    return http(200, json_batch(BATCH_ID, ["running"] * running + ["queued"] * (ITEMS - running)))


ENDED = http(200, json_batch(BATCH_ID, ["succeeded"] * ITEMS, "succeeded"))
SAME = [answer(5), answer(5)]
ONE_CHANGED = [answer(5), answer(6)]
ALL_CHANGED = [answer(0), answer(ITEMS)]


def one_by_one(session: RunflowSession, **options: Any) -> AsyncIterator[Any]:
    return session.wait_for_batch(BATCH_ID, **options)


def many_one_by_one(session: RunflowSession, **options: Any) -> AsyncIterator[Any]:
    return session.wait_for_batches([BATCH_ID], **options)


def many_in_lists(session: RunflowSession, **options: Any) -> AsyncIterator[Any]:
    return session.wait_for_batches([BATCH_ID], **options).batched()


class Calls:
    """Counts calls while it is entered, poll by poll."""

    def __init__(self) -> None:
        self.by_name: Counter[str] = Counter()
        self._polls = [Counter[str]()]

    def __enter__(self) -> Self:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, called: Any) -> None:
        code = frame.f_code
        if code.co_filename.startswith(PACKAGE):
            if event == "call" and code.co_name not in INLINED:
                self.by_name[code.co_qualname] += 1
            elif event == "c_call" and called.__name__ != CURRENT_TASK:
                self.by_name[f"{called.__qualname__} in C"] += 1

    def next_poll(self, _: object) -> float:
        """As the interval strategy, which is called once after each response."""
        self._polls.append(self.by_name.copy())
        return 0.0

    @property
    def cheapest(self) -> Counter[str]:
        """Those from one response to the next, where they were fewest."""
        polls = self._polls[WARM_UP:]
        return min((after - before for before, after in pairwise(polls)), key=Counter[str].total)


@pytest.mark.parametrize(
    ("answers", "follow", "most"),
    [
        pytest.param(SAME, one_by_one, 143, id="nothing has changed"),
        pytest.param(ONE_CHANGED, one_by_one, 258, id="one item has changed"),
        pytest.param(ALL_CHANGED, many_one_by_one, 2117, id="all items have changed, delivered one by one"),
        pytest.param(ALL_CHANGED, many_in_lists, 540, id="all items have changed, delivered in a list"),
    ],
)
async def test_a_poll_makes_no_more_calls_than_it_did(
    answers: list[Any], follow: Callable[..., AsyncIterator[Any]], most: int
) -> None:
    """If more are worth it, put the number from the message in here; after a saving, that of a run with 0."""
    calls = Calls()
    script = lambda number: answers[number % 2] if number < POLLS else ENDED  # noqa: E731
    async with ScriptedServer(script) as server, RunflowSession("rf_key", base_url=server.url) as session:
        with calls:
            async for _ in follow(session, interval=calls.next_poll):
                pass
    made = calls.cheapest
    listed = "\n".join(f"{count:6} {name}" for name, count in sorted(made.items()))
    assert made.total() <= most, f"{made.total()} calls instead of {most}:\n{listed}"
