"""`python -m runflow_async` is the command line, `runflow-async`."""

from __future__ import annotations

import sys

from runflow_async.cli import main

if __name__ == "__main__":
    sys.exit(main())
