"""schemathesis against the emulator, by the contract: `python -m proofs.emulated [--examples 200] [--seed 1]`.

It draws requests, right and wrong ones, follows the links between operations, and checks every response: its status,
type and schema, that no error is the server's, that wrong requests are refused and that a key is asked for. One of its
checks is left out: that every request which the schema allows is accepted. The schema cannot say that a cursor must be
of the same list, or a callback's URL on loopback.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from runflow_async.emulator import Emulator
from runflow_async.emulator.threads import in_thread

CONTRACT = Path(__file__).parent.parent / "tests" / "contract" / "openapi.yaml"
SAID = re.compile(r"(\d+) generated(?:, (\d+) found (\d+) unique failures)?")


def main() -> int:
    """Run it against an emulator in a thread, and print how many requests were tried and what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=200, help="for each operation and phase")
    parser.add_argument("--seed", type=int, default=1, help="another one draws other requests")
    options = parser.parse_args()
    with in_thread(Emulator(seed=1)) as emulator, tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", str(CONTRACT), "--url", emulator.url),
            *("--header", f"Authorization: Bearer {emulator.api_key}", "--max-examples", str(options.examples)),
            *("--seed", str(options.seed)),
            *("--exclude-checks", "positive_data_acceptance", "--continue-on-failure", "--warnings", "off"),
        ]
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603  # ourselves
    counts = SAID.search(ran.stdout)
    if ran.returncode or counts is None:
        print(ran.stdout, ran.stderr, file=sys.stderr)
    figures = {"requests": counts and int(counts[1]), "failures": int(counts[3] or 0) if counts else None}
    print(json.dumps(figures | {"seed": options.seed}))
    return ran.returncode


if __name__ == "__main__":
    sys.exit(main())
