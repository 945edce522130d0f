"""The waits: when to poll, what a failure means, and the faces of one wait and of many."""
