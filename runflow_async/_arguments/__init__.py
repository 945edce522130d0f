"""All argument checks: what is accepted, what it is converted to, and an error that says what to pass instead.

Each function raises `ConfigurationError` for everything but what it says it returns.
"""
