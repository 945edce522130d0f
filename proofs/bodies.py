"""Spoilt answers, taken whole or refused whole: `python -m proofs.bodies [--seeds 4]`.

A wait takes each in while a consumer takes transitions; after each one, all that the consumer can see is compared with
a plain reading of the same bytes.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections import Counter
from datetime import UTC, datetime

from tests.test_fuzz import HISTORIES_PER_SEED, fuzz


def main() -> None:
    """Spoil ten thousand answers for each seed and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4, help="other ones than those of the tests")
    options = parser.parse_args()
    logging.getLogger("runflow_async").setLevel(logging.CRITICAL)
    outcomes = Counter[bool]()
    for seed in range(1000, 1000 + options.seeds):
        outcomes += fuzz(seed, HISTORIES_PER_SEED, datetime.now(UTC))
    print(json.dumps({"accepted whole": outcomes[True], "refused whole": outcomes[False]}))


if __name__ == "__main__":
    main()
