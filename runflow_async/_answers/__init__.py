"""What answers say: bytes into structs, what changed, and what a wait knows of its batch."""
