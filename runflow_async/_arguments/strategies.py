"""Checks of `interval=`: seconds, or a tenacity wait strategy that needs nothing but time."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, cast

import tenacity
from tenacity.wait import wait_base, wait_chain, wait_combine, wait_fixed

from runflow_async._arguments.values import check_function, check_seconds
from runflow_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from tenacity import RetryCallState

__all__ = ["likeness", "parse_interval"]

NEEDS_ERRORS: tuple[type, ...] = (tenacity.wait_exception,) if hasattr(tenacity, "wait_exception") else ()
"""Strategies that look at an exception; tenacity 9.0 has none."""


def parse_interval(
    value: float | timedelta | Callable[[RetryCallState], float] | None,
) -> Callable[[RetryCallState], float] | None:
    """Return the strategy that `interval=` stands for: a number is a fixed interval, None remains None.

    Polls follow valid responses, so a strategy that looks at an exception is refused, also inside another one.
    """
    if value is None:
        return None
    if not callable(value):
        return wait_fixed(check_seconds("interval", value))
    for part in _parts(value):
        check_function("interval", part, "seconds or an instance of a wait strategy")
        if isinstance(part, NEEDS_ERRORS):
            raise ConfigurationError(
                f"interval is called after valid responses, where {type(part).__name__} finds no exception: "
                "pass a strategy of time, such as wait_fixed(2); `retry` spaces failed requests"
            )
    return value


def _parts(strategy: Callable[[RetryCallState], float]) -> Iterator[Callable[[RetryCallState], float]]:
    yield strategy
    if isinstance(strategy, wait_combine):
        parts: tuple[Callable[[RetryCallState], float], ...] = strategy.wait_funcs
    else:
        parts = strategy.strategies if isinstance(strategy, wait_chain) else ()
    for part in parts:
        yield from _parts(part)


def likeness(value: object) -> Hashable:
    """Return a key that strategies have in common if they do the same: those of one type with equal settings.

    Of other functions, only the same one does.
    """
    if isinstance(value, wait_base):
        return (type(value), *((name, likeness(setting)) for name, setting in sorted(vars(value).items())))
    if isinstance(value, tuple):  # the parts of a combined strategy
        return tuple(map(likeness, cast("tuple[object, ...]", value)))
    return value if isinstance(value, Hashable) else id(value)
