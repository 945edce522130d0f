"""20,000 batches on a Dask cluster of 1, 2 and 4 workers, one of them killed halfway: is everything right?

Bias first: everything runs on this machine: the server, the scheduler, the consumer and all workers. So more workers
bring no more CPU; `max_rate` limits them all. Requests are counted over every interval of one second that ends with a
request, both where they are sent (each worker records the times) and where they arrive. A server that gets no CPU for
a moment receives requests together that were sent apart, so only the first figure measures the workers.

The transitions are compared with the scripts that the server follows: each item's transitions must continue from where
the one before ended, follow the script's order, and reach its end.

Run `python -m benchmarks.distributed [--batches 20000] [--workers 1 2 4] [--max-rate 400] [--json]`. It takes about two
minutes for each number of workers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from importlib import import_module
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING, Any

from distributed import Client, LocalCluster

from runflow_async._http.transport import Transport
from runflow_async.distributed import SessionConfig, wait_for_batches
from runflow_async.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from yarl import URL

    from runflow_async import ItemTransition

ITEMS = 3
FAILING = 0.1
INTERVAL = 2.0
STATUSES = ("queued", "dispatching", "running")
MUST_BE_ZERO = ("lost", "twice", "wrong", "sent beyond the rate in the busiest second")


def create_batches(emulator: Emulator, count: int, seconds: float) -> dict[UUID, list[list[tuple[float, str]]]]:
    """Batches whose items end at random times within this many seconds; the same for the same arguments."""
    chance = random.Random(count)
    scripts = {}
    for _ in range(count):
        script = []
        for _ in range(ITEMS):
            instants = (0.0, *sorted(chance.uniform(0, seconds) for _ in STATUSES))
            end = "failed" if chance.random() < FAILING else "succeeded"
            script.append(list(zip(instants, (*STATUSES, end), strict=True)))
        scripts[emulator.create_scripted_batch(script)] = script
    return scripts


async def serve(count: int, seconds: float) -> None:
    """Serve until a line arrives on standard input, then print the number of requests and the busiest second."""
    async with Emulator() as emulator:
        emulator.requests = deque(maxlen=None)
        create_batches(emulator, count, seconds)
        print(json.dumps({"url": emulator.url, "key": emulator.api_key}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        came = sorted(request.received_at for request in emulator.requests)
    print(json.dumps({"requests": len(came), "busiest": busiest_second(came)}), flush=True)


def busiest_second(instants: Iterable[float]) -> int:
    """Return the largest number of requests in any second."""
    window: deque[float] = deque()
    most = 0
    for instant in instants:
        window.append(instant)
        while window[0] <= instant - 1:
            window.popleft()
        most = max(most, len(window))
    return most


def judge(seen: Iterable[ItemTransition], scripts: dict[UUID, list[list[tuple[float, str]]]]) -> Counter[str]:
    """Compare the transitions with the scripts."""
    counts: Counter[str] = Counter(dict.fromkeys(("lost", "twice", "wrong"), 0))
    reached: dict[tuple[UUID, int], int] = {}
    for transition in seen:
        key = (transition.batch_id, transition.item.sequence_index)
        order = [status for _, status in scripts[transition.batch_id][key[1]]]
        before = reached.get(key, -1)
        now = order.index(transition.current)
        counts["twice"] += now <= before
        counts["wrong"] += transition.previous != (order[before] if before >= 0 else None)
        reached[key] = max(now, before)
    ends = len(STATUSES)
    counts["lost"] += sum(reached.get((batch, item), -1) != ends for batch in scripts for item in range(ITEMS))
    return counts


def read_key() -> str:
    """Return the key; from now on, this process records when it sends requests."""
    file = os.open(Path(os.environ["BENCHMARK_SENT"], str(os.getpid())), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    get = Transport.get

    def get_and_note(transport: Transport, url: URL, *, sent: Callable[[], None], **keywords: Any) -> Any:
        def note() -> None:
            os.write(file, b"%f\n" % time.monotonic())
            sent()

        return get(transport, url, sent=note, **keywords)

    if get.__name__ != get_and_note.__name__:  # each shard of a worker asks for the key
        Transport.get = get_and_note  # type: ignore[method-assign]
    return os.environ["RUNFLOW_API_KEY"]


async def stream(workers: int, batch_ids: list[UUID], max_rate: float) -> tuple[list[ItemTransition], float]:
    """Follow all batches and kill one worker once half of all items have ended. Also return the seconds it took."""
    seen: list[ItemTransition] = []
    ended, killed = 0, False
    async with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            asynchronous=True,
            dashboard_address=":0",
            silence_logs="CRITICAL",
        ) as cluster,
        Client(cluster, asynchronous=True) as client,
    ):
        began = time.monotonic()
        # By its importable name, which functions of the main script do not have.
        config = SessionConfig(api_key=import_module("benchmarks.distributed").read_key)
        waits = wait_for_batches(client, batch_ids, max_rate=max_rate, interval=INTERVAL, session=config)
        async for transition in waits:
            seen.append(transition)
            ended += transition.is_terminal
            if not killed and ended * 2 > ITEMS * len(batch_ids):
                killed = True
                processes = await client.run(os.getpid)
                os.kill(next(iter(processes.values())), signal.SIGKILL)
        return seen, time.monotonic() - began


def read_instants(folder: Path) -> list[float]:
    """Return the times at which all workers sent requests."""
    return sorted(float(line) for file in folder.iterdir() for line in file.read_text().split())


async def measure(workers: int, count: int, seconds: float, max_rate: float) -> dict[str, Any]:
    """Run once, against a new server."""
    scripts = create_batches(Emulator(clock=time.monotonic), count, seconds)
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.distributed", "--serve", str(count), "--seconds", str(seconds)),
        stdin=PIPE,
        stdout=PIPE,
    )
    assert server.stdout is not None  # noqa: S101  # asked for
    where = json.loads(await server.stdout.readline())
    with tempfile.TemporaryDirectory() as folder:
        # Workers inherit it.
        os.environ |= {"RUNFLOW_BASE_URL": where["url"], "RUNFLOW_API_KEY": where["key"], "BENCHMARK_SENT": folder}
        seen, took = await stream(workers, list(scripts), max_rate)
        sent = read_instants(Path(folder))
    told, _ = await server.communicate(b"\n")
    figures = json.loads(told)
    return {
        "workers": workers,
        "batches": count,
        "seconds": round(took, 1),
        "transitions": len(seen),
        **judge(seen, scripts),
        "requests": figures["requests"],
        "requests per second": round(figures["requests"] / took, 1),
        "max_rate": max_rate,
        "sent in the busiest second": busiest_second(sent),
        "sent beyond the rate in the busiest second": max(0, busiest_second(sent) - int(max_rate)),
        "arrived in the busiest second": figures["busiest"],
    }


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=20_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--max-rate", type=float, default=400.0)
    parser.add_argument("--seconds", type=float, default=60.0, help="seconds within which all items end")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve, options.seconds))
        return 0
    runs = []
    for workers in options.workers:
        runs.append(asyncio.run(measure(workers, options.batches, options.seconds, options.max_rate)))
        if not options.json:
            for name, value in runs[-1].items():
                print(f"{name:<48} {value:>10,}{'  must be 0' if name in MUST_BE_ZERO else ''}", flush=True)
            print()
    if options.json:
        print(json.dumps(runs, indent=2))
    return int(any(run[name] for run in runs for name in MUST_BE_ZERO))


if __name__ == "__main__":
    sys.exit(main())
