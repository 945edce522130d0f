"""Understand answers: decode them, compare them, and remember what a wait has seen and delivered."""
