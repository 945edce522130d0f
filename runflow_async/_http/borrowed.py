"""The caller's own aiohttp session: whether it is usable, and which errors its own code raises."""

from __future__ import annotations

from traceback import walk_tb

import aiohttp

from runflow_async.errors import ConfigurationError

__all__ = ["callers_own", "check_http", "room_in"]

CALLING_HOOKS = frozenset(
    {
        "aiohttp.client",
        "aiohttp.client_middlewares",
        "aiohttp.tracing",
        "runflow_async._http.ordinary",
    }
)
"""Modules that call what a session was given: middlewares, trace callbacks, overridden methods."""


def check_http(http: object) -> aiohttp.ClientSession | None:
    """Return the session given as `http=`, or None.

    Raises:
        ConfigurationError: if it is not an aiohttp session, or cannot send our key.
    """
    if http is None:
        return None
    if not isinstance(http, aiohttp.ClientSession):
        shown = f"the class {http.__name__}" if isinstance(http, type) else f"a {type(http).__name__}"
        raise ConfigurationError(
            f"http must be an aiohttp.ClientSession, made with whatever it needs, not {shown}; "
            "leave it out for a session of our own, and set retries with retry=RetryPolicy(...)"
        )
    if http.auth is not None:
        raise ConfigurationError(
            "http must be an aiohttp.ClientSession without auth=: the API key is the Authorization of every request "
            "(credentials for a proxy go into proxy_auth=)"
        )
    return http


def room_in(http: aiohttp.ClientSession | None) -> int:
    """The size of its pool; 0 if it has no limit.

    Requests that queue inside of a smaller pool would use up their `request_timeout`.
    """
    connector = http.connector if http is not None else None
    bounds = (connector.limit, connector.limit_per_host) if connector is not None else ()
    return min(filter(None, bounds), default=0)


def callers_own(error: Exception) -> Exception | None:
    """The exception, or its cause, if a middleware, trace callback or subclass of the caller raised it.

    Its type does not tell: a missing file raises an OSError, as a lost connection does.
    """
    # aiohttp wraps an OSError from a middleware.
    for candidate in (error, error.__cause__):
        if isinstance(candidate, Exception) and _is_raised_by_a_hook(candidate):
            return candidate
    return None


def _is_raised_by_a_hook(error: Exception) -> bool:
    caller, is_beyond = "", False
    for frame, _ in walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", ""))
        package = module.partition(".")[0]
        if package in ("aiohttp", "runflow_async"):
            caller, is_beyond = module, False
        elif package != "asyncio":  # its frames can be anywhere in between
            is_beyond = True
    return is_beyond and caller in CALLING_HOOKS
