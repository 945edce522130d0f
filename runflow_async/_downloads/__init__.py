"""Files of outputs, from URLs that a server wrote to a folder on disk."""
