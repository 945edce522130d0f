"""The app whose command follows batches: copy `management/commands/follow_batches.py` into one of yours."""
