"""The methods that send failed items again."""

from __future__ import annotations

from runflow_async._jobs.parts import HasParts

__all__ = ["ResubmitsItems"]


class ResubmitsItems(HasParts):
    """The methods that send failed items again."""
