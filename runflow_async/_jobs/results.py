"""The methods that yield each item's result as it is ready."""

from __future__ import annotations

from runflow_async._jobs.parts import HasParts

__all__ = ["YieldsResults"]


class YieldsResults(HasParts):
    """The methods that yield each item's result as it is ready."""
