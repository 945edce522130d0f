"""The command line without the extra `cli`: two commands that do not need it, and how to install it for the others."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from runflow_async._startup import restore_interrupts
from runflow_async._version import __version__
from runflow_async.cli.exits import Exit
from runflow_async.cli.signals import run_async
from runflow_async.cli.streams import leave_pipe
from runflow_async.demo import run_demo
from runflow_async.emulator.serve import serve

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["run_bare"]

INSTALL = "the command line needs its extra: pip install 'runflow-async[cli]'"


def run_bare(arguments: Sequence[str]) -> int:
    """Run `demo` or `emulator`, or show the help or the version; for anything else say what to install."""
    restore_interrupts()
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        return leave_pipe()
    except (OSError, OverflowError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        print(f"error: cannot listen: {why}; pass another --port", file=sys.stderr)
        return Exit.USAGE
    except SystemExit as ended:  # argparse has already shown the help, the version or a usage error
        return int(ended.code or 0)


def _run(arguments: Sequence[str]) -> int:
    parser = _parser()
    if not arguments or arguments[0] not in ("demo", "emulator", "--version"):
        if "--help" in arguments:
            parser.print_help()
            sys.stdout.flush()
            return Exit.SUCCEEDED
        print(f"error: {INSTALL} (without it, only demo and emulator work)", file=sys.stderr)
        return Exit.USAGE
    options = parser.parse_args(arguments)

    async def demonstrate() -> int:
        await (run_demo() if options.command == "demo" else serve(options.port, seed=options.seed))
        return Exit.SUCCEEDED

    return run_async(demonstrate())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="runflow-async",
        description=f"{INSTALL}\nWithout it, these commands work:",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s, version {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("demo", help="follow three emulated batches and print every transition")
    emulator = commands.add_parser("emulator", help="serve the emulated API on loopback until interrupted")
    emulator.add_argument("--port", type=int, default=8080, help="port to listen on (default: %(default)s)")
    emulator.add_argument("--seed", type=int, default=0, help="seed of the emulated batches (default: %(default)s)")
    return parser
