"""Checks of the key, the organisation, the base URL, the observers and the secrets of callbacks."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit, urlunsplit
from uuid import UUID

from runflow_async._arguments.values import describe
from runflow_async._text import Secret, printable
from runflow_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runflow_async.observers import Observer

__all__ = [
    "DEFAULT_BASE_URL",
    "check_observers",
    "parse_api_key",
    "parse_base_url",
    "parse_organization_id",
    "parse_secrets",
]

DEFAULT_BASE_URL = "https://api.runflow.io"

_visible_ascii = re.compile(r"[\x21-\x7e]+")
_surrogate = re.compile("[\ud800-\udfff]")


def parse_api_key(value: str | None) -> Secret:
    """Return the key in a form that is masked when shown. The error's message does not contain it either."""
    if value is None:
        raise ConfigurationError("no API key: pass api_key or set the environment variable RUNFLOW_API_KEY")
    if isinstance(value, str) and not value.strip():
        raise ConfigurationError("the API key is empty: set the environment variable RUNFLOW_API_KEY, or pass api_key")
    if not isinstance(value, str) or not _visible_ascii.fullmatch(value):
        raise ConfigurationError(
            "the API key (api_key or RUNFLOW_API_KEY) must be visible ASCII without spaces or line breaks"
        )
    return Secret(value)


def parse_organization_id(value: UUID | str | None) -> str | None:
    """Return the organisation's id as it is sent in the header."""
    if isinstance(value, UUID):
        return str(value)
    if value is None:
        return None
    if not isinstance(value, str) or not _visible_ascii.fullmatch(value):
        raise ConfigurationError("organization_id must be a UUID or visible ASCII without spaces or line breaks")
    return value


def parse_base_url(value: str) -> str:
    """Return the base URL without its trailing slash.

    Plain http is only accepted for loopback hosts, because it sends the key in the clear.
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
        _ = parts.port  # raises if it is not the number of a port
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


def parse_secrets(secrets: str | Sequence[str]) -> tuple[Secret, ...]:
    """Return the callback secrets in a form that is masked when shown."""
    texts = tuple(secrets) if not isinstance(secrets, str) and isinstance(secrets, Iterable) else (secrets,)
    if not texts or not all(isinstance(text, str) and text and not _surrogate.search(text) for text in texts):
        raise ConfigurationError("the callback secret must be a non-empty string, or several of them")
    return tuple(Secret(text) for text in texts)


def check_observers(observers: Iterable[Observer]) -> tuple[Observer, ...]:
    """Return the observers given as `observers=`.

    Raises:
        ConfigurationError: if they are not several plain callables.
    """
    try:
        listed = tuple(observers)
    except TypeError:
        raise ConfigurationError(f"observers must be a list of callables, not {describe(observers)}") from None
    for one in listed:
        if not callable(one) or isinstance(one, type) or inspect.iscoroutinefunction(one):
            raise ConfigurationError(f"an observer must be a plain callable that takes an event, not {describe(one)}")
    return listed
