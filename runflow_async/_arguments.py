"""All argument checks: what is accepted, what it is converted to, and an error that says what to pass instead.

Does not know what the arguments are for. Errors are raised at the call, before anything is sent.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from ipaddress import ip_address
from numbers import Integral, Real
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit, urlunsplit
from uuid import UUID

from runflow_async._answers.transitions import UUID_TEXT
from runflow_async._text import Secret, printable
from runflow_async.errors import ConfigurationError
from runflow_async.models import Batch

__all__ = [
    "DEFAULT_BASE_URL",
    "check_checkpoint",
    "check_count",
    "check_function",
    "check_number",
    "check_seconds",
    "check_type",
    "parse_api_key",
    "parse_base_url",
    "parse_batch_id",
    "parse_batch_ids",
    "parse_organization_id",
    "parse_since",
    "parse_since_of_many",
]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])

DEFAULT_BASE_URL = "https://api.runflow.io"

_visible_ascii = re.compile(r"[\x21-\x7e]+")


def check_seconds(name: str, value: float | timedelta, *, zero: bool = False) -> float:
    """Return a duration in seconds.

    Raises:
        ConfigurationError: if it is neither a finite number above zero (or zero, if allowed) nor such a `timedelta`.
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    return check_number(name, value, zero=zero, unit="number of seconds", otherwise=" or a timedelta")


def check_number(name: str, value: float, *, zero: bool = False, unit: str = "number", otherwise: str = "") -> float:
    """Return a real number of any kind (numpy's, `Decimal`, `Fraction`) as a float.

    Raises:
        ConfigurationError: if it is not finite, or not above zero (or zero, if allowed).
    """
    if isinstance(value, bool) or not isinstance(value, (Real, Decimal)):
        raise ConfigurationError(f"{name} must be a {unit}{otherwise}, not {_kind(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    except ValueError:  # from a signalling Decimal
        number = math.nan
    except TypeError:  # of numpy's timedelta64, which passes for a whole number
        raise ConfigurationError(f"{name} must be a {unit}{otherwise}, not {_kind(value)}") from None
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        bound = "0 or more" if zero else "more than 0"
        raise ConfigurationError(f"{name} must be a finite {unit}, {bound}, not {number}")
    return number


def check_count(name: str, value: int) -> int:
    """Return a positive whole number.

    Raises:
        ConfigurationError: for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ConfigurationError(f"{name} must be a positive whole number, not {value!r}")
    return int(value)


def check_type(name: str, value: T, expected: type[T]) -> T:
    """Return the value if it is an instance of the expected class.

    Raises:
        ConfigurationError: if it is not.
    """
    if not isinstance(value, expected):
        raise ConfigurationError(f"{name} must be {_article(expected.__name__)}, not {_kind(value)}")
    return value


def check_function(name: str, value: F | None, purpose: str) -> F | None:
    """Return a plain function, or None.

    An `async def` or a generator function returns an object that is always true and never a number.

    Raises:
        ConfigurationError: if it is not callable, or is a class, a coroutine function or a generator function.
    """
    if value is None:
        return None
    if isinstance(value, type) or not callable(value):
        raise ConfigurationError(f"{name} must be {purpose}, not {_kind(value)}")
    if _is_deferred(value):
        raise ConfigurationError(f"{name} must be {purpose}, and a plain `def`: this one returns before its body runs")
    return value


def _is_deferred(function: Callable[..., object]) -> bool:
    kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
    bodies = (inspect.unwrap(function), getattr(function, "__call__", None))  # noqa: B004  # an object's own method
    return any(is_kind(body) for is_kind in kinds for body in bodies)


def check_checkpoint(value: T) -> T:
    """Return a checkpoint, or None.

    Raises:
        ConfigurationError: if it lacks an `async def load` or a plain `def record`.
        CheckpointError: if it reports that it is not open.
    """
    if value is None:
        return value
    load, record = getattr(value, "load", None), getattr(value, "record", None)
    if isinstance(value, type) or not (callable(load) and callable(record)):
        raise ConfigurationError(
            "checkpoint must be an object with `async def load` and `def record`, such as the one from "
            f"`async with SQLiteCheckpoints(path) as checkpoint`, not {_kind(value)}"
        )
    if inspect.isroutine(load) and not inspect.iscoroutinefunction(inspect.unwrap(load)):
        raise ConfigurationError("checkpoint.load must be an `async def`, because it is awaited")
    check_function("checkpoint.record", record, "a function of an ItemTransition")
    check_open = getattr(value, "check_open", None)
    if check_open is not None:
        check_open()
    return value


def parse_batch_id(value: UUID | str) -> UUID:
    """Return the batch id as a UUID, so that it cannot alter the path of a request.

    White space around the text is ignored, because ids are often read from files.

    Raises:
        ConfigurationError: if `value` is neither a UUID nor the text of one.
    """
    if isinstance(value, UUID):
        return value
    if isinstance(value, str) and UUID_TEXT.fullmatch(text := value.strip()):
        return UUID(text)
    if isinstance(value, Batch):
        raise ConfigurationError("batch_id must be a UUID or its text, not a Batch: pass its `id`")
    shown = f"'{printable(value, 60)}'" if isinstance(value, str) else _kind(value)
    raise ConfigurationError(f"batch_id must be a UUID or its text, not {shown}")


def parse_batch_ids(values: Iterable[UUID | str]) -> list[UUID]:
    """Return several batch ids as UUIDs, in their order.

    Raises:
        ConfigurationError: if `values` is not an iterable of ids; a single id, a string and a `Batch` are not.
    """
    if isinstance(values, (str, bytes, bytearray, UUID, Batch)):
        raise ConfigurationError(f"batch_ids must be several ids, such as a list, not {_kind(values)}: pass [batch_id]")
    _check_iterable("batch_ids", values, "ids")
    return [parse_batch_id(value) for value in values]


def parse_since(value: Batch | None, batch_id: UUID) -> Batch | None:
    """Return an earlier snapshot of a batch, or None.

    Raises:
        ConfigurationError: if it is not a `Batch`, or belongs to another batch.
    """
    if value is not None and check_type("since", value, Batch).id not in (None, batch_id):
        raise ConfigurationError(f"since must be a snapshot of batch {batch_id}, not of {value.id}")
    return value


def parse_since_of_many(values: Iterable[Batch]) -> dict[UUID, Batch]:
    """Return earlier snapshots, by batch id.

    Raises:
        ConfigurationError: if `values` is not an iterable of `Batch`, or one of them has no id.
    """
    if isinstance(values, Batch):
        raise ConfigurationError("since must be several snapshots, such as a list, not a Batch: pass [batch]")
    if isinstance(values, Mapping):
        raise ConfigurationError("since must be snapshots, not a mapping: pass its `values()`")
    _check_iterable("since", values, "snapshots")
    earlier: dict[UUID, Batch] = {}
    for batch in values:
        batch_id = check_type("each of since", batch, Batch).id
        if batch_id is None:
            raise ConfigurationError("since must hold snapshots with their ids, such as `delivered` of each wait")
        earlier[batch_id] = batch
    return earlier


def parse_api_key(value: str) -> Secret:
    """Return the key in a form that is masked when shown. The error's message does not contain it either.

    Raises:
        ConfigurationError: if it is empty or contains anything but visible ASCII.
    """
    if not isinstance(value, str) or not _visible_ascii.fullmatch(value):
        raise ConfigurationError(
            "the API key (api_key or RUNFLOW_API_KEY) must be visible ASCII without spaces or line breaks"
        )
    return Secret(value)


def parse_organization_id(value: UUID | str | None) -> str | None:
    """Return the organisation's id as it is sent in the header.

    Raises:
        ConfigurationError: if it contains anything but visible ASCII.
    """
    if value is None or isinstance(value, UUID):
        return None if value is None else str(value)
    if not isinstance(value, str) or not _visible_ascii.fullmatch(value):
        raise ConfigurationError("organization_id must be a UUID or visible ASCII without spaces or line breaks")
    return value


def parse_base_url(value: str) -> str:
    """Return the base URL without its trailing slash.

    Raises:
        ConfigurationError: if it is not an http(s) URL, has a user, a query or a fragment, or is plain http to a host
            other than loopback, which would send the key in the clear.
    """
    parts = _split_url(value)
    if "@" in value:
        raise ConfigurationError("base_url must not contain a user or password: pass the key as api_key")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"base_url must be an http(s) URL with a host, not {printable(value)!r}")
    if parts.query or parts.fragment or "?" in value or "#" in value:
        raise ConfigurationError("base_url must not have a query or a fragment")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ConfigurationError(
            f"base_url must be https for {parts.hostname}: plain http would send the API key in the clear"
        )
    return urlunsplit(parts).rstrip("/")


def _split_url(value: str) -> SplitResult:
    if not isinstance(value, str) or not _visible_ascii.fullmatch(value):
        raise ConfigurationError("base_url must be a URL of visible ASCII characters")
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018  # the property raises where the port is no port
    except ValueError as error:
        raise ConfigurationError(f"base_url is not a URL: {error}") from None
    return parts


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _check_iterable(name: str, values: object, what: str) -> None:
    if isinstance(values, AsyncIterable):
        raise ConfigurationError(f"{name} must be an iterable of {what}, not an async one: pass [x async for x in it]")
    if not isinstance(values, Iterable):
        raise ConfigurationError(f"{name} must be an iterable of {what}, such as a list, not {_kind(values)}")


def _kind(value: object) -> str:
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return _article(type(value).__name__)


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeioAEIO" else f"a {noun}"
