"""What a sceptic can run: each promise tried, some with other people's tools. `python -m proofs` prints a table."""
