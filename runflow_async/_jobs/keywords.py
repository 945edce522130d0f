"""The keywords of a wait that a method of the session hands on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runflow_async._arguments.batches import check_checkpoint
from runflow_async._waits.options import WaitOptions

if TYPE_CHECKING:
    from typing import Unpack

    from runflow_async._waits.options import OptionKeywords
    from runflow_async.checkpoints import Checkpoint

__all__ = ["check_keywords"]


def check_keywords(
    *, checkpoint: Checkpoint | None = None, **keywords: Unpack[OptionKeywords]
) -> tuple[WaitOptions, Checkpoint | None]:
    """Return the keywords as options and a checkpoint.

    Raises:
        ConfigurationError: if one of them is invalid.
        CheckpointError: if the checkpoint is not open.
    """
    return WaitOptions.check(**keywords), check_checkpoint(checkpoint, has_since=False)
