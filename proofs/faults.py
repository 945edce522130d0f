"""Every row of the fault matrix, through real sockets: `python -m proofs.faults`."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from tests.faults.test_matrix import HERE, README, ROOT, ROW


def main() -> int:
    """Run the tests of the matrix, slow ones included, and print how many there are."""
    rows = ROW.findall(README.read_text())
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", str(HERE)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603  # ourselves
    counts = {outcome: int(count) for count, outcome in re.findall(r"(\d+) (passed|failed|error)", ran.stdout)}
    print(json.dumps({"rows": len(rows)} | counts))
    print("\n".join(ran.stdout.splitlines()[-20:]), file=sys.stderr)
    return ran.returncode


if __name__ == "__main__":
    sys.exit(main())
