"""How calls, errors and streams look as HTTP messages, for both sides."""
