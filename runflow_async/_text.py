"""Make text safe to show: secrets are masked, invisible characters escaped."""

from __future__ import annotations

__all__ = ["Secret", "printable"]


class Secret(str):
    """A string with a masked `repr`, so that tracebacks with locals, logs and debuggers do not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def printable(text: str, limit: int = 200) -> str:
    """Return the text with control, bidirectional and other invisible characters escaped, cut to `limit`."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
