"""What the API shows of a callback: one delivery, with every attempt so far. Sends nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from msgspec import Struct, field

from runflow_async.emulator.timelines import ScriptedBatch

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ACCEPTED", "Attempt", "Delivery"]

ACCEPTED = range(200, 300)
"""Statuses that end a delivery."""


class Attempt(Struct, frozen=True):
    """One request to a receiver, by instants on the emulator's clock; no status if there was no response."""

    began: float
    ended: float
    status: int | None


class Delivery(Struct, kw_only=True):
    """One delivery of a batch's callback.

    Attributes:
        batch: the batch that ended.
        most_attempts: attempts after which it fails.
        created: time on the emulator's clock.
        attempts: those so far.
        next_attempt: when the next one is due; None once there is no further one.
    """

    batch: ScriptedBatch
    most_attempts: int
    created: float
    id: UUID = field(default_factory=uuid4)
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    next_attempt: float | None

    @property
    def is_accepted(self) -> bool:
        """Whether the receiver has accepted it."""
        return bool(self.attempts) and self.attempts[-1].status in ACCEPTED

    @property
    def is_in_flight(self) -> bool:
        """Whether it has neither been accepted nor failed."""
        return self.next_attempt is not None

    def document(self) -> dict[str, Any]:
        """Return the delivery as JSON."""
        show = self.batch.date_at
        last = self.attempts[-1] if self.attempts else None
        failed = not (self.is_in_flight or self.is_accepted)
        return {
            "id": str(self.id),
            "batch_id": str(self.batch.id),
            "callback_url": self.batch.callback_url,
            "status_code": "pending" if self.is_in_flight else "failed" if failed else "succeeded",
            "failure_reason_code": "MAX_ATTEMPTS_REACHED" if failed else None,
            "failure_detail": _complaint(last) if failed and last else None,
            "attempt_count": len(self.attempts),
            "max_attempts": self.most_attempts,
            "next_attempt_at": show(self.next_attempt) if self.next_attempt is not None else None,
            "created_at": show(self.created),
            "completed_at": show(last.ended) if last and not self.is_in_flight else None,
            "attempts": [_shown(attempt, number, show) for number, attempt in enumerate(self.attempts, start=1)],
        }


def _shown(attempt: Attempt, number: int, show: Callable[[float], str]) -> dict[str, Any]:
    return {
        "attempt_number": number,
        "status_code": attempt.status,
        "response_time_ms": round(1000 * (attempt.ended - attempt.began)),
        "error_message": _complaint(attempt),
        "created_at": show(attempt.began),
    }


def _complaint(attempt: Attempt) -> str | None:
    if attempt.status is None:
        return "the receiver did not respond"
    return None if attempt.status in ACCEPTED else f"the receiver responded with status {attempt.status}"
