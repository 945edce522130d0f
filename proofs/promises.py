"""The promises that a stranger can check: what is tried, with which command, and which figures keep the promise.

The limits are those that the documentation states, so this is the place where a figure that got worse shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PROMISES", "Promise"]

MOST_KIB_PER_WAIT = 34.0
MOST_OF_A_BARE_GET = 1.0
MOST_REQUESTS, MOST_SECONDS_LATE = 36.0, 2.5
MOST_429, LEAST_OF_THE_LIMIT = 0.02, 0.8
LEAST_SCORE = 0.95


class Promise(NamedTuple):
    """One row of the table.

    Attributes:
        text: what is promised.
        tried: what is done to break it.
        command: arguments of `python -m`, which prints figures as JSON.
        judge: the result in words, and whether the figures keep the promise.
    """

    text: str
    tried: str
    command: list[str]
    judge: Callable[[Any], tuple[str, bool]]


def _faults(figures: dict[str, int]) -> tuple[str, bool]:
    broken = figures.get("failed", 0) + figures.get("error", 0)
    return f"{figures['rows']} rows, {figures['passed']:,} tests passed, {broken} failed", not broken


def _bodies(figures: dict[str, int]) -> tuple[str, bool]:
    accepted, refused = figures["accepted whole"], figures["refused whole"]
    return f"{accepted:,} accepted whole, {refused:,} refused whole, none in part", min(accepted, refused) > 0


def _guided(figures: dict[str, int]) -> tuple[str, bool]:
    return f"{figures['inputs']:,} inputs, {figures['findings']} findings", not figures["findings"]


def _emulated(figures: dict[str, int]) -> tuple[str, bool]:
    return f"{figures['requests']:,} requests, {figures['failures']} failures", not figures["failures"]


def _mocked(figures: dict[str, Any]) -> tuple[str, bool]:
    return f"{sum(figures['accepted'].values()):,} accepted, {figures['refused']} refused", not figures["refused"]


def _kills(figures: dict[str, int]) -> tuple[str, bool]:
    lost, repeated = figures["lost"], figures["again though older than 100 ms"]
    text = (
        f"{figures['kills']} kills, {figures['transitions']:,} transitions: {lost} lost, {repeated} repeated too late"
    )
    return text, not lost and not repeated


def _soak(figures: dict[str, float]) -> tuple[str, bool]:
    wrong = sum(figures[name] for name in ("lost", "doubled", "foreign", "backwards"))
    leaked = figures["leaked tasks"] + figures["leaked connections"]
    text = f"{figures['transitions']:,.0f} transitions: {wrong:.0f} lost, doubled or wrong; {leaked:.0f} leaks"
    return text, not wrong and not leaked


def _held(figures: list[dict[str, float]]) -> tuple[str, bool]:
    (one,) = figures
    text = f"{one['kib_per_wait']:.1f} KiB a wait, event loop {one['lag_p99_ms']:.1f} ms late (p99)"
    return text, one["kib_per_wait"] <= MOST_KIB_PER_WAIT


def _poll(figures: dict[str, dict[str, float]]) -> tuple[str, bool]:
    ours = figures["ours, unchanged"]
    text = f"{ours['cpu_ratio_to_floor']:.2f} of a bare aiohttp GET, a {ours['cpu_ratio_to_openai']:.0f}th of openai's"
    return text, ours["cpu_ratio_to_floor"] <= MOST_OF_A_BARE_GET


def _schedule(figures: dict[str, Any]) -> tuple[str, bool]:
    ours, loop = figures["default"], figures["peers"]["runflow-js: 2.0"]
    text = (
        f"{ours['requests']:.0f} requests and {ours['late']:.1f} s late; "
        f"a poll every 2 s: {loop['requests']:.0f} and {loop['late']:.1f} s"
    )
    return text, ours["requests"] <= MOST_REQUESTS and ours["late"] <= MOST_SECONDS_LATE


def _late(figures: dict[str, Any]) -> tuple[str, bool]:
    kinds = {name: one["late"] for name, one in figures["default"]["kinds"].items()}
    text = ", ".join(f"{name} {late:.1f} s" for name, late in sorted(kinds.items(), key=lambda one: one[1]))
    return text, max(kinds.values()) <= 2 * MOST_SECONDS_LATE


def _throttle(figures: dict[str, dict[str, float]]) -> tuple[str, bool]:
    ours, without = figures["with the shared pace"], figures["without it"]
    text = (
        f"{ours['share_of_429']:.1%} are 429 and {ours['share_of_limit_used']:.0%} of the limit is used; "
        f"without the shared pace {without['share_of_429']:.0%} are"
    )
    return text, ours["share_of_429"] <= MOST_429 and ours["share_of_limit_used"] >= LEAST_OF_THE_LIMIT


def _mutation(figures: dict[str, Any]) -> tuple[str, bool]:
    tried, equivalent = figures["tried"], figures["equivalent"]
    text = (
        f"{figures['killed']:,} of {tried - equivalent:,} mutants killed ({figures['score']:.1%}); "
        f"{equivalent} more mean the same"
    )
    return text, figures["score"] >= LEAST_SCORE


def _model(figures: dict[str, int]) -> tuple[str, bool]:
    return f"{figures['histories']:,} histories, {figures['failed']} broken", not figures["failed"]


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
        "atheris, for a minute: both ways, compared",
        ["proofs.guided"],
        _guided,
    ),
    "mocked": Promise(
        "Whatever the contract allows is accepted",
        "a server that Prism makes of the contract",
        ["proofs.mocked"],
        _mocked,
    ),
    "emulated": Promise(
        "The emulator answers as the contract says",
        "schemathesis: right and wrong requests, links followed",
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
        "mutants of ledger, diffing, agenda, pace, decoding and lanes; `python -m proofs.mutation`, recorded",
        ["proofs.mutation", "--recorded"],
        _mutation,
    ),
}
