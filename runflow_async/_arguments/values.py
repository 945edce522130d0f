"""Checks of numbers, durations, functions and other plain values."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from numbers import Integral, Real
from typing import TypeVar

from runflow_async.errors import ConfigurationError

__all__ = [
    "check_count",
    "check_function",
    "check_number",
    "check_only_one",
    "check_rate",
    "check_seconds",
    "check_type",
    "describe",
    "parse_folder",
    "parse_path",
]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])


def check_seconds(
    name: str, value: float | timedelta, *, zero: bool = False, least: tuple[str, float] | None = None
) -> float:
    """Return a duration in seconds, above zero (or zero, if allowed), and not less than another argument, `least`."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    seconds = check_number(name, value, zero=zero, unit="number of seconds", otherwise=" or a timedelta")
    if least is not None and seconds < least[1]:
        raise ConfigurationError(f"{name} ({seconds:g} s) must not be less than {least[0]} ({least[1]:g} s)")
    return seconds


def check_number(
    name: str,
    value: float,
    *,
    zero: bool = False,
    below: float = math.inf,
    unit: str = "number",
    otherwise: str = "",
) -> float:
    """Return a finite number of any kind (numpy's, `Decimal`) as a float, above zero (or zero) and below a bound."""
    number = _as_float(value)
    if number is None:
        raise ConfigurationError(f"{name} must be a {unit}{otherwise}, not {describe(value)}")
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        bound = "0 or more" if zero else "more than 0"
        raise ConfigurationError(f"{name} must be a finite {unit}, {bound}, not {number}")
    if number >= below:
        raise ConfigurationError(f"{name} must be less than {below:g}, not {value}")
    return number


def _as_float(value: object) -> float | None:
    if type(value) is float:
        return value  # after every poll; the abstract classes below take longer
    if isinstance(value, bool) or not isinstance(value, (Real, Decimal)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except ValueError:  # from a signalling Decimal
        return math.nan
    except TypeError:  # from numpy's timedelta64, which is registered as a whole number
        return None


def check_rate(value: float | None) -> float | None:
    """Return the number of requests per second of `max_rate`; None stands for no limit."""
    return None if value is None else check_number("max_rate", value, unit="number of requests per second")


def check_count(name: str, value: int, *, most: float = math.inf) -> int:
    """Return a positive whole number, at most `most`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ConfigurationError(f"{name} must be a positive whole number, not {value!r}")
    if value > most:
        raise ConfigurationError(f"{name} must be at most {most}, not {value}")
    return int(value)


def check_type(name: str, value: T, expected: type[T]) -> T:
    """Return the value if it is an instance of the expected class."""
    if not isinstance(value, expected):
        raise ConfigurationError(f"{name} must be {_article(expected.__name__)}, not {describe(value)}")
    return value


def check_function(name: str, value: F | None, purpose: str) -> F | None:
    """Return a plain function, or None.

    What an `async def` or a generator function returns is always true and never a number.
    """
    if value is None:
        return None
    if isinstance(value, type) or not callable(value):
        raise ConfigurationError(f"{name} must be {purpose}, not {describe(value)}")
    if _is_deferred(value):
        raise ConfigurationError(f"{name} must be {purpose}, and a plain `def`: this one returns before its body runs")
    return value


def _is_deferred(function: Callable[..., object]) -> bool:
    kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
    return any(is_kind(body) for is_kind in kinds for body in (inspect.unwrap(function), type(function).__call__))


def check_only_one(purpose: str, **is_given: bool) -> None:
    """Check that at most one of several arguments with the same purpose is given."""
    if sum(is_given.values()) > 1:
        raise ConfigurationError(f"{' and '.join(is_given)} both set {purpose}: pass only one of them")


def parse_path(path: str | os.PathLike[str]) -> str:
    """Return the path of a file as text."""
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else path
    if not isinstance(text, str):
        raise ConfigurationError(f"path must be the path of a file, not {describe(path)}")
    if not text or text.startswith((":memory:", "file:")):
        raise ConfigurationError(f"path must be the path of a file, not {text!r}: only a file survives the process")
    return _check_characters("path", text)


def parse_folder(path: str | os.PathLike[str]) -> str:
    """Return the path of a folder as text."""
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else path
    if not isinstance(text, str) or not text:
        raise ConfigurationError(
            f"folder must be the path of a folder, not {repr(text) if text == '' else describe(path)}"
        )
    return _check_characters("folder", text)


def _check_characters(name: str, text: str) -> str:
    try:
        is_possible = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        is_possible = False
    if not is_possible:
        raise ConfigurationError(f"{name} {text!r} contains a character that no file name can have")
    return text


def describe(value: object) -> str:
    """Name the kind of a value, for an error."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return _article(type(value).__name__)


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeioAEIO" else f"a {noun}"
