"""One GET: what is sent, what comes back, and the pace that all requests share."""
