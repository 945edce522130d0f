"""A pytest plugin that runs the tests on uvloop, but for those whose time jumps: looptime has a loop of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvloop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    import pytest


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.hook.pytest_deselected(items=[item for item in items if jumps(item)])
    items[:] = [item for item in items if not jumps(item)]


def jumps(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("looptime")
    return marker is not None and marker.args != (False,)
