"""The process that atheris fuzzes, which `proofs.guided` starts: it reads answers in both ways and compares."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import atheris

with atheris.instrument_imports(include=["runflow_async._answers", "runflow_async.models"]):
    from tests.test_updates import compare
    from tests.virtual import body

SEPARATOR = b"\x00\x00"
MOST_ANSWERS = 5
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FIRST = body(items=["queued", "running"])


def try_answers(data: bytes) -> None:
    """Take the input for a few answers to one wait; raise whatever a reading must not."""
    compare([FIRST, *data.split(SEPARATOR)[:MOST_ANSWERS]], len(data) % 4, NOW)


if __name__ == "__main__":
    logging.getLogger("runflow_async").setLevel(logging.CRITICAL)
    atheris.Setup(sys.argv, try_answers)
    atheris.Fuzz()
