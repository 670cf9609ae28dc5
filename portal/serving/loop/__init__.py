"""The loop of a listener: it accepts and reads, and decides which thread serves a request."""
