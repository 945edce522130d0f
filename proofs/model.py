"""The model of waits with many more histories than in the tests: `python -m proofs.model [--histories 600]`."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

TEST = Path(__file__).parent.parent / "tests" / "test_wait_model.py"

DRAWN = re.compile(r"during generate phase.*\n.*\n\s+- (\d+) passing")
"""What hypothesis's statistics say of each test; those of shrinking a failure are variations of one history."""


def main() -> int:
    """Draw so many histories for each lane and print how many hypothesis says it ran."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=600, help="for each lane")
    options = parser.parse_args()
    arguments = ["-q", "-p", "no:cacheprovider", "-n", "2", "--hypothesis-show-statistics", str(TEST)]
    command = [sys.executable, "-m", "pytest", *arguments]
    environment = os.environ | {"MODEL_HISTORIES": str(options.histories)}
    ran = subprocess.run(command, cwd=TEST.parent.parent, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    counts = {outcome: int(count) for count, outcome in re.findall(r"(\d+) (passed|failed|error)", ran.stdout)}
    histories = sum(map(int, DRAWN.findall(ran.stdout)))
    print(json.dumps({"histories": histories, "failed": counts.get("failed", 0) + counts.get("error", 0)}))
    print(ran.stdout.partition("= Hypothesis Statistics =")[0][-3000:], file=sys.stderr)
    return ran.returncode


if __name__ == "__main__":
    sys.exit(main())
