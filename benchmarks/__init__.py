"""Benchmarks: one command each, seeded, one process per contender, contenders taking turns within a run."""
