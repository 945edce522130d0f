"""The methods that create batches."""

from __future__ import annotations

from runflow_async._jobs.parts import HasParts

__all__ = ["CreatesBatches"]


class CreatesBatches(HasParts):
    """The methods that create batches."""
