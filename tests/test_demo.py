"""What a newcomer runs first."""

from __future__ import annotations

import re

import pytest

from runflow_async.demo import run_demo


@pytest.mark.parametrize("duration", [0.6])
async def test_the_demo_prints_every_transition_and_a_summary(capsys, duration):
    await run_demo(duration)
    lines = capsys.readouterr().out.splitlines()
    assert sum("-> succeeded" in line for line in lines) == 24 + 18 + 24
    assert sum("-> failed" in line for line in lines) == 6
    portraits, products, clips = lines[-3:]
    assert re.match(r"portraits +succeeded +24 succeeded;", portraits)
    assert re.match(r"products +partial_succeeded +6 failed, 18 succeeded;", products)
    assert re.match(r"clips +succeeded +24 succeeded;", clips)
