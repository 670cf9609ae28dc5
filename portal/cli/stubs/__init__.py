"""The text of the client modules that `portal stub` writes."""
