"""Run the command line: every outcome becomes an exit status, and every error one red line."""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING

import click

from runflow_async._startup import restore_interrupts
from runflow_async._text import printable
from runflow_async.cli.commands import program
from runflow_async.cli.exits import Exit, about, explain, status_of_error
from runflow_async.cli.messages import logged, say_error
from runflow_async.cli.streams import drop_output, flush_output, leave_pipe, usable_streams

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["run"]

NAME = "runflow-async"
COMPLETE = "_RUNFLOW_ASYNC_COMPLETE"
"""The environment variable in which a shell asks click for completion."""


def run(arguments: Sequence[str]) -> int:
    """Run one command and return the exit status."""
    debug = "--debug" in arguments
    with usable_streams(), logged(debug=debug):
        try:
            restore_interrupts()
            return flush_output(int(program.main(list(arguments), NAME, standalone_mode=False) or 0))
        except BrokenPipeError:
            return leave_pipe()
        except SystemExit as error:
            return _after_exit(error)
        except (click.Abort, KeyboardInterrupt):
            drop_output()
            return Exit.INTERRUPTED
        except click.ClickException as error:
            context = getattr(error, "ctx", None)
            hint = f"; see '{context.command_path} --help'" if context else ""
            say_error(f"{printable(error.format_message().rstrip('.'), 1000)}{hint}")
            return error.exit_code if error.exit_code != 1 else Exit.USAGE
        except Exception as error:  # noqa: BLE001  # the last handler: whatever it is, it becomes one line
            if debug:
                traceback.print_exception(error)
            say_error(about([getattr(error, "batch_id", None)], explain(error)))
            return status_of_error(error)


def _after_exit(error: SystemExit) -> int:
    """Handle the exit by which click leaves after completion for a shell, or if nobody reads its help."""
    requested = os.environ.get(COMPLETE)
    if not requested:
        return leave_pipe()
    if not error.code:
        return Exit.SUCCEEDED
    say_error(f"{COMPLETE} must be bash_source, zsh_source or fish_source, not {printable(requested, 60)!r}")
    return Exit.USAGE
