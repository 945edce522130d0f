"""What is sent by POST: a JSON body, under a key that makes it safe to send again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["Post"]


class Post(NamedTuple):
    """What a POST carries beside its path.

    Attributes:
        body: JSON; empty if there is none.
        idempotency_key: under which the server does the same thing only once; without one, nothing is sent twice.
        successes: the statuses that mean success.
        hints: what to do about other statuses, instead of what their errors say for a GET.
    """

    body: bytes
    idempotency_key: str | None
    successes: Collection[int]
    hints: Mapping[int, str]

    @property
    def headers(self) -> dict[str, str]:
        """The headers that are sent beside those of every request, but for the body's length."""
        headers = {"Content-Type": "application/json"} if self.body else {}
        return headers if self.idempotency_key is None else headers | {"Idempotency-Key": self.idempotency_key}

    def head(self) -> str:
        """The same as text, with the body's length."""
        fields = self.headers | {"Content-Length": str(len(self.body))}
        return "".join(f"{name}: {value}\r\n" for name, value in fields.items())
