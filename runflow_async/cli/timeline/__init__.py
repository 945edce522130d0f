"""The picture of a watch: when each item waited and ran, from the transitions printed by `watch --json`.

It needs matplotlib, which the extra `plot` installs.
"""

from runflow_async.cli.timeline.files import draw_timeline
from runflow_async.cli.timeline.lifelines import read_lifelines

__all__ = ["draw_timeline", "read_lifelines"]
