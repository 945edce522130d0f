"""One request: what is sent, what comes back, and the rate that all requests share."""
