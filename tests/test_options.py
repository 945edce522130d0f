"""The keywords of a wait as one value: checked when it is made, whole when it travels."""

from __future__ import annotations

import math
import pickle
import re
from datetime import timedelta

import pytest
import tenacity
from msgspec.structs import asdict

from runflow_async import ConfigurationError, wait_adaptive
from runflow_async._waits.options import WaitOptions

PLAIN = {"timeout": 3600.0, "interval": None, "max_outage": 300.0, "until": None}


def test_durations_become_seconds_and_no_timeout_an_infinite_one():
    options = WaitOptions.check(**PLAIN | {"timeout": None, "max_outage": timedelta(minutes=2)})
    assert (options.timeout, options.max_outage) == (math.inf, 120.0)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"timeout": -1}, "timeout must be a finite number of seconds, 0 or more, not -1.0"),
        ({"max_outage": 0}, "max_outage must be a finite number of seconds, more than 0, not 0.0"),
        ({"interval": "2"}, "interval must be a number of seconds or a timedelta, not a str"),
        ({"until": 3}, "until must be a function of a Batch, not an int"),
        ({"expect_callback": 1}, "expect_callback must be a bool, not an int"),
        (
            {"expect_callback": True, "interval": 3},
            "expect_callback and interval both set how often to poll: pass only one of them",
        ),
    ],
)
def test_each_keyword_says_what_it_must_be(keywords, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        WaitOptions.check(**PLAIN | keywords)


def test_the_default_strategy_is_the_adaptive_one():
    options = WaitOptions.check(**PLAIN)
    assert isinstance(options.strategy, wait_adaptive)
    assert options.strategy_until_nudged is options.strategy


def test_a_strategy_that_is_false_as_a_bool_is_still_a_strategy():
    class Empty(tenacity.wait_fixed):
        def __len__(self) -> int:
            return 0

    mine = Empty(3)
    assert WaitOptions.check(**PLAIN | {"interval": mine}).strategy is mine


def test_while_a_callback_is_expected_polls_are_minutes_apart():
    options = WaitOptions.check(**PLAIN, expect_callback=True)
    assert isinstance(options.strategy, wait_adaptive)
    assert 162.0 <= options.strategy_until_nudged(tenacity.RetryCallState(None, None, (), {})) <= 180.0


def test_they_travel_whole_and_are_keywords_again_at_the_other_end():
    """As a shard gets them: pickled, then passed to `wait_for_batches` again."""
    options = WaitOptions.check(**PLAIN | {"interval": 2, "until": callable})
    arrived = pickle.loads(pickle.dumps(options))
    assert (arrived.timeout, arrived.max_outage, arrived.until) == (3600.0, 300.0, callable)
    again = WaitOptions.check(**asdict(arrived))
    assert again == arrived
    assert again.strategy(None) == 2.0
