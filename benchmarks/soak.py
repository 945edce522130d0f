"""Hundreds of waits through a bad network and a bad server; every stream is compared with its script.

The emulator, the faulty proxy and the client share this process. An item's reported statuses must follow its script in
order, each at most once, and end with its last one; statuses that passed between two polls may be missing. Streams are
also interrupted and cancelled on purpose and resumed with `since=`, as are streams that ended with an error.

Bytes are corrupted only in the head of a response and in the batch's id at the start of its body: over plain HTTP,
nobody can detect a status that was corrupted into another valid text.

CPU time taken by other programs does not count as time, or they would make every request time out.

Run `python -m benchmarks.soak [--seconds 60] [--waits 300] [--seed 0] [--json]` in a checkout. It exits with 1 unless
all counts that must be 0 are 0.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import math
import resource
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from yarl import URL

from runflow_async import Batch, RetryPolicy, RunflowError, RunflowSession, wait_adaptive
from runflow_async.emulator import Emulator, Fault, faults
from tests.rig import Ending, FaultyProxy, Toxic, eventually, given_time
from tests.rig.leaks import connections_in_use

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runflow_async import BatchWait, ItemTransition

ENDS = ("succeeded", "succeeded", "failed", "canceled", "cancelled")
MUST_BE_ZERO = (
    *("lost", "doubled", "foreign", "backwards"),
    *("leaked tasks", "leaked connections", "errors that only the event loop heard of"),
)
TICK = 0.1
"""Seconds between two looks at the clock."""
HUSH = 12.0
"""Seconds between two responses that slow the whole session; if there were more, hardly anything would be tested."""
HEAD = 145
HEAD_AND_ID = range(HEAD + 35)
"""Where bytes may be corrupted: a good response's head has at least 145 bytes, and the id ends 43 bytes after it."""
USUAL = 0.8
"""Share of scripts that have a step, and of items that are visible from the beginning."""
FAULTY = 0.05
"""Share of the responses that the server spoils."""
FAULTS_PENDING = 10
CUT = 0.01
"""Share of the transitions after which a stream is interrupted on purpose."""
HURRIED = 0.2
"""Share of the iterations that are cancelled on purpose."""
CUT_IDLE = 0.1
"""Share of the ticks at which all idle connections are cut."""
PATIENCE = 60.0
"""Seconds after its last step at which a stream is given up and its items count as lost."""


def draw_script(chance: Random, longest: float) -> list[list[tuple[float, str]]]:
    """Timelines of a few items that last up to `longest` seconds; no status occurs twice in one of them."""
    timelines = []
    for _ in range(chance.randint(1, 8)):
        path = [status for status in ("queued", "dispatching", "uploading", "running") if chance.random() < USUAL]
        path.append(chance.choice(ENDS))
        instants = sorted(chance.uniform(0, longest) for _ in path)
        if chance.random() < USUAL:
            instants[0] = 0.0
        timelines.append(list(zip(instants, path, strict=True)))
    return timelines


def draw_toxic(chance: Random) -> tuple[str, Toxic]:
    """Draw the fault of a new connection, and its name; no connection lives forever."""
    ending = chance.choice(list(Ending))
    mortal = Toxic(after=chance.randrange(5_000, 100_000), ending=ending)
    toxics = {
        "latency": replace(mortal, latency=chance.uniform(0.01, 0.3)),
        "bandwidth": replace(mortal, bandwidth=chance.choice((2_000, 20_000))),
        "slices": replace(mortal, slice_size=10),
        "slow slices": replace(mortal, slice_size=100, every=0.01),
        "slices of one byte": Toxic(slice_size=1, after=1_000, ending=ending),
        "drip": Toxic(slice_size=1, every=0.05),
        f"{ending.name} on accept": Toxic(on_accept=ending),
        f"{ending.name} within the head": Toxic(after=chance.randrange(HEAD), ending=ending),
        f"{ending.name} within a body": Toxic(after=chance.randrange(HEAD, 3_000), ending=ending),
        "corruption": replace(mortal, corrupt=HEAD_AND_ID),
        f"{ending.name} later": mortal,
    }
    return chance.choice([*toxics.items(), *[(f"{ending.name} later", mortal)] * 7])


def draw_fault(chance: Random, neighbour: Mapping[str, Any]) -> Fault:
    """Draw the fault of the server's next response; none that rightly ends a wait at once."""
    return chance.choice(
        [
            faults.status(chance.choice((408, 409, 500, 502, 503, 504, 520))),
            faults.status(404),
            faults.html(),
            faults.html(status=502),
            faults.other_batch(),
            faults.other_batch(dict(neighbour)),
            faults.body(chance.choice((b"", b"null", b"[]", b'{"id":', b"\xff", b'{"items": [null]}'))),
            faults.truncated_body(),
            faults.reset(),
            faults.hang(),
            faults.slow_body(chance.choice((0.3, 3.0))),
        ]
    )


def judge(truth: Mapping[UUID, Sequence[str]], batch_id: UUID, stream: Iterable[ItemTransition]) -> Counter[str]:
    """Compare a stream with its script.

    Args:
        truth: every item's statuses in their order, each at most once.
        batch_id: the batch that was waited for.
        stream: what was reported.

    Returns:
        How many transitions were `foreign` (another batch's, or of a status that the item never had), `doubled`,
        `backwards`, or `lost`: the last one of an item, or one that a later transition goes on from.
    """
    counts: Counter[str] = Counter()
    reached = dict.fromkeys(truth, -1)
    for transition in stream:
        path = truth.get(transition.item.id, ())
        if transition.batch_id != batch_id or transition.current not in path:
            counts["foreign"] += 1
            continue
        before, now = reached[transition.item.id], path.index(transition.current)
        if now <= before:
            counts["doubled" if now == before else "backwards"] += 1
            continue
        reached[transition.item.id] = now
        counts["lost"] += transition.previous != (path[before] if before >= 0 else None)
    counts["lost"] += sum(reached[item] != len(path) - 1 for item, path in truth.items())
    return counts


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock stops while this process waits for the CPU."""

    time = given_time


class ForgetfulEmulator(Emulator):
    """An emulator that reveals its scripts, and forgets them, so that its own memory does not grow."""

    def item_ids(self, batch_id: UUID) -> list[UUID]:
        """Return the items of a batch in the order of their timelines, including those that are not visible yet."""
        return [UUID(item.id) for item in self._batches.by_id[batch_id].items]

    def forget(self, batch_id: UUID) -> None:
        """Forget a batch; requests for it get 404 from now on."""
        del self._batches.by_id[batch_id]


class Soak:
    """The waits and their outcomes.

    Attributes:
        counts: what happened, by name.
        memory: bytes held by the process, at every tick.
    """

    def __init__(self, emulator: ForgetfulEmulator, proxy: FaultyProxy, session: RunflowSession, seed: int) -> None:
        self.counts: Counter[str] = Counter(dict.fromkeys(MUST_BE_ZERO, 0))
        self.memory: list[int] = []
        self._emulator = emulator
        self._proxy = proxy
        self._session = session
        self._seed = seed
        self._interval = wait_adaptive(min=0.25, max=1.0, jitter=0.3)
        self._running: list[UUID] = []
        proxy.toxic = self._infect

    async def run(self, waits: int, seconds: float) -> None:
        """Keep this many waits running for this long."""
        until = asyncio.get_running_loop().time() + seconds
        longest = min(5.0, seconds / 4)
        async with asyncio.TaskGroup() as group:
            for number in range(waits):
                group.create_task(self._repeat(Random(f"{self._seed}/{number}"), longest, until))
            group.create_task(self._trouble(Random(self._seed), until))

    def _infect(self, chance: Random) -> Toxic:
        name, toxic = draw_toxic(chance)
        self.counts[f"toxics: {name}"] += 1
        return toxic

    def _spoil(self, *spoilers: Fault) -> None:
        self._emulator.faults += spoilers
        self.counts.update(f"faults: {fault.name}" for fault in spoilers)

    async def _repeat(self, chance: Random, longest: float, until: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(chance.uniform(0, 1))
        while loop.time() + longest < until:
            script = draw_script(chance, chance.uniform(0.5, longest))
            batch_id = self._emulator.create_scripted_batch(script)
            paths = [[status for _, status in timeline] for timeline in script]
            truth = dict(zip(self._emulator.item_ids(batch_id), paths, strict=True))
            self._running.append(batch_id)
            stream: list[ItemTransition] = []
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(longest + PATIENCE):
                    await self._follow(chance, batch_id, stream)
            self._running.remove(batch_id)
            self._emulator.forget(batch_id)
            self.counts.update(judge(truth, batch_id, stream))
            self.counts.update({"batches": 1, "items": len(truth), "transitions": len(stream)})

    async def _follow(self, chance: Random, batch_id: UUID, stream: list[ItemTransition]) -> None:
        since: Batch | None = None
        ended = False
        while not ended:
            wait = self._session.wait_for_batch(batch_id, timeout=None, interval=self._interval, since=since)
            try:
                async with wait:
                    ended = await self._iterate(chance, wait, stream)
            except RunflowError as error:
                self.counts[f"waits ended by {type(error).__name__}"] += 1
            stats = wait.stats
            self.counts.update({"polls": stats.polls, "requests sent": stats.requests, "retries": stats.retries})
            since = msgspec.json.decode(msgspec.json.encode(wait.delivered), type=Batch)

    async def _iterate(self, chance: Random, wait: BatchWait, stream: list[ItemTransition]) -> bool:
        """Iterate a wait, sometimes under a timeout of our own; return whether it came to its end."""
        while True:
            limit = chance.uniform(0, 2) if chance.random() < HURRIED else None
            try:
                async with asyncio.timeout(limit):
                    async for transition in wait:
                        stream.append(transition)
                        if chance.random() < CUT:
                            self.counts["waits cut on purpose"] += 1
                            return False
                    return True
            except TimeoutError:
                self.counts["steps cancelled on purpose"] += 1

    async def _trouble(self, chance: Random, until: float) -> None:
        """Cause faults, at a steady rate for each request received, and measure."""
        loop = asyncio.get_running_loop()
        hush_at = loop.time() + HUSH / 3
        while loop.time() < until:
            await asyncio.sleep(TICK)
            self.memory.append(resident())
            received = len(self._emulator.requests)
            self._emulator.requests.clear()
            self.counts["requests received"] += received
            if len(self._emulator.faults) < FAULTS_PENDING and self._running:
                neighbour = self._emulator.snapshot(chance.choice(self._running))
                self._spoil(*(draw_fault(chance, neighbour) for _ in range(math.ceil(FAULTY * received))))
            if loop.time() > hush_at:
                hush_at += HUSH
                self._spoil(faults.status(chance.choice((429, 503)), headers={"Retry-After": "1"}))
            if chance.random() < CUT_IDLE:
                self.counts["connections cut while idle"] += await self._proxy.cut_idle(chance.choice(list(Ending)))
        self._emulator.faults.clear()
        self._proxy.toxic = Toxic()  # what is still in flight ends without faults


def resident() -> int:
    """Bytes of memory held by this process; 0 if /proc is not available."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def held_connections(session: RunflowSession) -> int:
    """Connections of the session's pool that are in use or waited for."""
    return len(connections_in_use(session))


async def soak(seconds: float, waits: int, seed: int) -> dict[str, int | float]:
    """Run it; return the counts by name, and memory in MiB."""
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    before = asyncio.all_tasks()
    async with ForgetfulEmulator(seed=seed) as emulator:
        target = URL(emulator.url)
        async with FaultyProxy(str(target.host), int(target.port or 0), seed=seed) as proxy:
            async with RunflowSession(
                emulator.api_key,
                base_url=proxy.url,
                request_timeout=1.0,
                retry=RetryPolicy(wait_initial=0.05, wait_max=0.5),
            ) as session:
                soaking = Soak(emulator, proxy, session, seed)
                await soaking.run(waits, seconds)
                soaking.counts["leaked connections"] += held_connections(session)
            with contextlib.suppress(AssertionError):
                await eventually(lambda: not proxy.open_connections)
            soaking.counts["leaked connections"] += proxy.open_connections
            soaking.counts["connections through the proxy"] = proxy.connections
    gc.collect()
    await asyncio.sleep(TICK)
    soaking.counts["leaked tasks"] += len(asyncio.all_tasks() - before)
    soaking.counts["errors that only the event loop heard of"] += len(complaints)
    return dict(soaking.counts) | growth(soaking.memory)


def growth(memory: Sequence[int]) -> dict[str, float]:
    """Memory after a third of the time and at the end, in MiB, each the median of a tenth of the time."""
    span = max(1, len(memory) // 10)
    early, late = (median(memory[start : start + span]) for start in (len(memory) // 3, len(memory) - span))
    return {
        "memory after the warm-up (MiB)": round(early / 2**20, 1),
        "growth of memory (MiB)": round((late - early) / 2**20, 1),
    }


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="no batch is started that would last longer")
    parser.add_argument("--waits", type=int, default=300, help="streams at the same time")
    parser.add_argument("--seed", type=int, default=0, help="seed of scripts and faults; timing is not repeatable")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    logging.getLogger("runflow_async").setLevel(logging.ERROR)  # the emulator counts items that are not listed yet
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # clients disconnect during responses
    with asyncio.Runner(loop_factory=Loop) as runner:
        counts = runner.run(soak(options.seconds, options.waits, options.seed))
    failed = any(counts[name] for name in MUST_BE_ZERO)
    if options.json:
        print(json.dumps(counts, indent=2))
        return int(failed)
    for name in (*MUST_BE_ZERO, *sorted(counts.keys() - set(MUST_BE_ZERO))):
        print(f"{name:<42} {counts[name]:>10,}{'  must be 0' if name in MUST_BE_ZERO else ''}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
