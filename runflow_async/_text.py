"""Make text fit to show: secrets are masked, invisible characters escaped, durations readable."""

from __future__ import annotations

__all__ = ["Secret", "duration_text", "printable"]

TENTHS_BELOW_SECONDS = 10


class Secret(str):
    """A string with a masked `repr`, so that tracebacks with locals, logs and debuggers do not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def printable(text: str, limit: int = 200) -> str:
    """Return the text with control, bidirectional and other invisible characters escaped, cut to `limit`."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def duration_text(seconds: float) -> str:
    """Format a duration for people."""
    if seconds < TENTHS_BELOW_SECONDS:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {left:02} s" if minutes else f"{left} s"
