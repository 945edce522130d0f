"""The command line: `runflow-async`, also `python -m runflow_async`.

Without the extra `cli`, which installs click and rich, only the emulator and the demo's plain lines work.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

if find_spec("click") is None or find_spec("rich") is None:
    from runflow_async.cli.bare import run_bare as run
else:
    from runflow_async.cli.running import run

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command with the given arguments, by default those of the process; return the exit status."""
    return run(list(sys.argv[1:] if arguments is None else arguments))
