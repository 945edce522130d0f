"""The methods that show and repeat the deliveries of callbacks."""

from __future__ import annotations

from runflow_async._jobs.parts import HasParts

__all__ = ["RedeliversCallbacks"]


class RedeliversCallbacks(HasParts):
    """The methods that show and repeat the deliveries of callbacks."""
