"""Mistakes of the caller: they are raised at the call, before anything is sent, in words that say what to pass."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial, wraps
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock
from uuid import UUID, uuid4

import numpy as np
import pytest
import tenacity

from runflow_async import Batch, ConfigurationError, RetryPolicy, RunflowSession, wait_adaptive
from runflow_async.distributed import SessionConfig
from tests.virtual import body, play

BATCH_ID = UUID("11111111-1111-4111-8111-111111111111")


@pytest.fixture
def session() -> RunflowSession:
    """Nothing can be sent: there is no event loop, and nothing listens at the port."""
    return RunflowSession("k", base_url="http://127.0.0.1:1")


async def ids():
    yield BATCH_ID


@pytest.mark.parametrize(
    ("batch_ids", "hint"),
    [
        (str(BATCH_ID), r"not a str: pass \[batch_id\]"),
        ("", r"not a str: pass \[batch_id\]"),
        (b"", r"not a bytes: pass \[batch_id\]"),
        (BATCH_ID, r"not an? UUID: pass \[batch_id\]"),
        (Batch(id=BATCH_ID), r"not a Batch: pass \[batch_id\]"),
        (None, "not None"),
        (7, "not an int"),
        (ids(), "not an async one"),
        (SimpleNamespace(batch_id=BATCH_ID), "not a SimpleNamespace: pass its `batch_id`"),
        (SimpleNamespace(waits={}), "not a SimpleNamespace: pass its `waits`"),
        ([None], "batch_id must be a UUID, such as 8c1f2a4e-6f0b-4c57-9d53-1b0c7f3f2a10, not None"),
        ([[BATCH_ID]], "batch_id must be a UUID, such as 8c1f2a4e-6f0b-4c57-9d53-1b0c7f3f2a10, not a list"),
        ([BATCH_ID.bytes], "batch_id must be a UUID, such as 8c1f2a4e-6f0b-4c57-9d53-1b0c7f3f2a10, not a bytes"),
        ([Batch(id=BATCH_ID)], "not a Batch: pass its `id`"),
    ],
)
def test_what_is_not_several_ids_is_refused_with_what_to_pass(session, batch_ids, hint):
    with pytest.raises(ConfigurationError, match=hint):
        session.wait_for_batches(batch_ids)


@pytest.mark.parametrize(
    "batch_ids",
    [
        {BATCH_ID},
        {BATCH_ID: "a value"},
        {str(BATCH_ID): 1}.keys(),
        (str(BATCH_ID) for _ in range(3)),
        np.array([str(BATCH_ID)]),
        [f"  {BATCH_ID}\r\n", f"\t{BATCH_ID.hex.upper()} "],
    ],
)
async def test_any_iterable_of_ids_is_accepted_with_white_space_around_them(session, batch_ids):
    async with session.wait_for_batches(batch_ids) as waits:
        assert list(waits.waits) == [BATCH_ID]


def test_a_batch_where_an_id_is_meant_is_refused_with_what_to_pass(session):
    with pytest.raises(ConfigurationError, match="pass its `id`"):
        session.wait_for_batch(Batch(id=BATCH_ID))
    with pytest.raises(ConfigurationError, match="pass its `id`"):
        session.nudge(Batch(id=BATCH_ID))


@pytest.mark.parametrize(
    ("since", "hint"),
    [
        (None, "since must be an iterable of snapshots, such as a list, not None"),
        (Batch(id=BATCH_ID), r"pass \[batch\]"),
        ({BATCH_ID: Batch(id=BATCH_ID)}, r"pass its `values\(\)`"),
        ([None], "each of since must be a Batch, not None"),
        ([b"{}"], "each of since must be a Batch, not a bytes"),
        ([Batch()], "snapshots with their ids"),
        (ids(), "not an async one"),
    ],
)
def test_what_is_not_several_snapshots_is_refused_with_what_to_pass(session, since, hint):
    with pytest.raises(ConfigurationError, match=hint):
        session.wait_for_batches([BATCH_ID], since=since)


async def async_function(_: Any) -> bool:
    return False


class AsyncCallable:
    async def __call__(self, _: Any) -> float:
        return 1.0


@wraps(async_function)
def decorated(batch: Any) -> Any:
    return async_function(batch)


def generator_function(_: Any) -> Any:
    yield True


DEFERRED = [async_function, partial(async_function), AsyncCallable(), AsyncMock(), decorated, ids, generator_function]


@pytest.mark.parametrize("name", ["until", "interval"])
@pytest.mark.parametrize("function", DEFERRED)
def test_an_async_function_where_a_plain_one_is_called_is_refused(session, name, function):
    with pytest.raises(ConfigurationError, match=f"{name} must be .* plain `def`"):
        session.wait_for_batch(BATCH_ID, **{name: function})
    with pytest.raises(ConfigurationError, match=f"{name} must be .* plain `def`"):
        session.wait_for_batches([], **{name: function})


@pytest.mark.parametrize(
    ("name", "value"), [("until", bool), ("until", "succeeded"), ("until", True), ("interval", tenacity.wait_fixed)]
)
def test_a_class_or_a_value_where_a_function_is_called_is_refused(session, name, value):
    with pytest.raises(ConfigurationError, match=f"{name} must be"):
        session.wait_for_batch(BATCH_ID, **{name: value})


@pytest.mark.looptime
async def test_an_awaitable_that_a_plain_function_returns_ends_no_wait_as_if_it_were_over():
    """A lambda around an `async def` cannot be seen at the call."""
    wait = play(body()).wait(until=lambda _: asyncio.sleep(0, True))
    with pytest.raises(ConfigurationError, match="until must return True or False"):
        await wait


class Kept:
    async def load(self, _: UUID) -> None: ...

    def record(self, _: Any) -> None: ...


class PlainLoad(Kept):
    def load(self, _: UUID) -> None: ...  # type: ignore[override]


class AsyncRecord(Kept):
    async def record(self, _: Any) -> None: ...  # type: ignore[override]


@pytest.mark.parametrize(
    ("checkpoint", "hint"),
    [
        ("taken.db", "not a str"),
        (False, "not a bool"),
        ({}, "not a dict"),
        (Kept, "not the class Kept"),
        (PlainLoad(), "load must be an `async def`"),
        (AsyncRecord(), "record must be .* plain `def`"),
    ],
)
def test_what_is_no_checkpoint_is_refused_at_the_call(session, checkpoint, hint):
    for make in (session.wait_for_batch, lambda _, **keywords: session.wait_for_batches([], **keywords)):
        with pytest.raises(ConfigurationError, match=hint):
            make(BATCH_ID, checkpoint=checkpoint)


async def test_a_checkpoint_of_ones_own_is_accepted(session):
    for checkpoint in (Kept(), Mock(load=AsyncMock(), record=Mock(spec=[]), spec=["load", "record"])):
        async with session.wait_for_batch(BATCH_ID, checkpoint=checkpoint):
            pass


SECOND = [1, 1.0, timedelta(seconds=1), Decimal(1), Fraction(1), np.float64(1), np.float32(1), np.int64(1)]


@pytest.mark.parametrize("second", SECOND, ids=lambda value: type(value).__name__)
async def test_a_length_of_time_is_any_real_number_of_seconds_or_a_timedelta(second):
    session = RunflowSession("k", request_timeout=second, max_retry_after=second, retry=RetryPolicy(wait_max=second))
    lengths = {"timeout": second, "interval": second, "max_outage": second}
    async with session.wait_for_batch(BATCH_ID, **lengths), session.wait_for_batches([BATCH_ID], **lengths):
        pass
    RetryPolicy(wait_initial=second)
    wait_adaptive(min=second, max=second)
    SessionConfig(request_timeout=second, max_retry_after=second)


@pytest.mark.parametrize(
    "nonsense",
    [
        timedelta(seconds=-1),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        np.float32("inf"),
        -np.int64(1),
    ],
)
def test_a_length_of_time_that_makes_no_sense_is_refused_whatever_its_type(session, nonsense):
    with pytest.raises(ConfigurationError, match="timeout must be a finite number of seconds, 0 or more"):
        session.wait_for_batch(BATCH_ID, timeout=nonsense)


@pytest.mark.parametrize("nonsense", ["5", None, 1j, True, np.True_, [1], np.timedelta64(1, "s")])
def test_what_is_no_length_of_time_is_refused_with_what_to_pass(session, nonsense):
    with pytest.raises(ConfigurationError, match="max_outage must be a number of seconds or a timedelta"):
        session.wait_for_batch(BATCH_ID, max_outage=nonsense)


def test_a_rate_is_no_length_of_time():
    with pytest.raises(ConfigurationError, match="max_rate must be a number of requests per second, not a timedelta"):
        RunflowSession("k", max_rate=timedelta(seconds=1))
    RunflowSession("k", max_rate=Decimal("2.5"))


def test_a_flag_is_true_or_false(session):
    with pytest.raises(ConfigurationError, match="expect_callback must be a bool"):
        session.wait_for_batch(uuid4(), expect_callback="no")


def test_whole_numbers_may_be_of_any_integral_type():
    RunflowSession("k", max_connections=np.int64(5))
    with pytest.raises(ConfigurationError, match=r"max_connections must be a positive whole number, not 5\.0"):
        RunflowSession("k", max_connections=5.0)


@pytest.mark.parametrize("setting", [{"request_timeout": 0}, {"base_url": "ftp://x"}, {"retry": 3}])
def test_what_a_session_on_a_worker_would_refuse_is_refused_where_it_is_configured(setting):
    with pytest.raises(ConfigurationError, match=next(iter(setting))):
        SessionConfig(**setting)
