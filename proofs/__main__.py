"""Try each promise and print one table: `python -m proofs [NAME ...]`; `make proof` installs what it needs.

Nothing here decides how a promise is tried: each row runs a command of `proofs` or `benchmarks`, reads the figures that
it prints and compares them with what was promised. What cannot be tried on this platform breaks nothing, but its row
says so. The table is kept in `proofs/results/`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from proofs.judging import BROKEN, Verdict, judge
from proofs.promises import PROMISES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proofs.judging import Promise

RESULTS = Path(__file__).parent / "results"
HEADING = "| promise | what was tried | result | command | |\n|---|---|---|---|---|\n"


class Tried(NamedTuple):
    """What came of one promise."""

    promise: Promise
    verdict: Verdict

    def row(self) -> str:
        """Return its row of the table."""
        word = "**broken**" if self.verdict.is_broken else self.verdict.word
        command = " ".join(["python", "-m", *self.promise.command])
        return f"| {self.promise.text} | {self.promise.tried} | {self.verdict.result} | `{command}` | {word} |\n"


class Run(NamedTuple):
    """What a command printed."""

    figures: str
    messages: str
    status: int


@cache
def run(*command: str) -> Run:
    """Run a command once, for all promises that are judged by it."""
    ran = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)  # noqa: S603
    return Run(ran.stdout, ran.stderr, ran.returncode)


def try_promise(promise: Promise) -> Tried:
    """Run its command and judge the figures; a command that fails breaks the promise."""
    ran = run(*promise.command)
    try:
        verdict = judge(promise, json.loads(ran.figures))
    except (ValueError, LookupError, TypeError) as error:
        verdict = Verdict(f"no figures: {error!r}", BROKEN)
    if ran.status:
        verdict = Verdict(verdict.result, BROKEN)
    if verdict.is_broken:
        print(ran.messages[-3000:], file=sys.stderr)
    return Tried(promise, verdict)


def main(names: Sequence[str]) -> int:
    """Try the promises of these names, or all, and print the table."""
    RESULTS.mkdir(exist_ok=True)
    unknown = set(names) - PROMISES.keys()
    if unknown:
        print(f"there is no promise {min(unknown)!r}; there are {', '.join(PROMISES)}", file=sys.stderr)
        return 2
    print(HEADING, end="")
    rows = []
    for name in names or PROMISES:
        began = time.monotonic()
        rows.append(try_promise(PROMISES[name]))
        print(rows[-1].row(), end="", flush=True)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    if not names:
        (RESULTS / "table.md").write_text(HEADING + "".join(one.row() for one in rows))
    return int(any(one.verdict.is_broken for one in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
