"""The recorded run of `proofs.mutation`, which takes longer than all others together: `python -m proofs.recorded`."""

from __future__ import annotations

from pathlib import Path

RECORD = Path(__file__).parent / "results" / "mutation.json"


def main() -> None:
    """Print the record."""
    print(RECORD.read_text())


if __name__ == "__main__":
    main()
