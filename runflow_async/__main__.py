"""`python -m runflow_async demo` and `python -m runflow_async emulator --port 8080`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

from runflow_async.demo import run_demo
from runflow_async.emulator.serve import serve

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m runflow_async", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="await three emulated batches and print every transition")
    emulator = commands.add_parser("emulator", help="serve the emulated API on loopback until interrupted")
    emulator.add_argument("--port", type=int, default=8080, help="port to listen on (default: %(default)s)")
    emulator.add_argument("--seed", type=int, default=0, help="seed of the emulated batches (default: %(default)s)")
    options = parser.parse_args(arguments)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run_demo() if options.command == "demo" else serve(options.port, seed=options.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
