"""Run the command line: every outcome becomes an exit status, and every error one red line."""

from __future__ import annotations

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


def run(arguments: Sequence[str]) -> int:
    """Run one command and return the exit status."""
    debug = "--debug" in arguments
    with usable_streams(), logged(debug=debug):
        try:
            restore_interrupts()
            return flush_output(int(program.main(list(arguments), NAME, standalone_mode=False) or 0))
        except BrokenPipeError:
            return leave_pipe()
        except SystemExit:  # click leaves so if nobody reads its help
            return leave_pipe()
        except (click.Abort, KeyboardInterrupt):
            drop_output()
            return Exit.INTERRUPTED
        except click.ClickException as error:
            context = getattr(error, "ctx", None)
            text = printable(error.format_message().rstrip("."), 1000)
            see = " See" if text.endswith("?") else "; see"
            hint = f"{see} '{context.command_path} --help'" if context else ""
            say_error(f"{text}{hint}")
            return error.exit_code if error.exit_code != 1 else Exit.USAGE
        except Exception as error:  # noqa: BLE001  # the last handler: whatever it is, it becomes one line
            if debug:
                traceback.print_exception(error)
            say_error(about([getattr(error, "batch_id", None)], explain(error)))
            return status_of_error(error)
