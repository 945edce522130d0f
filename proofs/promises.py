"""The promises that a stranger can check: what is tried, with which command, and which figures keep the promise.

Every row shows the bounds of its figures. A lower bound of a count says that enough was tried for the row to mean
anything. Those of costs and delays lie somewhat beyond the figures in the documentation, because a machine may be busy;
a figure that got much worse shows.
"""

from __future__ import annotations

from typing import Any

from proofs.judging import Figure, Promise

__all__ = ["PROMISES"]

MOST_SECONDS_LATE = 2.5
MUST_BE_ZERO = (
    *("lost", "doubled", "foreign", "backwards"),
    *("leaked tasks", "leaked connections", "errors that only the event loop heard of"),
)


def _faults(figures: dict[str, int]) -> list[Figure]:
    return [
        Figure("{:,} rows", figures["rows"], least=169),
        Figure("{:,} tests passed", figures["passed"], least=2_000),
        Figure("{:,} failed", figures.get("failed", 0) + figures.get("error", 0), most=0),
    ]


def _bodies(figures: dict[str, int]) -> list[Figure]:
    return [
        Figure("{:,} accepted whole", figures["accepted whole"], least=10_000),
        Figure("{:,} refused whole", figures["refused whole"], least=20_000),
    ]


def _guided(figures: dict[str, int]) -> list[Figure]:
    return [
        Figure("{:,} inputs", figures["inputs"], least=20_000),
        Figure("{:,} that reached something new", figures["that reached something new"], least=50),
        Figure("{:,} findings", figures["findings"], most=0),
    ]


def _mocked(figures: dict[str, Any]) -> list[Figure]:
    accepted = figures["accepted"]
    return [
        Figure("{} calls", len(accepted), least=7),
        Figure("{:,} accepted of each", min(accepted.values()), least=100),
        Figure("{:,} refused", figures["refused"], most=0),
    ]


def _emulated(figures: dict[str, int]) -> list[Figure]:
    return [
        Figure("{:,} requests", figures["requests"], least=1_000),
        Figure("{:,} failures", figures["failures"], most=0),
        Figure("seed {}", figures["seed"]),
    ]


def _model(figures: dict[str, int]) -> list[Figure]:
    return [
        Figure("{:,} histories", figures["histories"], least=1_000),
        Figure("{:,} broken", figures["failed"], most=0),
    ]


def _kills(figures: dict[str, int]) -> list[Figure]:
    return [
        Figure("{:,} kills", figures["kills"], least=20),
        Figure("{:,} transitions", figures["transitions"], least=1_000),
        Figure("{:,} lost", figures["lost"], most=0),
        Figure("{:,} repeated though older than 100 ms", figures["again though older than 100 ms"], most=0),
    ]


def _soak(figures: dict[str, float]) -> list[Figure]:
    return [
        Figure("{:,} transitions", figures["transitions"], least=5_000),
        *(Figure(f"{{:,}} {name}", figures[name], most=0) for name in MUST_BE_ZERO),
    ]


def _held(figures: list[dict[str, float]]) -> list[Figure]:
    (one,) = figures
    return [
        Figure("{:,} waits", one["waits"], least=10_000),
        Figure("{:,.0f} polls/s", one["polls_per_s"], least=500),
        Figure("{:.1f} KiB a wait", one["kib_per_wait"], most=34),
        Figure("event loop {:.1f} ms late (p99)", one["lag_p99_ms"]),
    ]


def _poll(figures: dict[str, dict[str, float]]) -> list[Figure]:
    ours = figures["ours, unchanged"]
    return [
        Figure("{:.2f} of a bare aiohttp GET", ours["cpu_ratio_to_floor"], least=0.01, most=1),
        Figure("a {:.0f}th of openai's", ours["cpu_ratio_to_openai"]),
    ]


def _schedule(figures: dict[str, Any]) -> list[Figure]:
    ours, loop = figures["default"], figures["peers"]["runflow-js: 2.0"]
    return [
        Figure("{:.0f} requests", ours["requests"], least=1, most=36),
        Figure("{:.1f} s late", ours["late"], least=0.1, most=MOST_SECONDS_LATE),
        Figure("a poll every 2 s takes {:.0f}", loop["requests"]),
        Figure("and is {:.1f} s late", loop["late"]),
    ]


def _late(figures: dict[str, Any]) -> list[Figure]:
    kinds = {name: one["late"] for name, one in figures["default"]["kinds"].items()}
    return [
        Figure("{} kinds", len(kinds), least=7),
        *(Figure(f"{name} {{:.1f}} s", kinds[name]) for name in sorted(kinds, key=lambda name: kinds[name])),
        Figure("the latest {:.1f} s", max(kinds.values()), least=0.1, most=2 * MOST_SECONDS_LATE),
    ]


def _throttle(figures: dict[str, dict[str, float]]) -> list[Figure]:
    ours, without = figures["with the shared pace"], figures["without it"]
    return [
        Figure("{:.1%} are 429", ours["share_of_429"], most=0.02),
        Figure("{:.0%} of the limit is used", ours["share_of_limit_used"], least=0.8),
        Figure("without the shared pace {:.0%} are 429", without["share_of_429"]),
    ]


def _mutation(figures: dict[str, Any]) -> list[Figure]:
    return [
        Figure(f"a sample of {{:,}} of {figures['mutants']:,} mutants", figures["tried"], least=250),
        Figure("{:,} killed", figures["killed"]),
        Figure("{:.1%}", figures["raw_score"], least=0.85),
        Figure(f"{{:.1%}} without the {figures['equivalent']:,} equivalent ones", figures["score"], least=0.95),
        Figure("{:,} survivors not judged", figures["unjudged"], most=0),
        Figure("{:,} modules changed since", len(figures["changed since"]), most=0),
    ]


PROMISES = {
    "faults": Promise(
        "What can go wrong has a promised end",
        "every row of the fault matrix, over real sockets, on both lanes",
        ["proofs.faults"],
        _faults,
    ),
    "bodies": Promise(
        "An answer is taken whole or refused whole",
        "40,000 spoilt answers to waits with a consumer",
        ["proofs.bodies"],
        _bodies,
    ),
    "guided": Promise(
        "Reading only what changed comes to the same as reading all",
        "atheris, for a minute: both ways, compared; Linux and Python 3.11 to 3.13 only",
        ["proofs.guided"],
        _guided,
    ),
    "mocked": Promise(
        "The client accepts what the contract allows",
        "a server that Prism makes of the contract, each operation: lists to their last page, a wait to its first "
        "transition; ids are those that were asked for",
        ["proofs.mocked"],
        _mocked,
    ),
    "emulated": Promise(
        "The emulator answers as the contract says",
        "schemathesis: right and wrong requests, links followed, drawn from a seed",
        ["proofs.emulated"],
        _emulated,
    ),
    "model": Promise(
        "Every transition is delivered once, whoever takes it and whatever happens meanwhile",
        "random histories of consumers, nudges, cancellations, closings and faults, on both lanes",
        ["proofs.model"],
        _model,
    ),
    "kills": Promise(
        "A restart loses nothing",
        "`kill -9` of a program that follows 50 batches with a checkpoint",
        ["benchmarks.restarts", "--json"],
        _kills,
    ),
    "soak": Promise(
        "A stream is complete, in order and without repetitions",
        "300 streams for a minute through a proxy and a server that fail in every way",
        ["benchmarks.soak", "--json"],
        _soak,
    ),
    "held": Promise(
        "Thousands of waits fit into one process",
        "10,000 waits of batches with 100 items",
        ["benchmarks.fleet", "--waits", "10000", "--seconds", "6", "--json"],
        _held,
    ),
    "poll": Promise(
        "A poll costs less than a bare GET",
        "a response of 23 kB in which nothing changed; CPU",
        ["benchmarks.poll", "--json"],
        _poll,
    ),
    "schedule": Promise(
        "Few requests, and the end seen soon",
        "600 batches in virtual time, beside the schedules of others",
        ["benchmarks.schedule", "--json"],
        _schedule,
    ),
    "late": Promise(
        "Whatever kind of batch it is",
        "the same batches, by kind; how late the end is seen",
        ["benchmarks.schedule", "--json"],
        _late,
    ),
    "throttle": Promise(
        "A rate limit that nobody told us is kept",
        "ten times the limit, for 40 s",
        ["benchmarks.throttle", "--json"],
        _throttle,
    ),
    "mutation": Promise(
        "The tests notice when the core is wrong",
        "a sample of mutants of the core; not run here: `python -m proofs.mutation` recorded what came of them",
        ["proofs.mutation", "--recorded"],
        _mutation,
    ),
}
