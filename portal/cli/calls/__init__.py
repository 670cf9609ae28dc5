"""`portal call`: one call, and what becomes of its result."""
