"""`kill -9` at random moments of a process that streams 50 batches with a checkpoint: what is lost, what is repeated?

Bias first: the server stays up on the same machine, and so does the file's disk. A transition counts as taken when the
process has written it to its output. Statuses that passed between two polls are not lost: every transition must
continue from where the one before ended, and every item must reach its last status. The same process can take the
results of the items instead, each of which must come.

Run `python -m benchmarks.restarts [--kills 20] [--json]`. It takes about two seconds for each kill.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import msgspec

from runflow_async import BatchItemHandle, ItemTransition, RunflowSession
from runflow_async.checkpoints import SQLiteCheckpoints
from runflow_async.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BATCHES = 50
ITEMS = 8
INTERVAL = 0.25
LIVES = (0.3, 1.5)
"""Seconds that a process lives, including its start."""
AGAIN = 0.1
"""Seconds before a kill: what was taken during them may be repeated."""
MUST_BE_ZERO = ("lost", "again though older than 100 ms")
ZEROS = (*MUST_BE_ZERO, *(f"results: {name}" for name in MUST_BE_ZERO))
STATUSES = ("queued", "dispatching", "running", "succeeded")


class Taken(NamedTuple):
    """One transition, as written by the process."""

    at: float
    item: str
    previous: str
    current: str


class Life(NamedTuple):
    """Everything that one process wrote until it was killed."""

    taken: list[Taken]
    killed_at: float


def judge(lives: Sequence[Life], ends: Mapping[str, str]) -> Counter[str]:
    """Compare the output of all processes with the items' last statuses."""
    counts: Counter[str] = Counter(dict.fromkeys((*MUST_BE_ZERO, "again", "transitions"), 0))
    told: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    for life in lives:
        begun: set[str] = set()
        for taken in life.taken:
            history = told[taken.item]
            statuses = ["None", *(status for status, _ in history)]
            if taken.previous not in statuses or (taken.item in begun and taken.previous != statuses[-1]):
                counts["lost"] += 1
                continue
            begun.add(taken.item)
            kept = statuses.index(taken.previous)
            ages = [age for _, age in history[kept:]]
            counts["again"] += len(ages)
            counts["again though older than 100 ms"] += sum(age > AGAIN for age in ages)
            history[kept:] = [(taken.current, life.killed_at - taken.at)]
            counts["transitions"] += 1
    counts["lost"] += sum([status for status, _ in told[item]][-1:] != [end] for item, end in ends.items())
    return counts


def draw_script(chance: random.Random, seconds: float) -> list[list[tuple[float, str]]]:
    """Timelines of one batch, spread over the whole run."""
    return [
        list(zip((0.0, *sorted(chance.uniform(0, seconds) for _ in STATUSES[1:])), STATUSES, strict=True))
        for _ in range(ITEMS)
    ]


async def stream(path: str, batch_ids: Sequence[str]) -> None:
    """The program that gets killed."""
    async with RunflowSession() as session, SQLiteCheckpoints(path) as checkpoints:
        waits = session.wait_for_batches(batch_ids, interval=INTERVAL, checkpoint=checkpoints)
        async for transition in waits:
            line = f"{time.monotonic()} {transition.item.id} {transition.previous} {transition.current}\n"
            os.write(1, line.encode())


async def take_results(path: str, batch_ids: Sequence[str]) -> None:
    """The program that gets killed while it takes results; one without its output would be as good as lost."""
    async with RunflowSession() as session, SQLiteCheckpoints(path) as checkpoints:
        async for item in session.iter_results(batch_ids, interval=INTERVAL, checkpoint=checkpoints):
            status = item.status_code if item.output else "without output"
            os.write(1, f"{time.monotonic()} {item.id} None {status}\n".encode())


PROGRAMS = {"transitions": stream, "results": take_results}


async def live(command: Sequence[str], environment: Mapping[str, str], seconds: float) -> Life:
    """Run one process; kill it after this many seconds if it has not ended."""
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None  # noqa: S101  # asked for
    written = asyncio.create_task(process.stdout.read())
    killed_at = math.inf
    try:
        async with asyncio.timeout(seconds if seconds < math.inf else None):
            await asyncio.shield(written)
    except TimeoutError:
        killed_at = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    lines = (await written).decode().split("\n")[:-1]  # the kill may have cut the last line
    status = await process.wait()
    if killed_at == math.inf and status:
        raise SystemExit(f"the streaming process failed with status {status}")
    return Life([Taken(float(at), *rest) for at, *rest in map(str.split, lines)], killed_at)


async def measure(kills: int, seed: int, what: str = "transitions") -> dict[str, int]:
    """Kill the process that takes transitions or results this many times, let the last one finish, and compare."""
    chance = random.Random(seed)
    spans = [chance.uniform(*LIVES) for _ in range(kills)]
    seconds = 1.25 * sum(spans)  # so that no process takes the last one before it is killed
    async with Emulator(seed=seed) as emulator:
        scripts = [draw_script(chance, seconds) for _ in range(BATCHES)]
        batch_ids = [str(emulator.create_scripted_batch(script)) for script in scripts]
        environment = os.environ | {"RUNFLOW_API_KEY": emulator.api_key, "RUNFLOW_BASE_URL": emulator.url}
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder, "taken.db"))
            command = [sys.executable, "-m", "benchmarks.restarts", "--take", what, path, *batch_ids]
            lives = [await live(command, environment, span) for span in spans]
            lives.append(await live(command, environment, math.inf))
        snapshots = [emulator.snapshot(UUID(batch_id)) for batch_id in batch_ids]
    ends = {item["id"]: item["status_code"] for snapshot in snapshots for item in snapshot["items"]}
    killed = sum(life.killed_at < math.inf for life in lives)
    return dict(judge(lives, ends)) | {"kills": killed, "items": len(ends)}


async def measure_all(kills: int, seed: int) -> dict[str, int | float]:
    """Measure transitions, then results, and what it costs to record one."""
    of_transitions = await measure(kills, seed)
    of_results = {f"results: {name}": count for name, count in (await measure(kills, seed, "results")).items()}
    of_results["results: taken"] = of_results.pop("results: transitions")
    with tempfile.TemporaryDirectory() as folder:
        costs = await record_many(str(Path(folder, "costs.db")))
    return {**of_transitions, **of_results, **costs}


async def record_many(path: str, count: int = 20_000) -> dict[str, float]:
    """CPU microseconds per recorded transition, on the event loop's thread and on both threads."""
    handle = BatchItemHandle(UUID(int=1), 0, UUID(int=2), "running", "ref")
    transitions = [
        ItemTransition(UUID(int=3), msgspec.structs.replace(handle, id=UUID(int=n)), None, datetime.now(UTC))
        for n in range(count)
    ]
    async with SQLiteCheckpoints(path) as checkpoints:
        loops, both = time.thread_time(), time.process_time()
        for transition in transitions:
            checkpoints.record(transition)
        loops = time.thread_time() - loops
        await checkpoints.flush()
        both = time.process_time() - both
    return {
        "CPU per record, loop (us)": round(1e6 * loops / count, 2),
        "CPU per record, in all (us)": round(1e6 * both / count, 2),
    }


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="seed of scripts and kills; timing is not repeatable")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--take", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.take:
        what, path, *batch_ids = options.take
        asyncio.run(PROGRAMS[what](path, batch_ids))
        return 0
    counts = asyncio.run(measure_all(options.kills, options.seed))
    if options.json:
        print(json.dumps(counts, indent=2))
    else:
        for name, count in counts.items():
            print(f"{name:<40} {count:>8,}{'  must be 0' if name in ZEROS else ''}")
    return int(any(counts[name] for name in ZEROS))


if __name__ == "__main__":
    sys.exit(main())
