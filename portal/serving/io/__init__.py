"""The sockets of a listener: accepting addresses, streams of bytes, TLS, readiness, and output that waits."""
