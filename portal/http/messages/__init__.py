"""HTTP messages of calls, errors and streams, for clients and servers."""
