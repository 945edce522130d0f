"""Text on its way to a person: what must not be shown is masked, what cannot be seen is escaped."""

from __future__ import annotations

__all__ = ["Secret", "printable"]


class Secret(str):
    """Text whose `repr` is masked, so that tracebacks with locals, logs and debuggers do not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def printable(text: str, limit: int = 200) -> str:
    """The text with control, bidirectional and other invisible characters escaped, cut to `limit`."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
