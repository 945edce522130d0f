"""Benchmarks: each one command, seeded, one process per contender, contenders in turn within one run."""
