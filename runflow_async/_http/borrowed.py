"""The caller's own aiohttp session: whether it can serve, and which errors are its code's rather than the network's."""

from __future__ import annotations

from traceback import walk_tb

import aiohttp

from runflow_async.errors import ConfigurationError

__all__ = ["callers_own", "check_http"]

CALLING_HOOKS = frozenset(
    {
        "aiohttp.client",
        "aiohttp.client_middlewares",
        "aiohttp.tracing",
        "runflow_async._http.transport",
    }
)
"""Modules that call what a session was given: middlewares, trace callbacks, overridden methods."""


def check_http(http: object) -> aiohttp.ClientSession | None:
    """The session given as `http=`, or None.

    Raises:
        ConfigurationError: if it is no aiohttp session, or one that cannot send our key.
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


def callers_own(error: Exception) -> Exception | None:
    """The exception that the caller's middleware, trace callback or subclass raised, if it is one.

    It may be of a kind that the network's errors are of, such as an OSError of a file that is missing.
    """
    # aiohttp wraps an OSError that comes out of a middleware.
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
        elif package != "asyncio":  # which is in between everywhere
            is_beyond = True
    return is_beyond and caller in CALLING_HOOKS
