"""The options shared by all commands that use the API, and the session they configure."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runflow_async import RunflowSession
from runflow_async.cli.exits import Exit
from runflow_async.cli.texts import decode_text
from runflow_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

__all__ = ["KeyUnavailableError", "combined", "connection_options", "debug_option", "is_debugging", "open_session"]


class Options(dict[str, Any]):
    """The options of one invocation."""


class KeyUnavailableError(click.ClickException):
    """No usable key was found."""

    exit_code = Exit.REFUSED


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
    """Keep an option for the whole invocation, whether it comes before or after the command's name."""
    options = context.ensure_object(Options)
    if value and parameter.name:
        options[parameter.name] = value


def combined(*options: Decorator) -> Decorator:
    """Return one decorator for several options, which the help shows in this order."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


_kept_option = partial(click.option, expose_value=False, callback=_keep)
debug_option = _kept_option("--debug", is_flag=True, help="Write tracebacks and a debug log to standard error.")
connection_options = combined(
    _kept_option(
        "--api-key-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="File with the API key; the default is RUNFLOW_API_KEY.",
    ),
    _kept_option("--base-url", metavar="URL", help="Another server; the default is RUNFLOW_BASE_URL, or production."),
    _kept_option(
        "--organization-id", metavar="ID", help="Organisation; the default is RUNFLOW_ORGANIZATION_ID, or none."
    ),
    debug_option,
)
"""The options of the connection, which `open_session` reads from the context, and `--debug`."""


def is_debugging() -> bool:
    """Whether `--debug` was given."""
    return "debug" in click.get_current_context().ensure_object(Options)


def open_session() -> RunflowSession:
    """Return the session configured by the options of the current command.

    Raises:
        KeyUnavailableError: if there is no key, or it cannot be sent.
        ConfigurationError: if another option is invalid.
    """
    options = click.get_current_context().ensure_object(Options)
    key = _read_key(options.get("api_key_file"))
    if not key.isascii() or not key.isprintable() or " " in key:
        raise KeyUnavailableError(
            "the API key must be visible ASCII on one line, without spaces; check where it comes from"
        )
    return RunflowSession(key, base_url=options.get("base_url"), organization_id=options.get("organization_id"))


def _read_key(path: Path | None) -> str:
    if path is None:
        key = os.environ.get("RUNFLOW_API_KEY", "")
        missing = "no API key: set RUNFLOW_API_KEY, or pass --api-key-file FILE"
    else:
        try:
            key = decode_text(path.read_bytes(), f"the key file {path}").strip()
        except OSError as error:
            raise ConfigurationError(f"cannot read the key from {path}: {error.strerror}") from error
        missing = f"no API key in {path}: the file is empty"
    if not key:
        raise KeyUnavailableError(missing)
    if "RUNFLOW_API_KEY" in key or key[0] in "'\"":
        raise KeyUnavailableError(f"{path or 'RUNFLOW_API_KEY'} must hold the key alone, without its name or quotes")
    return key
