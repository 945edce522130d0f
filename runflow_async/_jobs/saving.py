"""The methods that save the files of outputs."""

from __future__ import annotations

from runflow_async._jobs.parts import HasParts

__all__ = ["SavesOutputs"]


class SavesOutputs(HasParts):
    """The methods that save the files of outputs."""
