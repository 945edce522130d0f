"""atheris on the decoder, guided by what each input reaches: `python -m proofs.guided [--seconds 60]`.

An input is a few answers to one wait. They are read once by comparing them with the answer before, as a wait does, and
once whole. Both readings must come to the same transitions, snapshots, warnings and errors, and no other exception may
come out. `--seconds 600` is the long run. atheris has wheels for Linux and Python 3.11 to 3.13; elsewhere nothing is
tried.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from proofs.judging import NOT_TRIED
from tests.virtual import body, line

SEPARATOR = b"\x00\x00"
"""As in `proofs.fuzzed`, which cannot be imported here: it instruments what it imports."""
STATUSES = ("queued", "running", "succeeded", "failed", "odd")
WORDS = r'null true [] {} ": "," },{ ]} \u0000 \ud800 1e999 -1 9223372036854775808'
TOKENS = (
    *('"id"', '"items"', '"status_code"', '"run_id"', '"sequence_index"', '"client_ref"', '"completed_at"', '"cost"'),
    *WORDS.split(),
    *(f'"{status}"' for status in STATUSES),
)


def write_corpus(folder: Path) -> None:
    """Answers to begin with, and the words of the language."""
    (folder / "corpus").mkdir()
    for number, status in enumerate(STATUSES):
        answers = [body(items=[status, "running"]), body("succeeded", [line(0, status), line(2, "failed")])]
        (folder / "corpus" / str(number)).write_bytes(SEPARATOR.join(answers))
    escaped = (re.sub(r'(["\\])', r"\\\1", token) for token in TOKENS)
    (folder / "tokens").write_text("".join(f'"{token}"\n' for token in escaped))


def main() -> int:
    """Fuzz in a process of its own, for so long, and print how many inputs were tried."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    if sys.platform != "linux" or sys.version_info >= (3, 14):
        print(json.dumps({NOT_TRIED: "atheris needs Linux and Python before 3.14"}))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_corpus(folder)
        limits = [f"-max_total_time={options.seconds}", "-max_len=4096", "-print_final_stats=1"]
        places = [f"-dict={folder / 'tokens'}", f"-artifact_prefix={folder}/", str(folder / "corpus")]
        command = [sys.executable, "-m", "proofs.fuzzed", *limits, *places]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # ourselves
        found = sorted(folder.glob("crash-*")) + sorted(folder.glob("timeout-*"))
        for input_file in found:
            print(f"{input_file.name}: {input_file.read_bytes()!r}", file=sys.stderr)
        reached = len(list((folder / "corpus").iterdir()))
    tried = re.search(r"number_of_executed_units: (\d+)", ran.stderr)
    if ran.returncode or tried is None:
        print(ran.stdout[-2000:], ran.stderr[-4000:], file=sys.stderr)
    print(
        json.dumps({"inputs": tried and int(tried[1]), "that reached something new": reached, "findings": len(found)})
    )
    return ran.returncode


if __name__ == "__main__":
    sys.exit(main())
