"""What came of mutants: figures of each module, judgements of those that survived, and the table."""

from __future__ import annotations

import tomllib
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ROOT", "Outcome", "judge", "print_table", "source_of", "summary", "totals"]

ROOT = Path(__file__).parents[1]
SURVIVORS = ROOT / "proofs/survivors.toml"


class Outcome(NamedTuple):
    """What became of one mutant.

    Attributes:
        module: as in `SELECTIONS`.
        operator: cosmic-ray's name of what was changed.
        line: where it is.
        old: the line, or lines, before.
        new: the same after.
        fate: "killed", "timeout" or "survived".
    """

    module: str
    operator: str
    line: int
    old: str
    new: str
    fate: str


def source_of(module: str) -> str:
    """Return the path of a module below the root."""
    return f"runflow_async/{module}.py"


def digest(module: str) -> str:
    """Return what changes with the source of a module."""
    return sha256((ROOT / source_of(module)).read_bytes()).hexdigest()[:16]


def judged() -> dict[tuple[str, str, str], dict[str, str]]:
    """Return the judgements of survivors, by module, line before and line after."""
    entries = tomllib.loads(SURVIVORS.read_text()).get("survivor", []) if SURVIVORS.exists() else []
    return {(one["module"], one["old"], one["new"]): one for one in entries}


def summary(module: str, of: int, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what the results file has for a module."""
    survivors = [
        {"line": one.line, "operator": one.operator, "old": one.old, "new": one.new}
        for one in outcomes
        if one.fate == "survived"
    ]
    return {
        "source": digest(module),
        "mutants": of,
        "tried": len(outcomes),
        "killed": len(outcomes) - len(survivors),
        "timeouts": sum(one.fate == "timeout" for one in outcomes),
        "survivors": survivors,
    }


def judge(modules: dict[str, Any]) -> None:
    """Add the judgements of survivors to the figures of each module."""
    judgements = judged()
    for module, figures in modules.items():
        for one in figures["survivors"]:
            judgement = judgements.get((module, one["old"], one["new"]), {"judgement": "open", "why": ""})
            one |= {key: judgement[key] for key in ("judgement", "why")}
        figures["equivalent"] = sum(one["judgement"] == "equivalent" for one in figures["survivors"])


def totals(modules: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of all modules together."""
    sums = {key: sum(one[key] for one in modules.values()) for key in ("mutants", "tried", "killed", "equivalent")}
    fates = [one["judgement"] for module in modules.values() for one in module["survivors"]]
    return {
        **sums,
        "unjudged": fates.count("open"),
        "raw_score": round(sums["killed"] / max(sums["tried"], 1), 4),
        "score": round(sums["killed"] / max(sums["tried"] - sums["equivalent"], 1), 4),
        "changed since": [name for name, one in modules.items() if one["source"] != digest(name)],
    }


def print_table(modules: dict[str, Any]) -> None:
    """Print a row for each module, and each survivor below the table."""
    print(f"{'module':26}{'mutants':>8}{'tried':>7}{'killed':>8}{'equivalent':>12}{'score':>8}")
    for name, one in modules.items():
        score = one["killed"] / max(one["tried"] - one["equivalent"], 1)
        print(f"{name:26}{one['mutants']:8}{one['tried']:7}{one['killed']:8}{one['equivalent']:12}{score:8.1%}")
    for name, one in modules.items():
        for survivor in one["survivors"]:
            print(f"\n{name}:{survivor['line']}  {survivor['judgement']}: {survivor['why']}")
            print(f"  - {survivor['old']}\n  + {survivor['new']}")
    together = totals(modules)
    print(f"\n{together['killed']} of {together['tried']} killed; score {together['score']:.1%}", end="")
    print(f", with the equivalent ones {together['raw_score']:.1%}; {together['unjudged']} not judged")
