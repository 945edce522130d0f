"""Mutate the core with cosmic-ray and see whether a test notices: `python -m proofs.mutation [MODULE ...]`.

By default a random sample of each module is tried, drawn with a fixed seed; `--all` tries every mutant. A mutant counts
as killed if a quick test of its module fails or runs into the time limit. Those that survive are judged in
`proofs/survivors.toml`. A mutant is equivalent if it has the same results as the original for every input, perhaps at
another cost in time or memory: it counts neither way in `score`, and as a survivor in `raw_score`. One that has another
result, which is accepted all the same, counts as a survivor in both. Mutants of annotations, and of `is` into `==`, are
not made at all: the first do not run, the second mean the same where one side is None.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import difflib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from cosmic_ray.commands import init
from cosmic_ray.mutating import use_mutation
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB, use_db

from proofs.mutated import ON_BOTH_LANES, SELECTIONS
from proofs.mutation_figures import ROOT, Outcome, judge, print_table, source_of, summary, totals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cosmic_ray.work_item import MutationSpec

RESULTS = ROOT / "proofs/results/mutation.json"
COPIED = ("runflow_async", "tests", "examples", "benchmarks", "pyproject.toml", "README.md")
PRELOADED = (
    "aiohttp.web",
    "aioresponses",
    "hypothesis",
    "msgspec.json",
    "tenacity",
    "multiprocessing",
    "pytest_asyncio",
)
SAME_MEANING = {"core/ReplaceComparisonOperator_Is_Eq", "core/ReplaceComparisonOperator_IsNot_NotEq"}
TEST_SECONDS, LEAST_SECONDS, TIMES_UNMUTATED = 15, 60.0, 8.0
"""Seconds that one test may take, and all of a module: at least so many, or so many times those without a mutant."""


def pytest_arguments(module: str) -> list[str]:
    """Return what runs the tests of a module until one fails."""
    marks = "not slow" if module in ON_BOTH_LANES else "not slow and not ordinary"
    options = ["-x", "-q", "-m", marks, "--hypothesis-profile", "fast", "--hypothesis-seed", "0", "--tb", "short"]
    options += ["-o", f"faulthandler_timeout={TEST_SECONDS}", "-o", "faulthandler_exit_on_timeout=true"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # the plugins were imported before the fork
    return ["-pno:cacheprovider", "-pno:xdist", "-pno:cov", *options, *_files(module)]


def _files(module: str) -> list[str]:
    return [f"tests/{name}.py" for name in SELECTIONS[module].split()]


def annotated(source: str) -> Iterator[tuple[int, int]]:
    """Yield the first and the last line of everything that is there for type checkers alone."""
    for node in ast.walk(ast.parse(source)):
        parts = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            parts += [node.test, *node.body]
        for part in filter(None, parts):
            yield (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)


def mutants_of(module: str) -> list[MutationSpec]:
    """Return every mutant of a module, in a fixed order."""
    with use_db(":memory:", mode=WorkDB.Mode.create) as database:
        init([Path(source_of(module))], database, {})
        specs = [spec for item in database.work_items for spec in item.mutations]
    unrun = list(annotated((ROOT / source_of(module)).read_text()))
    made = (
        spec
        for spec in specs
        if spec.operator_name not in SAME_MEANING
        and not any(first <= tuple(spec.start_pos) <= last for first, last in unrun)
    )
    return sorted(made, key=lambda spec: (spec.operator_name, spec.occurrence))


def sample_of(module: str, most: int | None) -> list[MutationSpec]:
    """Return all mutants of a module, or that many drawn at random: one of each place before a second of any."""
    mutants = mutants_of(module)
    if most is None or len(mutants) <= most:
        return mutants
    random.Random(module).shuffle(mutants)  # noqa: S311  # a sample that can be drawn again
    seen: Counter[object] = Counter()
    ranks = []
    for mutant in mutants:
        place = mutant.start_pos, mutant.end_pos
        ranks.append(seen[place])
        seen[place] += 1
    ranked = sorted(zip(ranks, range(len(mutants)), strict=True))
    return [mutants[number] for _, number in ranked[:most]]


def copy_tree(folder: Path) -> None:
    """Copy what the tests need, compiled, because mutants are tried without writing bytecode."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy2(source, folder / name)
    compileall.compile_dir(folder / "runflow_async", quiet=1)


def enter_copy(folders: Any) -> None:
    """Let a worker process work in a copy of its own, with everything loaded that is not ours."""
    folder = folders.get()
    os.chdir(folder)
    sys.path[:] = [folder, *(place for place in sys.path if place and Path(place) != ROOT)]
    os.environ["PYTHONPATH"] = folder
    for name in PRELOADED:
        import_module(name)


def run_tests(module: str, limit: float) -> tuple[int | None, str]:
    """Run the tests of a module in a fork; return pytest's exit status, None after the limit, and what it printed."""
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if not child:
            _run_tests_here(module, output.fileno())
        give_up = time.monotonic() + limit
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > give_up:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return None, ""
            time.sleep(0.02)
        output.seek(0)
        return os.waitstatus_to_exitcode(ended[1]), output.read().decode(errors="replace")


def _run_tests_here(module: str, output: int) -> NoReturn:
    status = 1
    try:
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.dont_write_bytecode = True
        importlib.invalidate_caches()
        status = int(pytest.main(pytest_arguments(module)))
    finally:
        sys.stdout.flush()
        os._exit(status)


def time_unmutated(module: str) -> float:
    """Return the seconds that the tests of a module take, which all have to pass."""
    began = time.monotonic()
    status, output = run_tests(module, 600.0)
    if status != 0:
        raise RuntimeError(f"the tests of {module} fail without a mutant ({status}):\n{output[-3000:]}")
    return time.monotonic() - began


def try_mutant(module: str, spec: MutationSpec, limit: float) -> Outcome:
    """Run the tests of a module with one mutant."""
    operator = get_operator(spec.operator_name)()
    with use_mutation(spec.module_path, operator, spec.occurrence) as (original, mutant):
        status, _ = run_tests(module, limit)
    changes = list(difflib.unified_diff(original.splitlines(), mutant.splitlines(), n=0))[3:]
    old, new = (" ".join(line[1:].strip() for line in changes if line.startswith(sign)) for sign in "-+")
    fate = "survived" if status == 0 else "timeout" if status is None else "killed"
    return Outcome(module, spec.operator_name, spec.start_pos[0], old, new, fate)


def run(modules: Sequence[str], most: int | None, workers: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Try the mutants of some modules; yield the summary of each."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        context = get_context("spawn")
        with context.Manager() as manager:
            folders = manager.Queue()
            for number in range(workers):
                folder = Path(name) / str(number)
                folder.mkdir()
                copy_tree(folder)
                folders.put(str(folder))
            with ProcessPoolExecutor(workers, context, enter_copy, (folders,)) as pool:
                timed = pool.submit(time_unmutated, modules[0])
                for module, following in zip(modules, [*modules[1:], None], strict=True):
                    limit = max(LEAST_SECONDS, TIMES_UNMUTATED * timed.result())
                    tried = [pool.submit(try_mutant, module, spec, limit) for spec in sample_of(module, most)]
                    if following is not None:
                        timed = pool.submit(time_unmutated, following)
                    yield module, summary(module, len(mutants_of(module)), [one.result() for one in tried])


def main() -> int:
    """Try mutants, or judge the recorded ones again, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"any of {', '.join(SELECTIONS)}")
    parser.add_argument("--all", action="store_true", help="try every mutant; takes hours")
    parser.add_argument("--sample", type=int, default=30, metavar="N", help="mutants of each module (default: 30)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default: 2)")
    parser.add_argument("--recorded", action="store_true", help="print the figures of the last run as JSON")
    options = parser.parse_args()
    recorded: dict[str, Any] = json.loads(RESULTS.read_text())["modules"] if RESULTS.exists() else {}
    judge(recorded)
    if options.recorded:
        print(json.dumps(totals(recorded)))
        return 0
    most = None if options.all else options.sample
    for module, figures in run(options.modules or list(SELECTIONS), most, options.workers):
        print(f"{module}: {figures['killed']} of {figures['tried']}", file=sys.stderr, flush=True)
        recorded[module] = figures
        modules = {name: recorded[name] for name in SELECTIONS if name in recorded}
        judge(modules)
        RESULTS.write_text(json.dumps({"total": totals(modules), "modules": modules}, indent=1) + "\n")
    print_table(recorded)
    return 0


if __name__ == "__main__":
    sys.exit(main())
