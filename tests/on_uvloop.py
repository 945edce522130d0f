"""A pytest plugin that runs tests on uvloop, but for those whose time jumps: looptime has a loop of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    marker = item.get_closest_marker("looptime")
    jumps = marker is not None and marker.args != (False,)
    return {"asyncio": asyncio.new_event_loop} if jumps else {"uvloop": uvloop.new_event_loop}
