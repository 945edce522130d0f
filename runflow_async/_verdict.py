"""Whether an error is worth a retry, which every error of this library says of itself."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Verdict", "verdict_of_status"]


class Verdict(StrEnum):
    """Whether an error is worth a retry."""

    TRANSIENT = "transient"
    """Retried until the attempts, `max_outage` or the deadline run out."""
    SUSPECT = "suspect"
    """Retried, but the third in a row is raised."""
    FINAL = "final"
    """Raised at once."""


RETRIED_STATUSES = frozenset({408, 409, 429, *range(500, 600)})


def verdict_of_status(status: int) -> Verdict:
    """Whether an HTTP status other than 200 is worth a retry."""
    return Verdict.TRANSIENT if status in RETRIED_STATUSES else Verdict.FINAL
