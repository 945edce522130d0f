"""Where workers of the tests get their key from."""

from __future__ import annotations

import os


def read_key() -> str:
    return os.environ["KEY_OF_THE_WORKERS"]
