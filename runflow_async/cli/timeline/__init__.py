"""The picture of a watch: who waited and who ran when, from the transitions that `watch --json` printed.

It needs matplotlib, which the extra `plot` brings.
"""

from runflow_async.cli.timeline.files import draw_timeline
from runflow_async.cli.timeline.lifelines import read_lifelines

__all__ = ["draw_timeline", "read_lifelines"]
