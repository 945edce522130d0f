"""How shards create their sessions, on whichever worker they run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct
from msgspec.structs import asdict

from runflow_async import RetryPolicy
from runflow_async.errors import ConfigurationError
from runflow_async.session import RunflowSession

if TYPE_CHECKING:
    from runflow_async._http.throttle import Throttle

__all__ = ["SessionConfig", "ShardSession", "open_session"]


class SessionConfig(Struct, frozen=True, kw_only=True):
    """The settings with which each shard opens its `RunflowSession`.

    They travel through the scheduler, so they never contain the key. Workers read the key from `RUNFLOW_API_KEY` in
    their environment, or call a function that they import. Settings that are None also come from their environment.

    Attributes:
        api_key: a function without arguments that returns the key, defined in a module that workers can import.
        base_url: as for `RunflowSession`.
        organization_id: as for `RunflowSession`.
        request_timeout: seconds, as for `RunflowSession`.
        max_connections: requests in flight at the same time, for each shard.
        max_response_bytes: as for `RunflowSession`.
        max_retry_after: seconds, as for `RunflowSession`.
        retry: as for `RunflowSession`.

    Raises:
        ConfigurationError: if `api_key` is the key itself, or a function that would carry it along; or if a session
            would reject another setting.
    """

    api_key: Callable[[], str] | None = None
    base_url: str | None = None
    organization_id: UUID | str | None = None
    request_timeout: float | timedelta = 30.0
    max_connections: int = 100
    max_response_bytes: int = 33_554_432
    max_retry_after: float | timedelta = 120.0
    retry: RetryPolicy = RetryPolicy()

    def __post_init__(self) -> None:
        if self.api_key is not None and not _is_importable(self.api_key):
            raise ConfigurationError(
                "api_key must be a function in a module that workers can import, so that the key itself does not "
                "travel through the scheduler; or leave it out, and set RUNFLOW_API_KEY in the workers' environment"
            )
        _open(self, "checked-here-not-sent")


class ShardSession(RunflowSession):
    """A session whose rate the consumer of its shard sets."""

    @property
    def throttle(self) -> Throttle:
        """The rate that all of its requests share."""
        return self._throttle


def open_session(config: SessionConfig) -> ShardSession:
    """Open a session in this process.

    Raises:
        ConfigurationError: if there is no key, or a setting is invalid.
    """
    return _open(config, config.api_key() if config.api_key is not None else None)


def _open(config: SessionConfig, api_key: str | None) -> ShardSession:
    settings = asdict(config)
    settings["api_key"] = api_key
    return ShardSession(**settings)


def _is_importable(function: object) -> bool:
    """Whether it is pickled by name, without its contents: not a lambda, a closure or a function of the main script."""
    module = getattr(function, "__module__", "__main__")
    name = getattr(function, "__qualname__", "")
    return module != "__main__" and getattr(sys.modules.get(module), name, None) is function
