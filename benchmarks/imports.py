"""What `import runflow_async` costs on top of importing aiohttp, and which package spends it.

Bias first: the interpreter times each module, which itself costs some microseconds per module. Bytecode is compiled
beforehand. tenacity imports tornado if that is installed, so both cases are measured. "Without tornado" represents an
environment with only the dependencies of this package.

Run `python -m benchmarks.imports [--json]`. It prints milliseconds, the fastest of 20 fresh processes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter

ROUNDS = 20
PROGRAMS = {
    "without tornado": "import sys; sys.modules['tornado'] = None; import aiohttp; import runflow_async",
    "as installed here": "import aiohttp; import runflow_async",
}


def measure_once(program: str, bytecode: str) -> Counter[str]:
    """Milliseconds spent in each package's own modules after aiohttp was imported, Python's own under one name."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-X", f"pycache_prefix={bytecode}", "-X", "importtime", "-c", program]
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stderr  # noqa: S603  # ourselves
    spent: Counter[str] = Counter()
    for line in printed.partition("| aiohttp\n")[2].splitlines():
        alone, _, name = line.removeprefix("import time:").split("|")
        package = name.strip().partition(".")[0]
        spent["Python's own" if package in sys.stdlib_module_names else package] += int(alone) / 1000
    return spent


def measure(program: str) -> dict[str, float]:
    """Return the fastest round: in total, and by package."""
    with tempfile.TemporaryDirectory() as bytecode:
        measure_once(program, bytecode)
        best = min((measure_once(program, bytecode) for _ in range(ROUNDS)), key=Counter.total)
    shares = {name: round(spent, 1) for name, spent in best.most_common()}
    return {"in all": round(best.total(), 1)} | {name: spent for name, spent in shares.items() if spent}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    figures = {name: measure(program) for name, program in PROGRAMS.items()}
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    for name, packages in figures.items():
        print(f"{name:<18}", "  ".join(f"{package} {spent} ms" for package, spent in packages.items()))


if __name__ == "__main__":
    main()
